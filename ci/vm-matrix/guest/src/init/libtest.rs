//! What a program of tests prints, as cargo's own harness does with `--test-threads=1 --show-output`:
//!
//! ```text
//! test root_some_name ... ok
//!
//! successes:
//!
//! ---- root_some_name stdout ----
//! skipped: no such thing here
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use crate::words::{Outcome, Test};

/// Of what a test prints, so many lines from its end are told.
const LINES: usize = 40;

/// What was read of a program so far.
pub(super) struct Report {
    program: String,
    tests: Vec<Test>,
    /// By test, what it printed.
    said: BTreeMap<String, Vec<String>>,
    /// Whose output the lines are now.
    block: Option<String>,
}

impl Report {
    pub(super) fn new(program: &str) -> Report {
        Report { program: program.to_owned(), tests: Vec::new(), said: BTreeMap::new(), block: None }
    }

    /// Takes a line, which came so long after the one before.
    pub(super) fn line(&mut self, line: &str, took: Duration) {
        if let Some(name) = line.strip_prefix("---- ").and_then(|rest| rest.strip_suffix(" stdout ----")) {
            self.block = Some(name.to_owned());
        } else if let Some(block) = &self.block {
            match line {
                "failures:" | "successes:" => self.block = None,
                _ => self.said.entry(block.clone()).or_default().push(line.to_owned()),
            }
        } else if let Some((test, outcome)) = result(line) {
            let (program, seconds) = (self.program.clone(), took.as_secs_f64());
            self.tests.push(Test { program, test, outcome, seconds, said: String::new() });
        }
    }

    /// The tests, with what they said. A program that fails without a failed test is one more, without a name.
    pub(super) fn finish(mut self, success: bool, ended: &str) -> Vec<Test> {
        for test in &mut self.tests {
            let Some(said) = self.said.get(&test.test) else { continue };
            let mut skipped: Vec<&str> = said.iter().filter_map(|line| line.strip_prefix("skipped: ")).collect();
            // some ask for each of several cases
            skipped.dedup();
            match test.outcome {
                Outcome::Passed if !skipped.is_empty() => {
                    test.outcome = Outcome::Skipped;
                    test.said = skipped.join("; ");
                }
                Outcome::Failed => test.said = said[said.len().saturating_sub(LINES)..].join("\n").trim().to_owned(),
                _ => {}
            }
        }
        if !success && !self.tests.iter().any(|test| test.outcome == Outcome::Failed) {
            let said = format!("the program of tests ended with {ended}");
            let test =
                Test { program: self.program, test: String::new(), outcome: Outcome::Failed, seconds: 0.0, said };
            self.tests.push(test);
        }
        self.tests
    }
}

/// `test NAME ... ok`: what a test printed itself may be in between.
fn result(line: &str) -> Option<(String, Outcome)> {
    let (name, rest) = line.strip_prefix("test ")?.split_once(" ... ")?;
    let outcome = match rest.rsplit(' ').next()? {
        "ok" => Outcome::Passed,
        "FAILED" => Outcome::Failed,
        "ignored" => Outcome::Skipped,
        _ => return None,
    };
    Some((name.to_owned(), outcome))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "
running 4 tests
test root_a ... ok
test root_b ... FAILED
test root_c ... ok
test root_d ... ignored

successes:

---- root_a stdout ----
12 calls
---- root_c stdout ----
skipped: no veth: not supported


successes:
    root_a
    root_c

failures:

---- root_b stdout ----

thread 'root_b' panicked at tests/b.rs:3:5:
assertion failed


failures:
    root_b

test result: FAILED. 1 passed; 1 failed
";

    fn read(text: &str, success: bool) -> Vec<(String, Outcome, String)> {
        let mut report = Report::new("p");
        text.lines().for_each(|line| report.line(line, Duration::from_secs(1)));
        report
            .finish(success, "exit status: 101")
            .into_iter()
            .map(|test| (test.test, test.outcome, test.said))
            .collect()
    }

    #[test]
    fn what_came_of_each_test_is_told_with_what_it_said() {
        let expected = [
            ("root_a", Outcome::Passed, ""),
            ("root_b", Outcome::Failed, "thread 'root_b' panicked at tests/b.rs:3:5:\nassertion failed"),
            ("root_c", Outcome::Skipped, "no veth: not supported"),
            ("root_d", Outcome::Skipped, ""),
        ];
        assert_eq!(read(SAID, false), expected.map(|(test, outcome, said)| (test.into(), outcome, said.into())));
    }

    #[test]
    fn a_program_that_crashes_is_a_failed_test() {
        let tests = read("running 2 tests\ntest root_a ... ok\ntest root_b ... ", false);
        assert_eq!(
            tests[1],
            (String::new(), Outcome::Failed, "the program of tests ended with exit status: 101".into())
        );
    }
}
