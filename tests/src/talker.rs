//! Processes that do what they are told.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A child that does what it is told, a line each, and says so (`done`).
#[derive(Debug)]
pub struct Talker {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// What it said first: its process id.
    pub process: u32,
}

impl Talker {
    /// Starts it.
    ///
    /// # Panics
    /// It cannot be started, or does not say its process id.
    pub fn start(command: &mut Command) -> Talker {
        let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = spawned.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let input = child.stdin.take().expect("its standard input");
        let output = BufReader::new(child.stdout.take().expect("its standard output"));
        let mut talker = Talker { child, input, output, process: 0 };
        talker.process = talker.line().parse().expect("its process id");
        talker
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("a line");
        line.trim_end().to_owned()
    }

    /// Has it do something.
    ///
    /// # Panics
    /// It does not say that it did.
    pub fn tell(&mut self, what: &str) {
        writeln!(self.input, "{what}").expect("it listens");
        assert_eq!(self.line(), "done");
    }
}

impl Drop for Talker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
