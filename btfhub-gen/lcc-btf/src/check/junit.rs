//! What a check found, for a CI system: a test suite for each kernel, a test case for each program.

use std::fmt::Write as _;

use plan::{Reason, Status};

use super::CheckReport;

impl CheckReport {
    /// JUnit's XML.
    pub fn junit(&self) -> String {
        let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"lcc-btf check\">\n");
        for kernel in &self.kernels {
            let programs =
                || kernel.plans.iter().flat_map(|plan| plan.programs.iter().map(move |program| (plan, program)));
            let failed = |reason: Reason, optional: bool| reason == Reason::Unmet && !optional;
            let failures = programs().filter(|(_, p)| p.group.is_none() && failed(p.reason, p.optional)).count();
            let skipped = programs().filter(|(_, p)| !p.enabled).count() - failures;
            let _ = writeln!(
                out,
                "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{failures}\" skipped=\"{skipped}\">",
                escaped(&kernel.kernel),
                programs().count()
            );
            for (plan, program) in programs() {
                let (class, name) = (escaped(&plan.object), escaped(&program.name));
                let mut why = String::new();
                for requirement in program.requirements.iter().filter(|found| found.status == Status::Unmet) {
                    let _ = writeln!(why, "{}: {}", requirement.need, requirement.evidence);
                }
                let why = escaped(&why);
                let words = program.reason.words();
                let _ = match (program.enabled, program.group.is_none() && failed(program.reason, program.optional)) {
                    (true, _) => writeln!(out, "    <testcase classname=\"{class}\" name=\"{name}\"/>"),
                    (false, true) => writeln!(
                        out,
                        "    <testcase classname=\"{class}\" name=\"{name}\"><failure message=\"{words}\">{why}</failure></testcase>"
                    ),
                    (false, false) => writeln!(
                        out,
                        "    <testcase classname=\"{class}\" name=\"{name}\"><skipped message=\"{words}\"/></testcase>"
                    ),
                };
            }
            out.push_str("  </testsuite>\n");
        }
        out + "</testsuites>\n"
    }
}

/// Text as XML and HTML want it; characters that XML cannot have become `?`.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(c),
            c if c.is_control() => out.push('?'),
            c => out.push(c),
        }
    }
    out
}
