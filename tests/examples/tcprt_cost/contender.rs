//! Who looks at servers: tcprt, and what users have today.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lcc_tests::server::cpu_seconds;
use rustix::process::{Pid, Signal, kill_process};

use crate::Result;
use crate::programs::{Program, programs};
use crate::workload::OTHERS;

/// A program that looks on.
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    command: Vec<String>,
    /// How many events its output tells of.
    events: fn(&str) -> u64,
    /// It ends with its standard input, not by a signal.
    ends_with_input: bool,
}

/// What a contender was seen to do.
pub(crate) struct Run {
    /// From its start until it held the last of its descriptors.
    pub(crate) ready_ms: u64,
    /// After it was ready.
    pub(crate) cpu_seconds: f64,
    pub(crate) programs: Vec<Program>,
    pub(crate) events: u64,
    pub(crate) lost: u64,
    pub(crate) peak_rss_kib: u64,
    pub(crate) rss_kib: u64,
}

/// One that runs.
pub(crate) struct Running<'c> {
    contender: &'c Contender,
    child: Child,
    out: PathBuf,
    ready_ms: u64,
    cpu_before: f64,
    programs_before: BTreeMap<u64, Program>,
}

/// All of them; PORT in a command is the server's.
pub(crate) fn all(object: &str, listen: &str, agent: Option<&str>) -> Vec<Contender> {
    let words = |command: &str| command.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let lines = |text: &str| text.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_digit())).count() as u64;
    let told = |text: &str| {
        let last = text.lines().last().and_then(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let kinds = last.as_ref().and_then(|last| last["kinds"].as_object());
        kinds.map_or(0, |kinds| {
            kinds.iter().filter(|(kind, _)| *kind != "E").filter_map(|(_, count)| count.as_u64()).sum()
        })
    };
    let contender = |name, command: Vec<String>, events| Contender { name, command, events, ends_with_input: false };
    let script = |name: &str| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/tcprt_cost");
        vec!["bpftrace".into(), folder.join(name).display().to_string(), "PORT".into()]
    };
    let mut all = vec![
        Contender {
            ends_with_input: true,
            ..contender("tcprt's object, counted", [listen, object, "PORT"].map(str::to_owned).to_vec(), told)
        },
        Contender {
            ends_with_input: true,
            ..contender("the same, all connections", [listen, object].map(str::to_owned).to_vec(), told)
        },
    ];
    if let Some(agent) = agent {
        let records = |text: &str| {
            text.lines().filter(|line| line.starts_with("V6 R") || line.starts_with("V6 W")).count() as u64
        };
        let args = [agent, "--lport", "PORT", "--format", "v6"].map(str::to_owned).to_vec();
        all.push(contender("tcprt, each request in a file", args, records));
    }
    all.extend([
        contender("bpftrace, each request in a file", script("requests.bt"), lines),
        contender("bpftrace, a histogram", script("histogram.bt"), |text| {
            // [256, 512)  2 |@@@@ |
            let counts = text.lines().filter(|line| line.starts_with('[')).filter_map(|line| line.split_once(')'));
            counts.filter_map(|(_, rest)| rest.split_whitespace().next()?.parse::<u64>().ok()).sum()
        }),
        contender("libbpf-tools' tcplife", words("/usr/sbin/tcplife"), lines),
        contender("libbpf-tools' tcprtt", words("/usr/sbin/tcprtt"), lines),
        contender("libbpf-tools' tcptop", words("/usr/sbin/tcptop"), lines),
        contender("bcc's tcplife", words("tcplife-bpfcc"), lines),
        contender("bcc's tcprtt", words("tcprtt-bpfcc"), lines),
    ]);
    all
}

/// How long nothing new is to come from a program until it is ready, and how long that may take.
const STEADY: Duration = Duration::from_millis(800);
const PATIENCE: Duration = Duration::from_secs(30);

impl Contender {
    /// # Errors
    /// It does not run here: why, in its own words.
    pub(crate) fn try_out(&self, folder: &Path, port: u16) -> Result<()> {
        let run = self.start(folder, port)?.end()?;
        if run.programs.is_empty() { Err("it has no programs in the kernel".into()) } else { Ok(()) }
    }

