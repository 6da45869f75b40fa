//! `offsetdb verify`: how good identification is on labelled files.

use crate::args::Verify;
use crate::package::cache::Cache;
use crate::package::compile;
use crate::package::pypi;
use crate::package::recipe::{Recipe, Version};
use crate::pull;
use crate::verify::{Labelled, Report, verify};
use anyhow::{Context, Result, bail};
use image::Image;
use serde::Serialize;
use std::collections::BTreeSet;
use std::io::Write;
use std::process::ExitCode;

/// How many versions apart references are tried.
const DISTANCES: [usize; 5] = [1, 2, 3, 5, 8];

#[derive(Serialize)]
struct Line<'r> {
    #[serde(flatten)]
    row: &'r crate::verify::Row,
    #[serde(flatten)]
    count: crate::verify::Count,
    precision: f64,
    recall: f64,
}

/// Prints the counts; exit 1 where a verified answer is wrong.
///
/// # Errors
/// There is no recipe, no such package, or no labelled file.
pub(super) fn run(what: &Verify) -> Result<ExitCode> {
    let recipe = Recipe::of(&what.package, what.recipe.as_deref())?;
    let cache = Cache::at(what.cache.as_deref())?;
    let targets: BTreeSet<String> = recipe.targets.iter().cloned().collect();
    let mut files: Vec<(Version, Labelled)> = Vec::new();
    for version in pypi::versions(&what.package)? {
        if !version.is_in(&what.versions)? {
            continue;
        }
        let mut wheels = what.python.iter().map(|python| pypi::wheel(&cache, &recipe.package, &version, python));
        let Some(wheel) = wheels.find_map(Result::transpose).transpose()? else { continue };
        for input in recipe.open(&wheel)? {
            let image = Image::parse(&input.bytes).with_context(|| input.name.clone())?;
            let file = Labelled::of(format!("{} {}", recipe.package, version.text()), &image)?;
            // a stripped one is no truth
            if file.build.labels.len() > file.build.model.functions.len() / 2 {
                files.push((version.clone(), file));
            }
        }
    }
    if files.len() < 2 {
        bail!("{} {}: {} labelled files: two are needed", what.package, what.versions, files.len());
    }
    let mut report = Report::default();
    for (at, (version, file)) in files.iter().enumerate() {
        let is_asked = what.compiled.iter().any(|asked| asked == version.text());
        let compiled = match is_asked {
            true => Some(pull::compiled_build(&compile::reference(&cache, &recipe, version)?, &recipe)?),
            false => None,
        };
        for distance in DISTANCES.into_iter().filter(|distance| *distance <= at) {
            verify(&mut report, file, (&files[at - distance].1, distance), compiled.as_ref(), &targets);
        }
        eprintln!("{}: {}, {} names", file.name, file.compiler, file.build.labels.len());
    }
    print(&report, files.len(), what.json)?;
    Ok(if report.wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(report: &Report, files: usize, json: bool) -> Result<()> {
    let mut out = std::io::stdout().lock();
    if json {
        let line = |(row, count): (_, &crate::verify::Count)| Line {
            row,
            count: *count,
            precision: count.precision(),
            recall: count.recall(),
        };
        let lines: Vec<Line<'_>> = report.rows.iter().map(line).collect();
        serde_json::to_writer_pretty(&mut out, &lines).map_err(std::io::Error::from)?;
        writeln!(out)?;
        return Ok(());
    }
    let head = ["names", "method", "compilers", "apart", "right", "wrong", "gone", "missed", "precision", "recall"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for (row, count) in &report.rows {
        let mut cells =
            vec![row.names.to_owned(), row.method.to_owned(), row.compilers.clone(), row.distance.to_string()];
        cells.extend([count.right, count.wrong, count.gone, count.missed].map(|count| count.to_string()));
        cells.extend([count.precision(), count.recall()].map(|share| format!("{share:.4}")));
        rows.push(cells);
    }
    write!(out, "{}", super::table(&rows))?;
    for line in &report.wrong {
        writeln!(out, "wrong: {line}")?;
    }
    let verified = report.rows.iter().filter(|(row, _)| row.method == "verified" && row.names == "all");
    let (right, wrong) =
        verified.fold((0, 0), |(right, wrong), (_, count)| (right + count.right, wrong + count.wrong + count.gone));
    writeln!(out, "{files} files; verified: {right} right, {wrong} wrong")?;
    Ok(())
}
