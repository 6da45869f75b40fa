//! One boot: qemu, its serial console, and limits.

use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use vm_guest::words::{Line, MARK};

use crate::catalogue::Architecture;

/// A machine to boot.
#[derive(Clone, Copy, Debug)]
pub struct Machine<'m> {
    /// Whose machine.
    pub architecture: Architecture,
    /// `bzImage`, `Image`.
    pub kernel: &'m Path,
    /// The archive that it unpacks as its root.
    pub initramfs: &'m Path,
    /// The kernel's command line, besides the console and what it does when it panics.
    pub arguments: &'m str,
    /// MiB.
    pub memory: u32,
    /// Where the console goes.
    pub log: &'m Path,
    /// What it may take.
    pub limits: Limits,
    /// What runs its instructions.
    pub accelerator: Accelerator,
    /// Whether the kernel is told of a console.
    pub console: bool,
}

/// What a machine may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Until the guest's first word.
    pub boot: Duration,
    /// Between two things that it prints.
    pub silence: Duration,
    /// In all.
    pub total: Duration,
    /// Bytes that it may print.
    pub console: u64,
}

impl Default for Limits {
    /// Several times what the slowest kernel of the catalogue takes on two processors without KVM.
    fn default() -> Self {
        let [boot, silence, total] = [90, 180, 900].map(Duration::from_secs);
        Limits { boot, silence, total, console: 16 << 20 }
    }
}

/// What runs a machine's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Accelerator {
    /// The processor.
    Kvm,
    /// qemu's translator: needs nothing of this machine.
    Tcg,
    /// The same; a nanosecond passes for each instruction, and where there is none to do, the time of the next timer comes at once.
    Instructions,
}

/// How a machine came to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "end", content = "at")]
pub enum End {
    /// The guest did all its work.
    Done,
    /// The kernel panicked: its words.
    Panicked(String),
    /// Nothing came any more: what was under way.
    Hung(String),
    /// It took too long: what was under way.
    Late(String),
    /// It has said nothing at all, until its limit or its end.
    Silent,
    /// It printed too much: what was under way.
    Flooded(String),
    /// The emulator ended: what was under way, or its own words.
    Stopped(String),
    /// Somebody wanted no more of it.
    Cancelled,
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            End::Done => f.write_str("done"),
            End::Panicked(words) => write!(f, "the kernel panicked: {words}"),
            End::Hung(at) => write!(f, "it hung in {at}"),
            End::Late(at) => write!(f, "it took too long; under way was {at}"),
            End::Silent => f.write_str("it said nothing: no console"),
            End::Flooded(at) => write!(f, "it printed without end in {at}"),
            End::Stopped(at) => write!(f, "it stopped in {at}"),
            End::Cancelled => f.write_str("cancelled"),
        }
    }
}

/// What came of a boot.
#[derive(Clone, Debug)]
pub struct Booted {
    /// What the guest said, but for what begins.
    pub lines: Vec<Line>,
    /// How it ended.
    pub end: End,
    /// Until the guest's first word. `None` where it had none.
    pub until_guest: Option<Duration>,
    /// In all.
    pub took: Duration,
}

/// What a machine says.
#[derive(Clone, Copy, Debug)]
pub enum Heard<'h> {
    /// A line of the guest's own.
    Line(&'h Line),
    /// Any other: the kernel's, or of what runs there.
    Text(&'h str),
}

/// What is under way before the guest has said anything.
const BOOT: &str = "boot";

/// Boots a machine, and waits for its end. Whatever the machine does is a result. `said` is called with each line as it comes; `cancelled` is looked at a few times in a second.
///
/// # Errors
/// qemu cannot be started, or the log not be written.
pub fn boot(machine: &Machine<'_>, cancelled: &AtomicBool, mut said: impl FnMut(Heard<'_>)) -> Result<Booted> {
    let program = machine.architecture.emulator();
    let mut running = command(machine).spawn().with_context(|| format!("start {program}"))?;
    let log = machine.log;
    let file = File::create(log).with_context(|| format!("create {}", log.display()))?;
    let watched = Watched {
        machine,
        cancelled,
        chunks: chunks(&mut running),
        log: BufWriter::new(file),
        begun: Instant::now(),
        under_way: BOOT.to_owned(),
        booted: Booted { lines: Vec::new(), end: End::Silent, until_guest: None, took: Duration::ZERO },
        panic: None,
    };
    let ended = watched.watch(&mut said);
    let _ = running.kill();
    running.wait().with_context(|| format!("wait for {program}"))?;
    ended
}

/// qemu's command.
fn command(machine: &Machine<'_>) -> Command {
    let mut qemu = Command::new(machine.architecture.emulator());
    match machine.accelerator {
        Accelerator::Kvm => qemu.args(["-accel", "kvm", "-cpu", "host"]),
        // with two processors, qemu's threads let some kernels panic
        Accelerator::Tcg => qemu.args(["-accel", "tcg,thread=multi", "-cpu", machine.architecture.processor()]),
        Accelerator::Instructions => {
            qemu.args(["-accel", "tcg,thread=single", "-icount", "shift=0,sleep=off"]);
            qemu.args(["-cpu", machine.architecture.processor()])
        }
    };
    qemu.args(["-machine", machine.architecture.machine(), "-smp", "1", "-m", &machine.memory.to_string()]);
    qemu.args(["-nodefaults", "-display", "none", "-serial", "stdio", "-no-reboot"]);
    qemu.arg("-kernel").arg(machine.kernel).arg("-initrd").arg(machine.initramfs);
    let console = if machine.console { machine.architecture.console() } else { "null" };
    let arguments = format!("console={console} panic=-1 {}", machine.arguments);
    qemu.arg("-append").arg(arguments.trim());
    qemu.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    qemu
}

