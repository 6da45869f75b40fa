//! Packs under several compressions: what they weigh, what writing one costs, and how long a reader waits for one kernel.

use super::Programs;
use super::measure::measure;
use super::table::{Cell, Table};
use crate::process;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

/// Contents together in frames of up to 1 MiB, as packs have them.
const TOGETHER: usize = 1 << 20;

/// One row for each set and compression.
///
/// # Errors
/// A pack cannot be made, or the example program failed or printed something else.
pub(crate) fn table(
    programs: &Programs,
    inputs: &[PathBuf],
    objects: &[PathBuf],
    repetitions: usize,
    scratch: &Path,
) -> Result<Table> {
    let mut rows = Vec::new();
    let together = [3, 9, 19].map(|level| (TOGETHER, level));
    for (set, objects, ways) in [
        ("minimal", objects, [&together[..], &[(0, 19)]].concat()),
        ("whole", &[], [3, 9, 12, 19].map(|level| (TOGETHER, level)).to_vec()),
    ] {
        let file = scratch.join(format!("{set}.pack"));
        let mut command = process::command(&programs.lcc_btf, scratch);
        command.arg("gen").args(inputs).args(["--fresh", "--pack"]).arg(&file);
        for object in objects {
            command.arg("--obj").arg(object);
        }
        // 1: some kernel lacks what an object asks for
        measure(&mut command, &[0, 1]).with_context(|| format!("make the pack of {set} BTF"))?;
        let mut command = process::command(&programs.compress_pack, Path::new("/"));
        command.arg(&file).arg(repetitions.to_string());
        command.args(ways.iter().map(|(frame, level)| format!("{frame}:{level}:{level}")));
        let printed: serde_json::Value =
            serde_json::from_str(&process::stdout_of(&mut command)?).context("read compress_pack's output")?;
        for (number, (frame, level)) in ways.iter().enumerate() {
            let figure = |key: &str| printed["ways"][number][key].as_f64().with_context(|| key.to_owned());
            let (raw, contents) = (printed["raw"].as_f64().context("raw")?, &printed["contents"]);
            let alone = if *frame == 0 { ", each by itself" } else { "" };
            rows.push(vec![
                Cell::text(format!("{set}, {contents} different, level {level}{alone}")),
                Cell::Figure(raw / 1024.0, 0),
                Cell::Figure(figure("bytes")? / 1024.0, 1),
                Cell::Figure(figure("write_cpu_s")? * 1000.0, 1),
                Cell::Figure(figure("read_s")? * 1000.0, 2),
                Cell::Figure(figure("read_most_s")? * 1000.0, 2),
            ]);
        }
    }
    Ok(Table {
        title: "Packs by zstd's level".to_owned(),
        columns: vec!["BTF", "raw KiB", "pack KiB", "write CPU ms", "read one ms", "slowest"],
        rows,
        note: format!(
            "One thread; writing: the mean of {repetitions} or more; reading: least of {repetitions}, the middle and the slowest of all contents."
        ),
    })
}
