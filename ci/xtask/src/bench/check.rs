//! `lcc-btf check` of many kernels. Nobody else answers the question, so that there is no peer.

use super::measure::{Samples, measure};
use super::minimize;
use super::table::{Cell, Table};
use crate::process;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

/// So many kernels at least: a release pipeline's.
const KERNELS: usize = 1000;

/// One row for raw BTF, one for the same kernels in a pack.
///
/// # Errors
/// The archives cannot be listed, or `lcc-btf` failed.
pub(crate) fn table(
    lcc_btf: &Path,
    archives: &Path,
    objects: &[PathBuf],
    repetitions: usize,
    scratch: &Path,
) -> Result<Table> {
    // unpacked beforehand: xz would be most of it
    let folder = scratch.join("check");
    let kernels = minimize::unpack(archives, &folder)?;
    let times = KERNELS.div_ceil(kernels.len().max(1));
    for kernel in &kernels {
        // as other releases, so that each is a kernel of its own
        for number in 1..times {
            let name = format!("{}.{number}.btf", kernel.release);
            let copy = kernel.full.with_file_name(name);
            std::fs::copy(&kernel.full, &copy).with_context(|| format!("write {}", copy.display()))?;
        }
    }
    let pack = scratch.join("check.pack");
    process::run(process::command(lcc_btf, scratch).arg("gen").arg(&folder).arg("--pack").arg(&pack))?;
    let mut rows = Vec::new();
    for (what, input) in [("raw BTF, a folder", &folder), ("a pack", &pack)] {
        let mut samples = Samples::default();
        for _ in 0..repetitions {
            let mut command = process::command(lcc_btf, scratch);
            command.arg("check");
            for object in objects {
                command.arg("--obj").arg(object);
            }
            command.arg(input);
            // 1 where some object does not work on some kernel
            samples.0.push(measure(&mut command, &[0, 1])?);
        }
        rows.push(vec![
            Cell::text(what),
            Cell::Figure((times * kernels.len()) as f64, 0),
            Cell::Figure(objects.len() as f64, 0),
            Cell::Figure(samples.wall().least, 2),
            Cell::Figure(samples.wall().median, 2),
            Cell::Figure(samples.cpu().least, 2),
            Cell::Figure(samples.peak_rss().median, 0),
        ]);
    }
    Ok(Table {
        title: "lcc-btf check of many kernels".to_owned(),
        columns: vec!["kernels as", "kernels", "objects", "wall s", "median", "CPU s", "MiB"],
        rows,
        note: format!("The {} kernels of BTFHub, {times} times each, all processors.", kernels.len()),
    })
}
