//! `offsetdb stats`: what is in the database.

use anyhow::Result;
use offset_db::Store;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

/// Prints the counts.
///
/// # Errors
/// The database cannot be read.
pub(super) fn run(database: &Path, json: bool) -> Result<ExitCode> {
    let statistics = Store::open(database)?.statistics()?;
    let mut out = std::io::stdout().lock();
    if json {
        serde_json::to_writer_pretty(&mut out, &statistics).map_err(std::io::Error::from)?;
        writeln!(out)?;
        return Ok(ExitCode::SUCCESS);
    }
    let head = ["package", "versions", "files", "labelled", "verified", "probable"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(statistics.packages.iter().map(|one| {
        let counts = [one.versions, one.files, one.labelled, one.verified, one.probable];
        let mut row = vec![format!("{} {}", one.ecosystem, one.package)];
        row.extend(counts.map(|count| count.to_string()));
        row
    }));
    write!(out, "{}", super::table(&rows))?;
    let size = std::fs::metadata(database).map(|metadata| metadata.len()).unwrap_or_default();
    let each = size / u64::from(statistics.files.max(1));
    writeln!(
        out,
        "{} files, {} facts, {} structs, {} signatures; {size} bytes, {each} a file",
        statistics.files, statistics.functions, statistics.layouts, statistics.signatures
    )?;
    Ok(ExitCode::SUCCESS)
}
