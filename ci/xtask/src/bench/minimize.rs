//! Minimal BTF for many kernels: one `lcc-btf gen` for all, against `bpftool gen min_core_btf` for each.
//!
//! Both read the same raw BTF files. Afterwards every relocation is resolved against the full BTF and against both
//! minimal ones, which must give the same.

use super::Programs;
use super::measure::{Sample, Samples, measure};
use super::table::{Cell, Table};
use crate::process;
use anyhow::{Context, Result, bail};
use btf::Btf;
use btf::core_relo::{Target, resolve_object, search_candidates};
use btf::object_file::ObjectFile;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// One kernel's BTF: in full, and where each program's minimal BTF for it goes.
pub(super) struct Kernel {
    /// The archive's name without its endings.
    pub(super) release: String,
    pub(super) full: PathBuf,
}

/// Measures and compares.
///
/// # Errors
/// No archive in the folder, a program failed, or a result cannot be read.
pub(crate) fn tables(
    programs: &Programs,
    archives: &Path,
    objects: &[PathBuf],
    repetitions: usize,
    scratch: &Path,
) -> Result<Vec<Table>> {
    let kernels = unpack(archives, &scratch.join("full"))?;
    let mut rows: Vec<(String, Samples, PathBuf)> = Vec::new();
    let ours = scratch.join("ours");
    for jobs in [1, 2] {
        rows.push((format!("lcc-btf gen, all at once, {jobs} threads"), Samples::default(), ours.clone()));
    }
    for (version, _) in &programs.bpftools {
        for jobs in [1, 2] {
            let name = format!("bpftool {version}, one by one, {jobs} at a time");
            rows.push((name, Samples::default(), scratch.join(format!("bpftool-{version}"))));
        }
    }
    for repetition in 0..repetitions {
        eprintln!("bench: minimal BTF for {} kernels, run {} of {repetitions}", kernels.len(), repetition + 1);
        for (number, (_, samples, out)) in rows.iter_mut().enumerate() {
            let jobs = number % 2 + 1;
            renew(out)?;
            let sample = match number.checked_sub(2) {
                None => generate(programs, &scratch.join("full"), objects, jobs, out)?,
                Some(tool) => each(&programs.bpftools[tool / 2].1, &kernels, objects, jobs, out)?,
            };
            samples.0.push(sample);
        }
    }
    let check = Check::read(objects)?;
    let mut shown = Vec::new();
    let best = rows[2..].iter().map(|row| row.1.wall().least).fold(f64::INFINITY, f64::min);
    for (name, samples, out) in &rows {
        let (mut bytes, mut same, mut relocations) = (0, 0, 0);
        for kernel in &kernels {
            let minimal = find(out, &kernel.release)?;
            let minimal = std::fs::read(&minimal).with_context(|| format!("read {}", minimal.display()))?;
            bytes += minimal.len();
            let full = std::fs::read(&kernel.full).with_context(|| format!("read {}", kernel.full.display()))?;
            let (equal, all) = check.compare(&full, &minimal).with_context(|| kernel.release.clone())?;
            same += equal;
            relocations += all;
        }
        shown.push(vec![
            Cell::text(name),
            Cell::Figure(samples.wall().least * 1000.0, 0),
            Cell::Figure(samples.wall().median * 1000.0, 0),
            Cell::Ratio(samples.wall().least / best),
            Cell::Figure(samples.cpu().least * 1000.0, 0),
            Cell::Figure(samples.peak_rss().median, 0),
            Cell::Figure(bytes as f64 / 1024.0, 1),
            Cell::text(format!("{same} of {relocations}")),
        ]);
    }
    Ok(vec![Table {
        title: format!("Minimal BTF of {} objects for {} kernels", objects.len(), kernels.len()),
        columns: vec!["program", "wall ms", "median", "ratio", "CPU ms", "peak MiB", "KiB in all", "same relocations"],
        rows: shown,
        note: format!(
            "Least of {repetitions} runs taking turns, from raw BTF; ratios to the fastest bpftool. The last column: \
             relocations with the same result as with the full BTF."
        ),
    }])
}

fn renew(folder: &Path) -> Result<()> {
    if folder.exists() {
        std::fs::remove_dir_all(folder).with_context(|| format!("remove {}", folder.display()))?;
    }
    std::fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))
}

