//! `cargo xtask data offsets`: the database of user libraries, by the product's own command.

use crate::{cargo, process, workspace};
use anyhow::{Context, Result, bail};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What is in the shipped database. The recipes of offsetdb say which functions, which versions and which files.
const PULLS: &[Pull] = &[
    Pull { ecosystem: "pypi", package: "grpcio", options: &[] },
    Pull { ecosystem: "pypi", package: "cryptography", options: &[] },
    Pull { ecosystem: "debian", package: "openssl", options: BOTH },
    Pull { ecosystem: "debian", package: "gnutls", options: BOTH },
    Pull { ecosystem: "debian", package: "nspr", options: BOTH },
    Pull { ecosystem: "debian", package: "libpq", options: BOTH },
    Pull { ecosystem: "debian", package: "libc", options: BOTH },
    Pull { ecosystem: "debian", package: "go", options: BOTH },
];

const BOTH: &[&str] = &["--arch", "amd64,arm64"];

/// One call of `offsetdb pull`.
struct Pull {
    ecosystem: &'static str,
    /// The recipe's name.
    package: &'static str,
    options: &'static [&'static str],
}

/// How much of it.
#[derive(clap::Args, Default)]
pub(crate) struct Args {
    /// Pull only this; repeatable. The rest stays as it is.
    #[arg(long, value_name = "PACKAGE")]
    only: Vec<String>,
    /// Begin with nothing: what the registries no longer have is left out.
    #[arg(long)]
    fresh: bool,
    /// Go on from this database, and no other: what it knows for sure is not looked for again. Repeatable: from all of them together.
    #[arg(long, value_name = "FILE", conflicts_with = "fresh")]
    from: Vec<PathBuf>,
    /// Pull nothing: only write data/offsets.sqlite from what was pulled.
    #[arg(long, conflicts_with_all = ["fresh", "only"])]
    write: bool,
}

/// Pulls, and writes `data/offsets.sqlite`: the same facts give the same bytes. An interrupted run goes on where it was.
///
/// # Errors
/// A package is not in [`PULLS`], offsetdb cannot be built, or failed otherwise than by not being sure of a function.
pub(crate) fn run(args: &Args) -> Result<()> {
    if let Some(unknown) = args.only.iter().find(|only| !PULLS.iter().any(|pull| pull.package == **only)) {
        let known: Vec<&str> = PULLS.iter().map(|pull| pull.package).collect();
        bail!("{unknown} is not in the database: it has {}", known.join(", "));
    }
    cargo::build_release(&["--package", "offsetdb", "--bin", "offsetdb"])?;
    let offsetdb = workspace::target()?.join("release/offsetdb");
    let shipped = workspace::root()?.join("data/offsets.sqlite");
    let database = begin(args, &offsetdb, &shipped)?;
    let wanted = PULLS.iter().filter(|pull| args.only.is_empty() || args.only.iter().any(|only| only == pull.package));
    for pull in wanted.filter(|_| !args.write) {
        let mut command = process::command(&offsetdb, &workspace::root()?);
        command.arg("--database").arg(&database).args(["pull", pull.ecosystem, pull.package]).args(pull.options);
        eprintln!("+ {}", process::describe(&command));
        let status = command.status().with_context(|| format!("start {}", offsetdb.display()))?;
        // 1 says that not all is known for sure, and the lines say of what
        if !matches!(status.code(), Some(0 | 1)) {
            bail!("{} ended with {status}", process::describe(&command));
        }
    }
    if !args.fresh && shipped.is_file() {
        let (before, now) = (packages(&offsetdb, &shipped)?, packages(&offsetdb, &database)?);
        let lost: Vec<String> = before.difference(&now).cloned().collect();
        if !lost.is_empty() {
            bail!("{} has not what {} has: {}", database.display(), shipped.display(), lost.join(", "));
        }
    }
    let mut export = process::command(&offsetdb, &workspace::root()?);
    process::run(export.arg("--database").arg(&database).args(["export", "--sqlite", "--output"]).arg(&shipped))?;
    process::run(process::command(&offsetdb, &workspace::root()?).arg("--database").arg(&shipped).arg("stats"))?;
    let bytes = std::fs::metadata(&shipped).with_context(|| shipped.display().to_string())?.len();
    println!("{}: {bytes} bytes", shipped.display());
    Ok(())
}

/// The database that is pulled into, outside of git: the one of a run before, else a copy of the shipped one.
fn begin(args: &Args, offsetdb: &Path, shipped: &Path) -> Result<PathBuf> {
    let folder = workspace::create(workspace::target()?.join("data"))?;
    let path = folder.join("offsets.sqlite");
    if args.fresh || !args.from.is_empty() {
        remove(&path)?;
    }
    let shipped = [shipped.to_owned()];
    let from: &[PathBuf] = match args.from.as_slice() {
        [] if args.fresh || path.exists() || !shipped[0].is_file() => &[],
        [] => &shipped,
        named => named,
    };
    let unfinished = workspace::unfinished(&path);
    remove(&unfinished)?;
    for database in from {
        let text = folder.join("from.jsonl");
        let command = || process::command(offsetdb, &folder);
        let database = std::path::absolute(database).with_context(|| database.display().to_string())?;
        process::stdout_of(command().arg("--database").arg(&database).args(["export", "--output"]).arg(&text))?;
        process::stdout_of(command().arg("--database").arg(&unfinished).arg("merge").arg(&text))?;
        remove(&text)?;
    }
    if !from.is_empty() {
        std::fs::rename(&unfinished, &path).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(path)
}

/// The packages that a database has.
fn packages(offsetdb: &Path, database: &Path) -> Result<BTreeSet<String>> {
    let mut command = process::command(offsetdb, &workspace::root()?);
    let said = process::stdout_of(command.arg("--database").arg(database).args(["stats", "--json"]))?;
    let statistics: serde_json::Value = serde_json::from_str(&said).context("read the statistics")?;
    let packages = statistics["packages"].as_array().context("find the packages in the statistics")?;
    let name = |package: &serde_json::Value| {
        format!(
            "{} {}",
            package["ecosystem"].as_str().unwrap_or_default(),
            package["package"].as_str().unwrap_or_default()
        )
    };
    Ok(packages.iter().map(name).collect())
}

fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", path.display()))
        }
        _ => Ok(()),
    }
}
