//! Instructions that programs take in a kernel, counted: a machine whose time is the number of its instructions.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use lcc_vm::boot::{self, Accelerator, End, Limits, Machine};
use lcc_vm::catalogue::{self, Architecture, KERNELS};
use lcc_vm::fetch::Store;
use lcc_vm::{initramfs, programs};
use serde_json::Value;
use vm_guest::words::{self, Line};

use super::target::Target;
use crate::{process, setup, workspace};

/// What `cargo xtask bench` has a virtual machine do.
pub(crate) struct Job {
    /// Its kernel, as kernels.toml names it.
    pub(crate) kernel: &'static str,
    /// Programs of `lcc-tests`' examples, built statically; each is `bin/NAME`.
    pub(crate) examples: Vec<&'static str>,
    /// Programs of this machine; each is `bin/NAME`, with its libraries.
    pub(crate) programs: Vec<&'static str>,
    /// Whether the agents are there: `bin/tcprt`, `bin/pingtrace`.
    pub(crate) agents: bool,
    /// Other files: their names there, and where they are here.
    pub(crate) files: Vec<(String, PathBuf)>,
    /// What is run: words, of which the first is a program's path.
    pub(crate) commands: Vec<Vec<String>>,
    pub(crate) limit: Duration,
}

/// Boots a kernel whose time is the number of instructions, and gives its release and what each command printed.
///
/// # Errors
/// A program is missing or cannot be built, the machine does not come to its end, or a command fails.
pub(crate) fn count(job: &Job) -> Result<(String, Vec<Value>)> {
    setup::install_emulators(&[Architecture::Amd64])?;
    let store = Store::open(&workspace::cache()?, false)?;
    let entries = catalogue::read(KERNELS)?;
    let entry = entries.iter().find(|entry| entry.name == job.kernel).context("the kernel")?;
    let image = store.image(entry)?;
    let folder = workspace::create(workspace::target()?.join("matrix"))?;
    let target = Target::of(&store, Architecture::Amd64)?;
    let mut build = target.cargo("build", &["lcc-vm", "tcprt", "pingtrace", "lcc-loader"], &["lcc-tests"])?;
    build.arg("--bins").args(job.examples.iter().flat_map(|example| ["--example", example]));
    process::run(&mut build)?;
    let built = target.folder()?;
    let mut files = vec![("init".to_owned(), built.join("lcc-vm"), true)];
    for example in &job.examples {
        files.push((format!("bin/{example}"), built.join("examples").join(example), true));
    }
    if job.agents {
        files.extend(["tcprt", "pingtrace"].map(|agent| (format!("bin/{agent}"), built.join(agent), true)));
    }
    for program in &job.programs {
        files.extend(programs::with_libraries(program)?.with_context(|| format!("{program} is not installed"))?);
    }
    files.extend(job.files.iter().map(|(name, path)| (name.clone(), path.clone(), false)));
    let name = |path: &PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    files.extend(image.modules.iter().map(|path| (format!("modules/{}", name(path)), path.clone(), false)));
    let modules = image.modules.iter().map(|path| format!("/modules/{}", name(path))).collect();
    let asked = words::Job { commands: job.commands.clone(), modules, ..words::Job::default() };
    let told = folder.join("instructions.json");
    std::fs::write(&told, serde_json::to_vec(&asked).context("write JSON")?)
        .with_context(|| format!("write {}", told.display()))?;
    files.push((words::JOB.to_owned(), told, false));
    let (archive, log) = (folder.join("instructions.cpio"), folder.join("instructions.log"));
    initramfs::write(&archive, &files)?;
    eprintln!("vm: booting {}, the console is in {}", entry.name, log.display());
    let booted = boot::boot(
        &Machine {
            architecture: Architecture::Amd64,
            kernel: &image.kernel,
            initramfs: &archive,
            arguments: &entry.arguments(),
            memory: 1024,
            log: &log,
            limits: Limits { boot: job.limit, silence: job.limit, total: job.limit, ..Limits::default() },
            accelerator: Accelerator::Instructions,
            console: true,
        },
        &AtomicBool::new(false),
        |_| {},
    )?;
    if booted.end != End::Done {
        bail!("{}: {}; see {}", entry.name, booted.end, log.display());
    }
    let (mut kernel, mut told) = (String::new(), Vec::new());
    for line in booted.lines {
        match line {
            Line::Started { release, .. } => kernel = release,
            Line::Command { passed: true, told: one, .. } => told.push(one),
            Line::Command { command, .. } => bail!("{command} failed in {kernel}; see {}", log.display()),
            Line::Failed { what, error } => bail!("{what} in {kernel}: {error}; see {}", log.display()),
            _ => {}
        }
    }
    if told.len() != job.commands.len() {
        bail!("{kernel}: {} of {} commands have a result", told.len(), job.commands.len());
    }
    Ok((kernel, told))
}
