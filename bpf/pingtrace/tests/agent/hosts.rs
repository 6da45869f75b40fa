//! Two hosts, and pingtrace on them.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use lcc_tests::netns::Namespace;
use lcc_tests::{may_load, skip};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// The machine's time: what measures where it goes has it alone, and the rest share it.
static TIME: RwLock<()> = RwLock::new(());

/// Two namespaces, and a share of the machine's time; `None`, said, where there cannot be such.
pub(crate) fn two() -> Option<(Namespace, Namespace, impl Drop)> {
    let time = TIME.read().unwrap_or_else(PoisonError::into_inner);
    namespaces().map(|(left, right)| (left, right, time))
}

/// The same, with no other of these tests beside it.
pub(crate) fn two_alone() -> Option<(Namespace, Namespace, impl Drop)> {
    let time = TIME.write().unwrap_or_else(PoisonError::into_inner);
    namespaces().map(|(left, right)| (left, right, time))
}

fn namespaces() -> Option<(Namespace, Namespace)> {
    if !may_load() {
        return None;
    }
    for program in ["ip", "tc"] {
        if let Err(error) = Command::new(program).arg("-V").stdout(Stdio::null()).status() {
            skip(&format!("{program}: {error}"));
            return None;
        }
    }
    if !std::path::Path::new("/dev/net/tun").exists() {
        skip("no /dev/net/tun");
        return None;
    }
    Some((Namespace::new(), Namespace::new()))
}

/// pingtrace, until it is dropped or told to end.
pub(crate) struct Agent {
    child: Child,
    /// Its lines: they are taken from it as they come, so that it never waits for the test.
    lines: Receiver<String>,
}

impl Agent {
    /// Starts it in a namespace.
    pub(crate) fn start(namespace: &Namespace, args: &[&str]) -> Agent {
        Agent::run(namespace, Command::new(env!("CARGO_BIN_EXE_pingtrace")).args(args))
    }

    /// Starts it with no other capabilities than these, as `setpriv` names them.
    pub(crate) fn start_with(namespace: &Namespace, capabilities: &str, args: &[&str]) -> Agent {
        let mut command = Command::new("setpriv");
        command.arg(format!("--bounding-set=-all{capabilities}")).args(["--inh-caps=-all", "--no-new-privs"]);
        Agent::run(namespace, command.arg(env!("CARGO_BIN_EXE_pingtrace")).args(args))
    }

    fn run(namespace: &Namespace, command: &mut Command) -> Agent {
        command.stdout(Stdio::piped()).stderr(Stdio::inherit()).stdin(Stdio::null());
        let mut child = namespace.inside(|| command.spawn()).expect("pingtrace");
        let mut out = BufReader::new(child.stdout.take().expect("its output"));
        let (send, lines) = channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            while out.read_line(&mut line).is_ok_and(|bytes| bytes > 0) && send.send(std::mem::take(&mut line)).is_ok()
            {
            }
        });
        Agent { child, lines }
    }

    /// Starts a server and waits until it answers.
    pub(crate) fn server(namespace: &Namespace, args: &[&str]) -> Agent {
        let agent = Agent::start(namespace, &[&["-s"], args].concat());
        let line = agent.line();
        assert!(line.starts_with("pingtrace: answering"), "{line}");
        agent
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its next line.
    pub(crate) fn line(&self) -> String {
        self.lines.recv().unwrap_or_default()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("a signal");
    }

    /// Waits until it ends, and gives the rest of what it says and its exit status.
    pub(crate) fn rest(mut self) -> (String, i32) {
        let rest = self.lines.iter().collect();
        let status = self.child.wait().expect("its end");
        (rest, status.code().unwrap_or(-1))
    }

    /// Ends it as Ctrl-C does.
    pub(crate) fn end(self) -> (String, i32) {
        self.signal(Signal::INT);
        self.rest()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The probes and the end of what a client with `-o json` says.
pub(crate) fn parse(json: &str) -> (Vec<Value>, Value) {
    let mut lines: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let stat = lines.pop().expect("the end");
    (lines, stat["stat"].clone())
}

/// A delay of a probe: microseconds, −1 where it is absent.
pub(crate) fn delay(probe: &Value, name: &str) -> i64 {
    let delays = probe["delays"].as_array().expect("delays");
    let found = delays.iter().find(|delay| delay["delay"] == name);
    found.unwrap_or_else(|| panic!("no {name}"))["ts"].as_i64().expect("a number")
}

/// A counter of the end.
pub(crate) fn count(stat: &Value, name: &str) -> i64 {
    let counters = stat["packet_num"].as_array().expect("counters");
    let found = counters.iter().find(|counter| counter["name"] == name);
    found.unwrap_or_else(|| panic!("no {name}"))["num"].as_i64().expect("a number")
}

/// Does something every so often until the agent ends.
pub(crate) fn meanwhile(agent: &mut Agent, every: Duration, mut act: impl FnMut(u32)) {
    let begin = Instant::now();
    let mut turn = 0;
    while agent.child.try_wait().expect("its state").is_none() {
        let next = begin + every * (turn + 1);
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
        act(turn);
        turn += 1;
    }
}