    pub(crate) fn start(&self, folder: &Path, port: u16) -> Result<Running<'_>> {
        let out = folder.join("out");
        let mut command = Command::new("taskset");
        command.args(["-c", OTHERS]);
        command.args(self.command.iter().map(|word| if word == "PORT" { port.to_string() } else { word.clone() }));
        command.stdout(File::create(&out)?).stderr(File::create(out.with_extension("err"))?);
        command.stdin(if self.ends_with_input { Stdio::piped() } else { Stdio::null() });
        let begin = Instant::now();
        let mut child = command.spawn()?;
        let (mut descriptors, mut last) = (0, begin);
        while last.elapsed() < STEADY || programs(child.id()).is_empty() {
            if child.try_wait()?.is_some() || begin.elapsed() > PATIENCE {
                let _ = child.kill();
                let said = std::fs::read_to_string(out.with_extension("err"))?;
                let lines = said.lines().map(str::trim).filter(|line| !line.is_empty() && !line.contains("modprobe"));
                return Err(lines.take(2).collect::<Vec<_>>().join("; ").into());
            }
            let now = std::fs::read_dir(format!("/proc/{}/fd", child.id())).map_or(0, Iterator::count);
            if now > descriptors {
                (descriptors, last) = (now, Instant::now());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let ready_ms = (last - begin).as_millis() as u64;
        let (cpu_before, programs_before) = (cpu_seconds(child.id())?, programs(child.id()));
        Ok(Running { contender: self, child, out, ready_ms, cpu_before, programs_before })
    }
}

impl Running<'_> {
    /// Ends it.
    pub(crate) fn end(mut self) -> Result<Run> {
        // the last events
        std::thread::sleep(Duration::from_millis(300));
        let pid = self.child.id();
        let cpu_seconds = cpu_seconds(pid)? - self.cpu_before;
        let programs = programs(pid).into_iter().map(|(id, now)| {
            let before = self.programs_before.get(&id).cloned().unwrap_or_default();
            Program { runs: now.runs - before.runs, nanoseconds: now.nanoseconds - before.nanoseconds, ..now }
        });
        let programs = programs.collect();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let kib = |key: &str| {
            let value = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
            value.and_then(|value| value.split_whitespace().next()?.parse().ok()).unwrap_or(0)
        };
        let (peak_rss_kib, rss_kib) = (kib("VmHWM"), kib("VmRSS"));
        if self.contender.ends_with_input {
            drop(self.child.stdin.take());
        } else {
            kill_process(Pid::from_child(&self.child), Signal::INT)?;
        }
        // bpftrace 0.17 misses a signal now and then
        let asked = Instant::now();
        for second in 1.. {
            while self.child.try_wait()?.is_none() && asked.elapsed() < Duration::from_secs(second) {
                std::thread::sleep(Duration::from_millis(10));
            }
            if self.child.try_wait()?.is_some() {
                break;
            }
            kill_process(Pid::from_child(&self.child), if second < 5 { Signal::INT } else { Signal::KILL })?;
        }
        let told = String::from_utf8_lossy(&std::fs::read(&self.out)?).into_owned();
        let said = String::from_utf8_lossy(&std::fs::read(self.out.with_extension("err"))?).into_owned();
        let lost = lost(&told, &said);
        let events = (self.contender.events)(&told);
        Ok(Run { ready_ms: self.ready_ms, cpu_seconds, programs, events, lost, peak_rss_kib, rss_kib })
    }
}

/// What it says itself that it lost: `"lost":1` of ours, `Lost 1 events` of bpftrace and bcc.
fn lost(told: &str, said: &str) -> u64 {
    let ours = told.lines().last().and_then(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let theirs = told.lines().chain(said.lines()).filter_map(|line| {
        let rest = line.split_once("Lost ").or_else(|| line.split_once("lost "))?.1;
        rest.split(' ').next()?.parse::<u64>().ok()
    });
    ours.and_then(|ours| ours["lost"].as_u64()).unwrap_or(0) + theirs.sum::<u64>()
}
