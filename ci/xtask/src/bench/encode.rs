//! DWARF to BTF: this project's encoder against every pahole at hand and against a bare walk with gimli.

use super::Programs;
use super::measure::{Samples, measure};
use super::table::{Cell, Table};
use crate::kernels::CachedKernel;
use crate::process;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A pahole: the system's or one unpacked beside it.
pub(crate) struct Pahole {
    pub(crate) version: String,
    pub(crate) program: PathBuf,
}

/// One program with one number of threads.
struct Contender {
    name: String,
    command: Box<dyn Fn() -> Command>,
    samples: Samples,
}

/// The features that the kernel's own scripts/Makefile.btf asks of pahole 1.26 and later.
const KERNEL_FEATURES: &str =
    "--btf_features=encode_force,var,float,enum64,decl_tag,type_tag,optimized_func,consistent_func";

/// Runs all contenders on one kernel, taking turns, so that a disturbance hits them alike.
///
/// # Errors
/// A program failed: no figure is better than one of a failed run.
pub(crate) fn table(programs: &Programs, kernel: &CachedKernel, repetitions: usize, scratch: &Path) -> Result<Table> {
    read_once(&kernel.vmlinux)?;
    let mut contenders = contenders(programs, &kernel.vmlinux, scratch);
    for repetition in 0..repetitions {
        for contender in &mut contenders {
            eprintln!("bench: {} run {} of {repetitions}: {}", kernel.name, repetition + 1, contender.name);
            contender.samples.0.push(measure(&mut (contender.command)(), &[0])?);
        }
    }
    Ok(compare(&kernel.name, &contenders))
}

/// Brings the file into the page cache, for all contenders alike.
fn read_once(path: &Path) -> Result<()> {
    let mut file = std::fs::File::open(path).with_context(|| format!("open {}", path.display()))?;
    std::io::copy(&mut file, &mut std::io::sink()).with_context(|| format!("read {}", path.display()))?;
    Ok(())
}

fn contenders(programs: &Programs, vmlinux: &Path, scratch: &Path) -> Vec<Contender> {
    let mut contenders = Vec::new();
    let mut add = |name: String, program: &Path, args: Vec<String>| {
        let program = program.to_path_buf();
        let folder = scratch.to_path_buf();
        let command = Box::new(move || {
            let mut command = process::command(&program, &folder);
            command.args(&args);
            command
        });
        contenders.push(Contender { name, command, samples: Samples::default() });
    };
    let file = vmlinux.to_string_lossy().into_owned();
    let out = |name: &str| scratch.join(name).to_string_lossy().into_owned();
    for jobs in [1, 2] {
        let gen_args =
            ["gen", &file, "--from", "dwarf", "--fresh", "--jobs", &jobs.to_string(), "-o", &out("ours.btf")];
        add(format!("{OURS}, {}", threads(jobs)), &programs.lcc_btf, gen_args.map(str::to_owned).to_vec());
        for pahole in &programs.paholes {
            let mut args = vec!["-J".to_owned(), format!("--btf_encode_detached={}", out("pahole.btf"))];
            args.extend(["--lang_exclude=rust".to_owned(), format!("-j{jobs}")]);
            if numbers(&pahole.version) >= vec![1, 26] {
                args.push(KERNEL_FEATURES.to_owned());
            }
            args.push(file.clone());
            add(format!("pahole {}, {}", pahole.version, threads(jobs)), &pahole.program, args);
        }
        add(format!("{WALK}, {}", threads(jobs)), &programs.gimli_walk, vec![file.clone(), jobs.to_string()]);
    }
    contenders
}

const OURS: &str = "lcc-btf gen";
const WALK: &str = "bare gimli walk";

fn threads(jobs: u32) -> String {
    if jobs == 1 { "1 thread".to_owned() } else { format!("{jobs} threads") }
}

fn numbers(version: &str) -> Vec<u32> {
    version.split('.').filter_map(|number| number.parse().ok()).collect()
}

