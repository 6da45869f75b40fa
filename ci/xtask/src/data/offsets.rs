//! `cargo xtask data offsets`: the database of user libraries, by the product's own command.

use crate::{cargo, process, workspace};
use anyhow::{Context, Result, bail};
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
    /// Go on from this database: what it knows for sure is not looked for again.
    #[arg(long, value_name = "FILE", conflicts_with = "fresh")]
    from: Option<PathBuf>,
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
    let database = begin(args, &shipped)?;
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
    let mut export = process::command(&offsetdb, &workspace::root()?);
    process::run(export.arg("--database").arg(&database).args(["export", "--sqlite", "--output"]).arg(&shipped))?;
    process::run(process::command(&offsetdb, &workspace::root()?).arg("--database").arg(&shipped).arg("stats"))?;
    let bytes = std::fs::metadata(&shipped).with_context(|| shipped.display().to_string())?.len();
    println!("{}: {bytes} bytes", shipped.display());
    Ok(())
}

/// The database that is pulled into, outside of git: the one of a run before, else a copy of the shipped one.
fn begin(args: &Args, shipped: &Path) -> Result<PathBuf> {
    let path = workspace::create(workspace::target()?.join("data"))?.join("offsets.sqlite");
    if args.fresh || args.from.is_some() {
        remove(&path)?;
    }
    let from = match &args.from {
        Some(from) => Some(from.as_path()),
        None => Some(shipped).filter(|shipped| !args.fresh && shipped.is_file()),
    };
    match from {
        Some(from) if !path.exists() => {
            let unfinished = workspace::unfinished(&path);
            std::fs::copy(from, &unfinished).with_context(|| format!("copy {}", from.display()))?;
            std::fs::rename(&unfinished, &path).with_context(|| format!("write {}", path.display()))?;
        }
        _ => {}
    }
    Ok(path)
}

fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", path.display()))
        }
        _ => Ok(()),
    }
}
