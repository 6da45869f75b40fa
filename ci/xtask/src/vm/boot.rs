//! One boot: qemu, its serial console, and a limit.

use crate::process;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// What a result begins with: `MARK` of `vm-guest`.
const MARK: &str = "@lcc ";

/// A machine to boot.
pub(super) struct Machine<'m> {
    pub(super) vmlinuz: &'m Path,
    pub(super) initramfs: &'m Path,
    /// Where its console goes.
    pub(super) log: &'m Path,
    /// How long it may take.
    pub(super) limit: Duration,
    pub(super) clock: Clock,
}

/// What a machine's time is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Clock {
    /// As it passes here.
    Real,
    /// A nanosecond for each instruction; where there is none to do, the time of the next timer comes at once.
    Instructions,
}

/// Boots a kernel and gives the results that the guest prints.
///
/// # Errors
/// qemu cannot be started, the machine stops or hangs before the guest is done, or the guest says that it failed.
pub(super) fn boot(machine: &Machine<'_>) -> Result<Vec<Value>> {
    let Machine { vmlinuz, initramfs, log, limit, clock } = *machine;
    let mut qemu = process::command("qemu-system-x86_64", Path::new("/"));
    match clock {
        Clock::Real => qemu.args(["-accel", "tcg,thread=multi"]),
        Clock::Instructions => qemu.args(["-accel", "tcg,thread=single", "-icount", "shift=0,sleep=off"]),
    };
    qemu.args(["-machine", "q35", "-cpu", "max", "-smp", "1", "-m", "1024"]);
    qemu.args(["-nodefaults", "-display", "none", "-serial", "stdio", "-no-reboot"]);
    qemu.arg("-kernel").arg(vmlinuz).arg("-initrd").arg(initramfs);
    qemu.args(["-append", "console=ttyS0 panic=-1 reboot=t quiet lsm=lockdown,yama,bpf"]);
    let mut running = qemu.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("start qemu-system-x86_64")?;
    let console = running.stdout.take().context("qemu's console")?;
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        // a console may give any bytes
        for line in BufReader::new(console).split(b'\n').map_while(Result::ok) {
            if sender.send(String::from_utf8_lossy(&line).trim_end().to_owned()).is_err() {
                return;
            }
        }
    });
    let mut file = std::fs::File::create(log).with_context(|| format!("create {}", log.display()))?;
    let begin = Instant::now();
    let (mut results, mut done, mut last) = (Vec::new(), false, String::new());
    let ended = loop {
        let left = limit.saturating_sub(begin.elapsed());
        let line = match receiver.recv_timeout(left) {
            Ok(line) => line,
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break true,
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => break false,
        };
        writeln!(file, "{line}").with_context(|| format!("write {}", log.display()))?;
        // the kernel's own words may come before on the same line
        if let Some((_, text)) = line.split_once(MARK) {
            let result: Value =
                serde_json::from_str(text).with_context(|| format!("read what the guest says: {text}"))?;
            if let Some(error) = result["error"].as_str() {
                let _ = running.kill();
                bail!("{}: the guest failed: {error}", vmlinuz.display());
            }
            done |= result["done"] == true;
            if result["done"] != true {
                results.push(result);
            }
        }
        if !line.is_empty() {
            last = line;
        }
    };
    let _ = running.kill();
    running.wait().context("wait for qemu")?;
    if !done {
        let how = if ended { "stopped" } else { "hung" };
        bail!("{}: it {how} at: {last}; the console is in {}", vmlinuz.display(), log.display());
    }
    Ok(results)
}
