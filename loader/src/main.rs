//! `lcc-load`: what of a BPF object works on this machine, and why. The work is done by the library.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use btf::Btf;
use btf::core_relo::Target;
use btf::object_file::ObjectFile;
use clap::{Parser, Subcommand};
use loader::choose::{self, Places};
use plan::{Hints, Kernel, KernelFacts, Outcome, Plan};

/// Load what of a BPF object works on this kernel, and explain the rest.
#[derive(Debug, Parser)]
#[command(name = "lcc-load", version, max_term_width = 120)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print what is known of this kernel, as JSON: what it says of itself, and what was tried out
    Facts,
    /// Print the plan of an object, and load nothing.
    ///
    /// Exit status: 0 all that the object needs works as far as is known, 1 it does not, 2 an error.
    Plan {
        /// The object
        object: PathBuf,
        /// What is known of the kernel, as `lcc-load facts` printed it; else this machine's
        #[arg(long, value_name = "FILE")]
        facts: Option<PathBuf>,
        /// The kernel's BTF; else this machine's, or none where the facts are another kernel's
        #[arg(long, value_name = "FILE")]
        btf: Option<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// Tell also what is met
        #[arg(short, long)]
        all: bool,
    },
    /// Load each program of objects by itself, and hold the plan against what the kernel does.
    ///
    /// Exit status: 0 the kernel did as predicted, 1 it did otherwise with some program, 2 an error.
    Verify {
        /// The objects
        #[arg(required = true)]
        objects: Vec<PathBuf>,
    },
    /// Load and attach what works of an object, and say what came of it.
    ///
    /// Exit status: 0 all that the object needs works, 1 it does not, 2 an error.
    Run {
        /// The object
        object: PathBuf,
        /// Stay attached for so long
        #[arg(long, default_value_t = 0, value_name = "N")]
        seconds: u64,
        /// The BTF to relocate against; also LCC_BTF. Else the kernel's own, else that of a pack or folder
        #[arg(long, value_name = "FILE")]
        btf: Option<PathBuf>,
        /// A pack with BTF for kernels that have none; can be given several times
        #[arg(long, value_name = "FILE")]
        pack: Vec<PathBuf>,
        /// A folder in BTFHub's layout; can be given several times
        #[arg(long, value_name = "DIR")]
        btf_folder: Vec<PathBuf>,
        /// Take BTF of a near release where there is none of this one
        #[arg(long)]
        near: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// Tell also what is met
        #[arg(short, long)]
        all: bool,
    },
}

/// One line for each program: what was predicted, and what the kernel did.
fn compare(observed: &[loader::Observed]) -> String {
    let width = observed.iter().map(|one| one.program.len()).max().unwrap_or(0);
    let mut text = String::new();
    for one in observed {
        let did = match &one.refused {
            None if one.silently => "is taken, and would do something else".to_owned(),
            None => "works".to_owned(),
            Some((stage, why)) => format!("refused to {stage}: {why}"),
        };
        let sign = if one.differs() { "DIFFERS" } else { "       " };
        text += &format!("{sign} {:width$}  predicted {:7}  {did}\n", one.program, one.predicted.word());
    }
    text
}

const OWN_TYPES: &str = "/sys/kernel/btf/vmlinux";

fn main() -> ExitCode {
    match run(Args::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("lcc-load: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Facts => {
            print(&serde_json::to_string_pretty(&loader::probe(Path::new("/")))?)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Plan { object, facts, btf, json, all } => {
            let bytes = read(&object)?;
            let parsed = parse(&object, &bytes)?;
            let is_other = facts.is_some() || btf.is_some();
            let facts = match facts {
                Some(path) => serde_json::from_slice(&read(&path)?).with_context(|| path.display().to_string())?,
                None if is_other => KernelFacts::unknown(),
                None => here(&parsed),
            };
            // this machine's types say nothing of another kernel
            let path = btf.or_else(|| Some(PathBuf::from(OWN_TYPES)).filter(|own| !is_other && own.exists()));
            let types = path.as_deref().map(read).transpose()?;
            let types = types.as_deref().map(Btf::parse).transpose();
            let types = types.with_context(|| path.unwrap_or_default().display().to_string())?;
            let kernel = Kernel::new(&facts, types.as_ref().map(Target::kernel), None);
            tell(&plan::plan(&parsed, &kernel, &Hints::default()), json, all)
        }
        Command::Verify { objects } => {
            let mut differs = false;
            for object in objects {
                let bytes = read(&object)?;
                let parsed = parse(&object, &bytes)?;
                let facts = here(&parsed);
                let chosen = choose::choose(&parsed, &facts, &Places { root: "/".into(), ..Places::default() })?;
                let (plan, observed) = loader::verify(&name(&object), &bytes, &facts, chosen.btf.as_ref())?;
                differs |= observed.iter().any(loader::Observed::differs);
                let kernel = plan.kernel.as_deref().unwrap_or_default();
                print(&format!("{} on {kernel}\n{}", plan.object, compare(&observed).trim_end()))?;
            }
            Ok(ExitCode::from(u8::from(differs)))
        }
        Command::Run { object, seconds, btf, pack, btf_folder, near, json, all } => {
            let bytes = read(&object)?;
            let parsed = parse(&object, &bytes)?;
            let facts = here(&parsed);
            let packs = pack.iter().map(|path| Ok((path.display().to_string(), read(path)?))).collect::<Result<_>>()?;
            let explicit = btf.or_else(choose::from_environment);
            let places = Places { explicit, root: "/".into(), packs, folders: btf_folder, near };
            let chosen = choose::choose(&parsed, &facts, &places)?;
            if chosen.btf.as_ref().is_none_or(|types| !types.own) {
                for step in &chosen.steps {
                    eprintln!("lcc-load: BTF: {step}");
                }
            }
            match loader::load(&name(&object), &bytes, &facts, chosen.btf.as_ref(), &Hints::default()) {
                Ok(session) => {
                    let code = tell(&session.plan, json, all)?;
                    std::thread::sleep(Duration::from_secs(seconds));
                    Ok(code)
                }
                Err(error) => {
                    if let Some(plan) = error.plan() {
                        tell(plan, json, all)?;
                    }
                    // it names its cause itself
                    bail!("{error}")
                }
            }
        }
    }
}

/// The facts of this machine, with what the object may call tried out.
fn here(object: &ObjectFile<'_>) -> KernelFacts {
    let mut facts = loader::probe(Path::new("/"));
    loader::helpers(&mut facts, object);
    facts
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("reading {}", path.display()))
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

fn parse<'a>(path: &Path, bytes: &'a [u8]) -> Result<ObjectFile<'a>> {
    ObjectFile::parse(&name(path), bytes).with_context(|| path.display().to_string())
}

fn tell(plan: &Plan, json: bool, all: bool) -> Result<ExitCode> {
    let text = if json { serde_json::to_string_pretty(plan)? } else { plan::text::lines(plan, all) };
    print(text.trim_end())?;
    Ok(ExitCode::from(u8::from(plan.outcome == Outcome::Fails)))
}

/// Whoever closed standard output has read enough.
fn print(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("standard output"),
    }
}