/// What the console gives, and the emulator's own words behind it, as they come.
fn chunks(running: &mut Child) -> Receiver<Vec<u8>> {
    // a bound, so that a machine that prints faster than we read waits
    let (sender, receiver) = std::sync::mpsc::sync_channel(64);
    let console = running.stdout.take().map(|out| Box::new(out) as Box<dyn Read + Send>);
    let errors = running.stderr.take().map(|out| Box::new(out) as Box<dyn Read + Send>);
    for mut from in console.into_iter().chain(errors) {
        let sender = sender.clone();
        std::thread::spawn(move || {
            let mut bytes = [0; 16 << 10];
            while let Ok(count @ 1..) = from.read(&mut bytes) {
                if sender.send(bytes[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
    }
    receiver
}

/// A machine while it runs.
struct Watched<'w> {
    machine: &'w Machine<'w>,
    cancelled: &'w AtomicBool,
    chunks: Receiver<Vec<u8>>,
    log: BufWriter<File>,
    begun: Instant,
    /// What the guest said last that it begins.
    under_way: String,
    booted: Booted,
    /// The words of the kernel's panic: the guest is not heard of any more, but its stack is printed yet.
    panic: Option<String>,
}

/// How often is looked whether it is cancelled.
const TICK: Duration = Duration::from_millis(200);

impl Watched<'_> {
    fn watch(mut self, said: &mut impl FnMut(Heard<'_>)) -> Result<Booted> {
        let Limits { boot, silence, total, console } = self.machine.limits;
        let (mut line, mut printed, mut heard) = (Vec::new(), 0, Instant::now());
        let (mut last, mut done) = (String::new(), false);
        let end = loop {
            let chunk = match self.chunks.recv_timeout(TICK) {
                Ok(chunk) => chunk,
                Err(RecvTimeoutError::Disconnected) if done => break End::Done,
                Err(RecvTimeoutError::Disconnected) if printed == 0 => break End::Silent,
                Err(RecvTimeoutError::Disconnected) => break End::Stopped(self.whereabouts(&line, &last)),
                Err(RecvTimeoutError::Timeout) => Vec::new(),
            };
            if !chunk.is_empty() {
                heard = Instant::now();
                printed += chunk.len() as u64;
                self.log.write_all(&chunk).with_context(|| format!("write {}", self.machine.log.display()))?;
            }
            for byte in chunk {
                if byte != b'\n' {
                    line.push(byte);
                    continue;
                }
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                line.clear();
                done |= self.line(&text, said);
                if !text.is_empty() {
                    last = text;
                }
            }
            let (took, quiet) = (self.begun.elapsed(), heard.elapsed());
            let at_boot = self.booted.until_guest.is_none();
            match () {
                () if self.cancelled.load(Ordering::Relaxed) => break End::Cancelled,
                () if printed > console => break End::Flooded(self.under_way.clone()),
                () if at_boot && took > boot && printed == 0 => break End::Silent,
                // once the kernel has panicked, it is to end by itself
                () if self.panic.is_some() && quiet > TICK * 10 => break End::Done,
                () if (at_boot && took > boot) || quiet > silence => break End::Hung(self.whereabouts(&line, &last)),
                () if took > total => break End::Late(self.whereabouts(&line, &last)),
                () => {}
            }
        };
        self.log.flush().with_context(|| format!("write {}", self.machine.log.display()))?;
        self.booted.end = self.panic.take().map_or(end, End::Panicked);
        self.booted.took = self.begun.elapsed();
        Ok(self.booted)
    }

    /// What is under way, and the console's last words.
    fn whereabouts(&self, line: &[u8], last: &str) -> String {
        let unfinished = String::from_utf8_lossy(line);
        let words = if unfinished.trim().is_empty() { last } else { unfinished.trim() };
        let words = if words.contains(MARK) { "" } else { words };
        match words {
            "" => self.under_way.clone(),
            words => format!("{}, behind \"{words}\"", self.under_way),
        }
    }

    /// Takes a line of the console; true for the guest's last one.
    fn line(&mut self, text: &str, said: &mut impl FnMut(Heard<'_>)) -> bool {
        if let Some((_, words)) = text.split_once("Kernel panic - not syncing") {
            self.panic.get_or_insert_with(|| words.trim_start_matches(':').trim().to_owned());
        }
        // the kernel's own words may come before on the same line
        let Some((_, text)) = text.split_once(MARK) else {
            said(Heard::Text(text));
            return false;
        };
        let line: Line = match serde_json::from_str(text) {
            Ok(line) => line,
            Err(error) => Line::Warning { text: format!("a line that cannot be read ({error}): {text}") },
        };
        said(Heard::Line(&line));
        match &line {
            Line::Begins { what } => self.under_way.clone_from(what),
            Line::Done => return true,
            _ => {
                if matches!(line, Line::Started { .. }) {
                    self.booted.until_guest = Some(self.begun.elapsed());
                }
                self.booted.lines.push(line);
            }
        }
        false
    }
}
