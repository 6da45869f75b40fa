//! The first process of a virtual machine: for each object in `/objects` it holds the plan against what the kernel does, and runs
//! each program of tests in `/tests` and each command of `/commands.json`; it prints one line of JSON for each on the serial console,
//! behind [`MARK`]. Then the machine is switched off. Before all that it inserts the modules in `/modules`.
//!
//! `cargo xtask vm` builds it statically, puts it into an initramfs as `/init`, and reads the lines.

use std::ffi::CStr;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use btf::object_file::ObjectFile;
use loader::choose::{Places, choose};
use rustix::mount::{MountFlags, mount};

/// What a line with a result begins with; all others are the kernel's.
const MARK: &str = "@lcc ";

/// File systems that loading and attaching need: kind, and where.
const MOUNTS: [(&str, &str); 8] = [
    ("proc", "/proc"),
    ("sysfs", "/sys"),
    ("devtmpfs", "/dev"),
    ("securityfs", "/sys/kernel/security"),
    ("debugfs", "/sys/kernel/debug"),
    ("tracefs", "/sys/kernel/tracing"),
    ("cgroup2", "/sys/fs/cgroup"),
    ("tmpfs", "/tmp"),
];

fn main() {
    if std::process::id() != 1 {
        eprintln!("vm-guest: this is for the first process of a virtual machine, which it switches off");
        std::process::exit(2);
    }
    for (kind, at) in MOUNTS {
        let _ = std::fs::create_dir_all(at);
        if let Err(error) = mount(kind, at, kind, MountFlags::empty(), None::<&CStr>) {
            println!("vm-guest: mounting {kind}: {error}");
        }
    }
    if let Err(error) = insert_modules().and_then(|()| verify()).and_then(|()| test()).and_then(|()| run_commands()) {
        println!("{MARK}{}", serde_json::json!({ "error": format!("{error:#}") }));
    }
    println!("{MARK}{}", serde_json::json!({ "done": true }));
    let _ = rustix::system::reboot(rustix::system::RebootCommand::PowerOff);
    // the kernel panics where its first process ends; it was told to stop then
}

fn insert_modules() -> Result<()> {
    let Ok(modules) = std::fs::read_dir("/modules") else { return Ok(()) };
    for module in modules.flatten() {
        let file = std::fs::File::open(module.path()).with_context(|| module.path().display().to_string())?;
        rustix::system::finit_module(&file, c"", 0).with_context(|| format!("insert {}", module.path().display()))?;
    }
    Ok(())
}

/// A program of the archive, with the environment that it finds.
fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env("PATH", "/bin").env("LCC_EMULATED", "1").stdin(Stdio::null());
    command.env("LCC_OBJECTS", "/tests/objects").env("LCC_FIXTURES", "/tests/fixtures").env("LCC_AGENTS", "/bin");
    command
}

fn verify() -> Result<()> {
    let Ok(entries) = std::fs::read_dir("/objects") else { return Ok(()) };
    let mut objects: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    objects.sort();
    for path in objects {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let bytes = std::fs::read(&path).with_context(|| name.clone())?;
        let parsed = ObjectFile::parse(&name, &bytes).with_context(|| name.clone())?;
        let facts = loader::probe_for(Path::new("/"), &parsed);
        let chosen = choose(&parsed, &facts, &Places::here())?;
        let (plan, observed) = loader::verify(&name, &bytes, &facts, chosen.btf.as_ref())?;
        let programs = observed.iter().map(|one| {
            let refused = one.refused.as_ref().map(|(stage, why)| format!("{stage}: {why}"));
            serde_json::json!({
                "program": one.program, "predicted": one.predicted.word(), "refused": refused,
                "silently": one.silently, "differs": one.differs(),
            })
        });
        let programs: Vec<_> = programs.collect();
        let line = serde_json::json!({ "object": name, "kernel": plan.kernel, "programs": programs });
        println!("{MARK}{line}");
    }
    Ok(())
}

/// Runs the tests, if there are any; their output goes to the console too.
fn test() -> Result<()> {
    let Ok(entries) = std::fs::read_dir("/tests") else { return Ok(()) };
    loopback_up().context("lo")?;
    let mut tests: Vec<_> = entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    tests.sort();
    for path in tests {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let ended = command(&path).args(["--test-threads=1", "--nocapture"]).status().with_context(|| name.clone())?;
        println!("{MARK}{}", serde_json::json!({ "tests": name, "passed": ended.success() }));
    }
    Ok(())
}

/// Runs each command of `/commands.json`, an array of arrays of words. What it prints is a value of JSON.
fn run_commands() -> Result<()> {
    let Ok(text) = std::fs::read("/commands.json") else { return Ok(()) };
    let commands: Vec<Vec<String>> = serde_json::from_slice(&text).context("/commands.json")?;
    loopback_up().context("lo")?;
    for words in commands {
        let [program, args @ ..] = words.as_slice() else { continue };
        let output =
            command(program).args(args).stderr(Stdio::inherit()).output().with_context(|| program.to_owned())?;
        let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        println!(
            "{MARK}{}",
            serde_json::json!({ "command": program, "passed": output.status.success(), "told": told })
        );
    }
    Ok(())
}

/// Switches the loopback device on, as `ip link set lo up` does.
fn loopback_up() -> std::io::Result<()> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
    // SAFETY: all zero is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
    // SAFETY: the descriptor is open, and the request is of this call's type.
    match unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw mut request) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}
