//! The first process of a virtual machine.
//!
//! It does what `/job.json` asks, and then switches the machine off. Objects are verified by children of it, as a crash of the first
//! process would be the machine's.

mod libtest;
mod verify;

use std::ffi::CStr;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use rustix::mount::{MountFlags, mount};
use rustix::system::RebootCommand;

use crate::words::{BTF, Fault, JOB, Job, Line, MARK};
use libtest::Report;

/// File systems that loading and attaching need: kind, and where.
const MOUNTS: [(&str, &str); 9] = [
    ("proc", "/proc"),
    ("sysfs", "/sys"),
    ("devtmpfs", "/dev"),
    ("securityfs", "/sys/kernel/security"),
    ("debugfs", "/sys/kernel/debug"),
    ("tracefs", "/sys/kernel/tracing"),
    ("bpf", "/sys/fs/bpf"),
    ("cgroup2", "/sys/fs/cgroup"),
    ("tmpfs", "/tmp"),
];

/// Where the kernel shows its BTF, and where it is kept if that is to be hidden.
const OWN_BTF: &str = "/sys/kernel/btf/vmlinux";
const HIDDEN: &str = "/hidden.btf";

/// Whether this process is the first of a machine, or a child that it has started: [`main`] is for both.
pub fn is_inside() -> bool {
    std::process::id() == 1 || std::env::args().nth(1).is_some_and(|word| word == verify::WORD)
}

/// What this process is here for. The first process does not come back: it switches the machine off.
pub fn main() -> ExitCode {
    if std::process::id() != 1 {
        return verify::main(&std::env::args().skip(2).collect::<Vec<_>>());
    }
    if let Err(error) = work() {
        say(&Line::Failed { what: "the guest".to_owned(), error: format!("{error:#}") });
    }
    say(&Line::Done);
    // a reset, as not every kernel can switch its machine off; the emulator ends there
    let _ = rustix::system::reboot(RebootCommand::Restart);
    // the kernel panics where its first process ends; it was told to stop then
    ExitCode::SUCCESS
}

/// Prints a line, whole: not even a child's line comes between.
fn say(line: &Line) {
    let text = serde_json::to_string(line).unwrap_or_default();
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(format!("{MARK}{text}\n").as_bytes()).and_then(|()| out.flush());
}

fn begins(what: impl Into<String>) {
    say(&Line::Begins { what: what.into() });
}

/// Does a part of the work: what fails in it is said, and the other parts are done all the same.
fn part(what: &str, result: Result<()>) {
    if let Err(error) = result {
        say(&Line::Failed { what: what.to_owned(), error: format!("{error:#}") });
    }
}

fn work() -> Result<()> {
    let job = read_job()?;
    if job.fault == Some(Fault::HangInBoot) {
        stand_still();
    }
    // the kernel's first process has no group, which is of no process that programs know
    let _ = rustix::process::setsid();
    let mounted: Vec<String> = MOUNTS.iter().filter_map(|(kind, at)| mount_one(kind, at).err()).collect();
    let system = rustix::system::uname();
    let text = |part: &CStr| part.to_string_lossy().into_owned();
    say(&Line::Started { release: text(system.release()), machine: text(system.machine()) });
    // the kernel's messages would come in the middle of ours; panics are printed at any level
    let _ = std::fs::write("/proc/sys/kernel/printk", "2");
    for text in mounted {
        say(&Line::Warning { text });
    }
    if job.hide_btf {
        std::fs::copy(OWN_BTF, HIDDEN).context("keep the kernel's BTF")?;
        mount_one("tmpfs", "/sys/kernel/btf").map_err(anyhow::Error::msg)?;
    }
    for (name, value) in &job.sysctls {
        std::fs::write(format!("/proc/sys/{name}"), value).with_context(|| format!("set {name} to {value}"))?;
    }
    begins("modules");
    for module in &job.modules {
        if let Err(error) = insert(Path::new(module)) {
            say(&Line::Warning { text: format!("{error:#}") });
        }
    }
    part("the loopback device", loopback_up().context("switch it on"));
    fault(&job)?;
    begins("facts");
    say(&Line::Facts { facts: verify::facts() });
    for object in &job.objects {
        begins(format!("object {}", name_of(object)));
        part(object, verify_in_a_child(&job, object));
    }
    for program in &job.tests {
        part(program, test(&job, program));
    }
    for words in &job.commands {
        part(words.first().map_or("a command", String::as_str), run_command(&job, words));
    }
    if !job.program.is_empty() {
        begins(job.program.join(" "));
        part(&job.program[0], run_program(&job));
    }
    Ok(())
}

fn read_job() -> Result<Job> {
    let text = std::fs::read(Path::new("/").join(JOB)).with_context(|| format!("read {JOB}"))?;
    serde_json::from_slice(&text).with_context(|| format!("read {JOB}"))
}