/// Unpacks every archive below `archives` to `<same path>.btf` below `to`.
pub(super) fn unpack(archives: &Path, to: &Path) -> Result<Vec<Kernel>> {
    const ENDING: &str = ".btf.tar.xz";
    let mut kernels = Vec::new();
    for archive in files_below(archives)? {
        let name = archive.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Some(release) = name.strip_suffix(ENDING) else { continue };
        let folder = to.join(archive.strip_prefix(archives).unwrap_or(&archive)).with_file_name("");
        std::fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        let full = folder.join(format!("{release}.btf"));
        let file = std::fs::File::create(&full).with_context(|| format!("create {}", full.display()))?;
        let mut tar = process::command("tar", Path::new("/"));
        process::run(tar.args(["-x", "-J", "--to-stdout", "-f"]).arg(&archive).stdout(file))?;
        kernels.push(Kernel { release: release.to_owned(), full });
    }
    if kernels.is_empty() {
        bail!("no *{ENDING} below {}", archives.display());
    }
    Ok(kernels)
}

fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))? {
        let path = entry.with_context(|| format!("read {}", folder.display()))?.path();
        if path.is_dir() {
            files.extend(files_below(&path)?);
        } else {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The one file below `folder` that is named after the release.
fn find(folder: &Path, release: &str) -> Result<PathBuf> {
    let files = files_below(folder)?;
    let found = files.into_iter().find(|path| path.file_name().is_some_and(|name| *name == *format!("{release}.btf")));
    found.with_context(|| format!("find {release}.btf below {}", folder.display()))
}

fn generate(programs: &Programs, full: &Path, objects: &[PathBuf], jobs: usize, out: &Path) -> Result<Sample> {
    let mut command = process::command(&programs.lcc_btf, out);
    command.arg("gen").arg(full).args(["--fresh", "--jobs", &jobs.to_string(), "-o"]).arg(out);
    for object in objects {
        command.arg("--obj").arg(object);
    }
    // 1: a relocation has no answer in the oldest of these kernels, and what works there does not need it
    measure(&mut command, &[0, 1])
}

/// bpftool on each kernel, `jobs` at a time; the CPU times are added up.
fn each(bpftool: &Path, kernels: &[Kernel], objects: &[PathBuf], jobs: usize, out: &Path) -> Result<Sample> {
    let next = std::sync::atomic::AtomicUsize::new(0);
    let work = || -> Result<(Duration, u64)> {
        let (mut cpu, mut peak_rss) = (Duration::ZERO, 0);
        while let Some(kernel) = kernels.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
            let mut command = process::command(bpftool, out);
            command.args(["gen", "min_core_btf"]).arg(&kernel.full);
            command.arg(out.join(format!("{}.btf", kernel.release))).args(objects).stderr(Stdio::null());
            let sample = measure(&mut command, &[0])?;
            cpu += sample.cpu;
            peak_rss = peak_rss.max(sample.peak_rss);
        }
        Ok((cpu, peak_rss))
    };
    let start = Instant::now();
    let results = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..jobs).map(|_| scope.spawn(work)).collect();
        handles.into_iter().map(|handle| handle.join().expect("a measuring thread does not panic")).collect::<Vec<_>>()
    });
    let wall = start.elapsed();
    let (mut cpu, mut peak_rss) = (Duration::ZERO, 0);
    for result in results {
        let (one_cpu, one_rss) = result?;
        cpu += one_cpu;
        peak_rss = peak_rss.max(one_rss);
    }
    Ok(Sample { wall, cpu, peak_rss })
}

/// The objects, kept for comparing the results of their relocations.
struct Check {
    objects: Vec<(String, Vec<u8>)>,
}

impl Check {
    fn read(paths: &[PathBuf]) -> Result<Self> {
        let read = |path: &PathBuf| {
            let bytes = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
            Ok((path.display().to_string(), bytes))
        };
        Ok(Self { objects: paths.iter().map(read).collect::<Result<_>>()? })
    }

    /// How many relocations give the same with both, and how many there are.
    fn compare(&self, full: &[u8], minimal: &[u8]) -> Result<(usize, usize)> {
        // some of BTFHub's files are ELF files
        let own = if btf::elf::is_elf(full) { btf::elf::btf_section(full).context("read the full BTF")? } else { None };
        let full = Btf::parse(own.map_or(full, |own| own.btf)).context("read the full BTF")?;
        let minimal = Btf::parse(minimal).context("read the minimal BTF")?;
        let (mut same, mut all) = (0, 0);
        for (name, bytes) in &self.objects {
            let object = ObjectFile::parse(name, bytes).with_context(|| format!("read {name}"))?;
            let resolve = |btf: &Btf<'_>| {
                let target = Target::kernel(btf);
                let candidates = search_candidates(&target, [&object]);
                let resolutions = resolve_object(&object, &target, &candidates, |_| true);
                let outcomes = resolutions.into_iter().flatten();
                outcomes
                    .map(|resolution| resolution.outcome.map(|outcome| format!("{outcome:?}")).ok())
                    .collect::<Vec<_>>()
            };
            let (with_full, with_minimal) = (resolve(&full), resolve(&minimal));
            all += with_full.len();
            same += with_full.iter().zip(&with_minimal).filter(|(a, b)| a == b).count();
        }
        Ok((same, all))
    }
}
