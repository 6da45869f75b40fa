//! `offsetdb verify`: how good identification is on labelled files.

use crate::args::Verify;
use crate::facts::Build;
use crate::lines::Source;
use crate::package::cache::Cache;
use crate::package::compile;
use crate::package::pypi;
use crate::package::recipe::{Recipe, Version};
use crate::pull;
use crate::verify::{Labelled, Lines, Report, verify};
use anyhow::{Context, Result, bail};
use identify::Model;
use image::Image;
use offset_db::{Confidence, Fingerprint};
use serde::Serialize;
use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
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

#[derive(Serialize)]
struct Whole<'r> {
    files: usize,
    rows: Vec<Line<'r>>,
    wrong: &'r [String],
    lines: &'r Lines,
}

/// Prints the counts; exit 1 where a verified answer is wrong, or lines of the source say so.
///
/// # Errors
/// There is no recipe, no such package, or no labelled file.
pub(super) fn run(database: Option<&Path>, what: &Verify) -> Result<ExitCode> {
    let recipe = Recipe::of(&what.package, what.recipe.as_deref())?;
    let cache = Cache::at(what.cache.as_deref())?;
    let targets: BTreeSet<String> = recipe.targets.iter().cloned().collect();
    let store = super::maybe(database)?;
    let mut report = Report::default();
    let mut files: Vec<File> = Vec::new();
    for version in pypi::versions(&what.package)? {
        if !version.is_in(&what.versions)? {
            continue;
        }
        let mut own = None;
        for python in &what.python {
            let Some(wheel) = pypi::wheel(&cache, &recipe.package, &version, python)? else { continue };
            let inputs = recipe.open(&wheel)?;
            let Some(input) = inputs.first() else { continue };
            let image = Image::parse(&input.bytes).with_context(|| input.name.clone())?;
            // a stripped one is no truth
            if image.functions().count() >= LABELLED {
                let name = format!("{} {}", recipe.package, version.text());
                files.push(File { labelled: Labelled::of(name, &image)?, wheel, version: version.clone() });
                break;
            }
            let Some(store) = &store else { continue };
            let Some(file) = store.known(&Fingerprint::of(&image))? else { continue };
            let own = match &own {
                Some(own) => own,
                None => own.insert(own_source(&cache, &recipe, &version)?),
            };
            let model = Model::of(&image);
            for fact in store.facts(&file)?.iter().filter(|fact| fact.confidence == Confidence::Verified) {
                if let Some(function) = model.at(fact.address) {
                    report.lines.check(&own.source, &image, &model, &input.name, &fact.title(), function);
                }
            }
        }
    }
    if files.len() < 2 && store.is_none() {
        bail!("{} {}: {} labelled files: two are needed", what.package, what.versions, files.len());
    }
    for (at, file) in files.iter().enumerate() {
        let own = match what.no_compile {
            true => None,
            false => Some(own_source(&cache, &recipe, &file.version)?),
        };
        let mut verified = BTreeSet::new();
        for distance in DISTANCES.into_iter().filter(|distance| *distance <= at) {
            let reference = (&files[at - distance].labelled, distance);
            let compiled = own.as_ref().map(|own| &own.build);
            verified.extend(verify(&mut report, &file.labelled, reference, compiled, &targets));
        }
        let labelled = &file.labelled;
        if let (Some(own), Some(input)) = (&own, recipe.open(&file.wheel)?.first()) {
            let image = Image::parse(&input.bytes).with_context(|| input.name.clone())?;
            for (name, function) in verified {
                report.lines.check(&own.source, &image, &labelled.build.model, &labelled.name, &name, function);
            }
        }
        eprintln!("{}: {}, {} names", labelled.name, labelled.compiler, labelled.build.labels.len());
    }
    print(&report, files.len(), what.json)?;
    let is_right = report.wrong.is_empty() && report.lines.differ.is_empty();
    Ok(if is_right { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Files with fewer functions in their tables of symbols are stripped: those that they export are left.
const LABELLED: usize = 1000;

/// A labelled file of a version.
struct File {
    labelled: Labelled,
    wheel: PathBuf,
    version: Version,
}

/// A version's own source, compiled.
struct Own {
    build: Build,
    source: Source,
}

fn own_source(cache: &Cache, recipe: &Recipe, version: &Version) -> Result<Own> {
    let compiled = compile::reference(cache, recipe, version)?;
    let bytes = std::fs::read(&compiled.path).with_context(|| compiled.path.display().to_string())?;
    let image = Image::parse(&bytes).with_context(|| compiled.path.display().to_string())?;
    let build = pull::compiled_build(&compiled, recipe)?;
    let source = Source::of(&image, &build.model, &build.labels)?;
    Ok(Own { build, source })
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
        let rows: Vec<Line<'_>> = report.rows.iter().map(line).collect();
        let whole = Whole { files, rows, wrong: &report.wrong, lines: &report.lines };
        serde_json::to_writer_pretty(&mut out, &whole).map_err(std::io::Error::from)?;
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
    let Lines { agree, nothing, differ } = &report.lines;
    for line in differ {
        writeln!(out, "its lines say otherwise: {line}")?;
    }
    writeln!(
        out,
        "lines of the source: {agree} agree, {} differ, {nothing} verified functions tell none",
        differ.len()
    )?;
    Ok(())
}
