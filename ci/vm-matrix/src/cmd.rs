//! The commands.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::CommandFactory;
use lcc_vm::boot::Limits;
use lcc_vm::catalogue::{self, Entry, KERNELS};
use lcc_vm::fetch::{self, Store};
use lcc_vm::run::{self, Kit, Options};
use lcc_vm::{initramfs, programs};

use crate::args::{Args, Command, Run};

pub(crate) fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Run(args) => return run_there(&args),
        Command::List { catalogue } => {
            for entry in read(catalogue.as_deref())? {
                let about = entry.variant.as_ref().map_or("", |variant| &variant.about);
                let from = entry.kernel.source.as_deref().or(entry.kernel.flavour.as_deref()).unwrap_or_default();
                let line = entry.kernel.line.as_deref().unwrap_or("newest");
                let booted = if entry.kernel.boot { "" } else { "not booted" };
                println!(
                    "{:30} {:6} {:9} {line:6} {from:18} {about}{booted}",
                    entry.name,
                    entry.kernel.arch.name(),
                    entry.kernel.suite
                );
            }
        }
        Command::Man { folder } => {
            std::fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
            clap_mangen::generate_to(Args::command(), &folder)
                .with_context(|| format!("write {}", folder.display()))?;
        }
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Args::command(), "lcc-vm", &mut std::io::stdout());
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn read(catalogue: Option<&Path>) -> Result<Vec<Entry>> {
    match catalogue {
        None => catalogue::read(KERNELS),
        Some(path) => {
            let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
            catalogue::read(&text).with_context(|| path.display().to_string())
        }
    }
}

/// The entries that patterns name.
fn asked(entries: Vec<Entry>, patterns: &[String]) -> Result<Vec<Entry>> {
    if let Some(none) = patterns.iter().find(|pattern| !entries.iter().any(|e| catalogue::matches(pattern, &e.name))) {
        bail!("there is no kernel {none}: lcc-vm list has all");
    }
    Ok(entries.into_iter().filter(|entry| patterns.iter().any(|p| catalogue::matches(p, &entry.name))).collect())
}

fn run_there(args: &Run) -> Result<ExitCode> {
    let entries = asked(read(args.catalogue.as_deref())?, &args.kernel)?;
    let mut files = Vec::new();
    let mut program = args.program.clone();
    if let [name, ..] = program.as_mut_slice() {
        let with = programs::with_libraries(name)?.with_context(|| format!("there is no program {name}"))?;
        *name = format!("/{}", with[0].0);
        files.extend(with);
    }
    for name in &args.with {
        files.extend(programs::with_libraries(name)?.with_context(|| format!("there is no program {name}"))?);
    }
    for file in &args.file {
        files.push(named(file)?);
    }
    let variable = |text: &String| {
        let (name, value) = text.split_once('=').with_context(|| format!("--env {text}: not NAME=VALUE"))?;
        Ok((name.to_owned(), value.to_owned()))
    };
    let environment = args.env.iter().map(variable).collect::<Result<BTreeMap<_, _>>>()?;
    let mut kits = BTreeMap::new();
    for entry in &entries {
        let architecture = entry.kernel.arch;
        let mut own = match (&args.guest, architecture.is_here() && architecture.name() != "i386") {
            (Some(guest), _) => vec![("init".to_owned(), guest.clone(), true)],
            (None, true) => guest()?,
            (None, false) => bail!("{}: for {} give --guest", entry.name, architecture.name()),
        };
        own.extend(files.iter().cloned());
        kits.insert(architecture, Kit { files: own, environment: environment.clone(), ..Kit::default() });
    }
    let cache = match &args.cache {
        Some(folder) => std::path::absolute(folder).context("find the cache")?,
        None => fetch::cache_folder()?,
    };
    let store = Store::open(&cache, args.offline)?;
    std::fs::create_dir_all(&args.logs).with_context(|| format!("create {}", args.logs.display()))?;
    let total = Duration::from_secs(args.limit);
    let options = Options {
        jobs: args.jobs,
        accelerator: None,
        limits: Limits { silence: total, total, ..Limits::default() },
        folder: args.logs.clone(),
        objects: args.object.clone(),
        lcc_btf: Some(args.lcc_btf.clone()),
        pack: None,
        tests: false,
        thorough: false,
        filters: Vec::new(),
        program,
    };
    let cancelled = run::cancelled_by_signals()?;
    let results = run::run(&entries, &kits, &store, &options, &cancelled);
    if cancelled.load(Ordering::Relaxed) {
        bail!("interrupted");
    }
    if args.json {
        println!("{}", serde_json::to_string_pretty(&results).context("write JSON")?);
    } else {
        results.iter().for_each(tell);
    }
    Ok(match results.as_slice() {
        [one] if one.failures.is_empty() && one.exit.is_some_and(|code| code != 0) => {
            ExitCode::from(one.exit.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
        }
        _ if results.iter().any(|result| !result.failures.is_empty()) => ExitCode::from(2),
        _ => ExitCode::from(u8::from(!results.iter().all(lcc_vm::results::EntryResult::passed))),
    })
}

/// What became of the objects on a kernel: a line for each program that is off there, or did otherwise.
fn tell(result: &lcc_vm::results::EntryResult) {
    for object in &result.objects {
        let met = object.programs.iter().filter(|program| program.refused.is_none()).count();
        let differ = object.programs.iter().filter(|program| program.differs).count();
        println!(
            "{}: {}: {}; {met} of {} programs work, {differ} did otherwise than predicted",
            result.release,
            object.object,
            object.outcome,
            object.programs.len()
        );
        for program in object.programs.iter().filter(|program| program.refused.is_some() || program.differs) {
            let sign = if program.differs { "DIFFERS" } else { "off" };
            let why = program.why.first().or(program.refused.as_ref()).map_or("", String::as_str);
            println!("  {sign:7} {}: predicted {}: {why}", program.program, program.predicted);
        }
    }
}

/// This program, as the first process of a machine: with its libraries, if it has any.
fn guest() -> Result<Vec<initramfs::File>> {
    let own = std::env::current_exe().context("find this program")?;
    let mut files = vec![("init".to_owned(), own.clone(), true)];
    files.extend(programs::libraries(&own)?);
    Ok(files)
}

/// `FILE=PATH`, or `FILE`.
fn named(text: &str) -> Result<initramfs::File> {
    let (path, name) = match text.rsplit_once('=') {
        Some((path, name)) => (PathBuf::from(path), name.trim_start_matches('/').to_owned()),
        None => {
            let name = Path::new(text).file_name().with_context(|| format!("--file {text}: no file's name"))?;
            (PathBuf::from(text), name.to_string_lossy().into_owned())
        }
    };
    let metadata = std::fs::metadata(&path).with_context(|| format!("--file {text}"))?;
    let is_program = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o111 != 0;
    Ok((name, path, is_program))
}
