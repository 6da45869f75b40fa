//! For a CI system: a test suite for each kernel; a case for the boot, each program and each test.

use std::fmt::Write as _;

use vm_guest::words::Outcome;

use super::{escaped, observed};
use crate::results::Results;

/// A case: its class, its name, its time, and what is to be said of it.
enum Said<'s> {
    Passed,
    Skipped(&'s str),
    Failed(String),
}

/// JUnit's XML.
pub fn junit(results: &Results) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"lcc matrix\">\n");
    for entry in &results.entries {
        let mut cases = Vec::new();
        let boot = if entry.failures.is_empty() { Said::Passed } else { Said::Failed(entry.failures.join("\n")) };
        cases.push(("machine", "boot", entry.boot_seconds, boot));
        for object in &entry.objects {
            for program in &object.programs {
                let said = match program.differs {
                    true => Said::Failed(format!("predicted {}, {}", program.predicted, observed(entry, program))),
                    false => Said::Passed,
                };
                cases.push((&object.object, &program.program, None, said));
            }
        }
        for test in &entry.tests {
            let said = match test.outcome {
                Outcome::Passed => Said::Passed,
                Outcome::Skipped => Said::Skipped(&test.said),
                Outcome::Failed => Said::Failed(test.said.clone()),
            };
            cases.push((&test.program, &test.test, Some(test.seconds), said));
        }
        let failures = cases.iter().filter(|(.., said)| matches!(said, Said::Failed(_))).count();
        let skipped = cases.iter().filter(|(.., said)| matches!(said, Said::Skipped(_))).count();
        let _ = writeln!(
            out,
            "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{failures}\" skipped=\"{skipped}\" time=\"{:.3}\">",
            escaped(&entry.name),
            cases.len(),
            entry.seconds
        );
        for (class, name, time, said) in &cases {
            let time = time.map_or_else(String::new, |time| format!(" time=\"{time:.3}\""));
            let _ = write!(out, "    <testcase classname=\"{}\" name=\"{}\"{time}", escaped(class), escaped(name));
            let _ = match said {
                Said::Passed => writeln!(out, "/>"),
                Said::Skipped(why) => writeln!(out, "><skipped message=\"{}\"/></testcase>", escaped(why)),
                Said::Failed(why) => {
                    let first = why.lines().next().unwrap_or_default();
                    writeln!(out, "><failure message=\"{}\">{}</failure></testcase>", escaped(first), escaped(why))
                }
            };
        }
        out.push_str("  </testsuite>\n");
    }
    out + "</testsuites>\n"
}