fn mount_one(kind: &str, at: &str) -> Result<(), String> {
    let _ = std::fs::create_dir_all(at);
    mount(kind, at, kind, MountFlags::empty(), None::<&CStr>).map_err(|error| format!("mounting {kind}: {error}"))
}

fn insert(module: &Path) -> Result<()> {
    let file = std::fs::File::open(module).with_context(|| module.display().to_string())?;
    rustix::system::finit_module(&file, c"", 0).with_context(|| format!("insert {}", module.display()))
}

fn stand_still() -> ! {
    loop {
        std::thread::sleep(std::time::Duration::from_secs(60));
    }
}

/// What is asked for that goes wrong.
fn fault(job: &Job) -> Result<()> {
    let Some(fault) = job.fault else { return Ok(()) };
    begins("a fault");
    match fault {
        Fault::Panic => std::fs::write("/proc/sysrq-trigger", "c").context("let the kernel panic")?,
        Fault::Hang | Fault::HangInBoot => stand_still(),
        Fault::Flood => loop {
            println!("{}", "flood ".repeat(12));
        },
        Fault::Full => {
            let mut file = std::fs::File::create("/tmp/full").context("create /tmp/full")?;
            loop {
                file.write_all(&[0x55; 1 << 20]).context("write /tmp/full")?;
            }
        }
        Fault::NoConsole => {}
    }
    Ok(())
}

fn name_of(path: &str) -> String {
    Path::new(path).file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// A program of the archive, with the environment that it finds.
fn command(job: &Job, program: &str) -> Command {
    let mut command = Command::new(program);
    command.env("PATH", "/bin:/usr/bin:/sbin:/usr/sbin").env("HOME", "/tmp").envs(&job.environment);
    let btf = Path::new("/").join(BTF);
    if btf.exists() {
        command.env("LCC_BTF", btf);
    }
    command.stdin(Stdio::null());
    command
}

fn verify_in_a_child(job: &Job, object: &str) -> Result<()> {
    let mut child = command(job, "/init");
    child.arg(verify::WORD).arg(object).args(&job.packs);
    if let Some(user) = job.user {
        child.uid(user).gid(user);
    }
    let ended = child.status().context("start a child")?;
    if !ended.success() {
        bail!("it was not held against the kernel: {ended}");
    }
    Ok(())
}

/// Runs a program of tests, one test at a time, and says what came of each.
fn test(job: &Job, path: &str) -> Result<()> {
    let program = name_of(path);
    begins(format!("test {program}"));
    let mut child = command(job, path);
    if job.hide_btf {
        // objects are held against packs, but tests want types, which somebody has to bring
        child.env("LCC_BTF", HIDDEN);
    }
    child.args(["--test-threads=1", "--show-output"]).args(&job.filters);
    let mut child = child.stdout(Stdio::piped()).spawn().context("start it")?;
    let mut out = child.stdout.take().context("its output")?;
    let mut report = Report::new(&program);
    let (mut line, mut begun) = (Vec::new(), Instant::now());
    let mut bytes = [0; 4096];
    loop {
        let count = out.read(&mut bytes).context("read what it prints")?;
        if count == 0 {
            break;
        }
        // also a half line: it names the test that runs
        let _ = std::io::stdout().write_all(&bytes[..count]).and_then(|()| std::io::stdout().flush());
        for byte in &bytes[..count] {
            if *byte == b'\n' {
                report.line(&String::from_utf8_lossy(&line), begun.elapsed());
                line.clear();
                begun = Instant::now();
            } else {
                line.push(*byte);
            }
        }
    }
    let ended = child.wait().context("wait for it")?;
    report.finish(ended.success(), &ended.to_string()).into_iter().for_each(|test| say(&Line::Test(test)));
    Ok(())
}

fn run_command(job: &Job, words: &[String]) -> Result<()> {
    let [program, args @ ..] = words else { return Ok(()) };
    begins(words.join(" "));
    let output = command(job, program).args(args).stderr(Stdio::inherit()).output().context("start it")?;
    let told = serde_json::from_slice(&output.stdout).unwrap_or_default();
    say(&Line::Command { command: program.clone(), passed: output.status.success(), told });
    Ok(())
}

/// Runs what a user of `lcc-vm run` asks for: it has the console.
fn run_program(job: &Job) -> Result<()> {
    let [program, args @ ..] = job.program.as_slice() else { return Ok(()) };
    let ended = command(job, program).args(args).status().with_context(|| format!("start {program}"))?;
    let code = ended.code().or_else(|| ended.signal().map(|signal| 128 + signal)).unwrap_or(1);
    say(&Line::Exit { code });
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