/// Ratios are to the best that any pahole does in that column, with whatever number of threads.
fn compare(kernel: &str, contenders: &[Contender]) -> Table {
    let best = |figure: &dyn Fn(&Samples) -> f64| {
        let paholes = contenders.iter().filter(|contender| contender.name.starts_with("pahole"));
        paholes.map(|contender| figure(&contender.samples)).fold(f64::INFINITY, f64::min)
    };
    let (wall, cpu) = (best(&|samples| samples.wall().least), best(&|samples| samples.cpu().least));
    let rss = best(&|samples| samples.peak_rss().least);
    let rows = contenders.iter().map(|contender| {
        let samples = &contender.samples;
        vec![
            Cell::text(&contender.name),
            Cell::Figure(samples.wall().least, 2),
            Cell::Figure(samples.wall().median, 2),
            Cell::Ratio(samples.wall().least / wall),
            Cell::Figure(samples.cpu().least, 2),
            Cell::Figure(samples.cpu().median, 2),
            Cell::Ratio(samples.cpu().least / cpu),
            Cell::Figure(samples.peak_rss().median, 0),
            Cell::Ratio(samples.peak_rss().median / rss),
        ]
    });
    let of = |prefix: &str, figure: &dyn Fn(&Samples) -> f64| {
        let found = contenders.iter().filter(|contender| contender.name.starts_with(prefix));
        found.map(|contender| figure(&contender.samples)).collect::<Vec<_>>()
    };
    let walk_ratios = |figure: &dyn Fn(&Samples) -> f64| {
        let ratios = of(OURS, figure).into_iter().zip(of(WALK, figure));
        ratios.map(|(ours, walk)| format!("{:.2}", ours / walk)).collect::<Vec<_>>().join(" and ")
    };
    Table {
        title: format!("DWARF to BTF, {kernel}"),
        columns: vec!["program", "wall s", "median", "ratio", "CPU s", "median", "ratio", "peak MiB", "ratio"],
        note: format!(
            "Least of {} runs taking turns; ratios to the best pahole in that column. To the bare walk, with 1 and 2 \
             threads: wall {} ×, CPU {} ×.",
            contenders.first().map_or(0, |contender| contender.samples.0.len()),
            walk_ratios(&|samples| samples.wall().least),
            walk_ratios(&|samples| samples.cpu().least),
        ),
        rows: rows.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::measure::Sample;
    use super::*;
    use std::time::Duration;

    #[test]
    fn ratios_are_to_the_best_pahole_of_each_column() {
        let contender = |name: &str, wall: u64, cpu: u64, mib: u64| Contender {
            name: name.into(),
            command: Box::new(|| Command::new("true")),
            samples: Samples(vec![Sample {
                wall: Duration::from_secs(wall),
                cpu: Duration::from_secs(cpu),
                peak_rss: mib << 20,
            }]),
        };
        let table = compare(
            "k",
            &[
                contender("lcc-btf gen, 1 thread", 2, 2, 100),
                contender("pahole 1.24, 1 thread", 8, 6, 400),
                contender("pahole 1.32, 2 threads", 4, 9, 500),
                contender("bare gimli walk, 1 thread", 1, 1, 50),
            ],
        );
        let ratios: Vec<&Cell> = table.rows[0].iter().filter(|cell| matches!(cell, Cell::Ratio(_))).collect();
        assert_eq!(ratios, [&Cell::Ratio(0.5), &Cell::Ratio(2.0 / 6.0), &Cell::Ratio(0.25)]);
        assert!(table.note.ends_with("wall 2.00 ×, CPU 2.00 ×."), "{}", table.note);
    }

    #[test]
    fn version_numbers() {
        assert!(numbers("1.26") >= vec![1, 26] && numbers("1.32") > vec![1, 26] && numbers("1.24") < vec![1, 26]);
    }
}
