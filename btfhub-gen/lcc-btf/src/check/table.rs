//! What a check found, for people: kernels down, objects across, and below it what is missing where.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use plan::{Outcome, Plan, Requirement, Status};

use super::CheckReport;
use crate::printable::printable;

impl CheckReport {
    /// The table, and below it what is not met, once each with the kernels where it is so; with `verbose`, what is not
    /// known too.
    pub fn table(&self, verbose: bool) -> String {
        let mut rows =
            vec![std::iter::once("KERNEL").chain(self.objects.iter().map(String::as_str)).map(printable).collect()];
        for kernel in &self.kernels {
            let mut row: Vec<String> = vec![printable(&kernel.kernel)];
            row.extend(kernel.plans.iter().map(cell));
            rows.push(row);
        }
        let mut text = crate::report::aligned_left(&rows);
        self.write_requirements(&mut text, Status::Unmet, "Not met:");
        if verbose {
            self.write_requirements(&mut text, Status::Unknown, "Not known:");
        }
        let _ = write!(text, "\n{}", self.summary());
        text
    }

    fn write_requirements(&self, text: &mut String, status: Status, title: &str) {
        // object and program; then what is missing; then the kernels
        let mut found: BTreeMap<(&str, &str), BTreeMap<String, Vec<&str>>> = BTreeMap::new();
        for kernel in &self.kernels {
            for plan in &kernel.plans {
                for program in &plan.programs {
                    let wanted = |requirement: &&Requirement| requirement.status == status;
                    for requirement in program.requirements.iter().filter(wanted) {
                        let what = if requirement.evidence.is_empty() {
                            requirement.need.to_string()
                        } else {
                            format!("{}: {}", requirement.need, requirement.evidence)
                        };
                        let program = found.entry((&plan.object, &program.name)).or_default();
                        program.entry(what).or_default().push(&kernel.kernel);
                    }
                }
            }
        }
        if found.is_empty() {
            return;
        }
        let _ = writeln!(text, "\n{title}");
        for ((object, program), all) in found {
            let _ = writeln!(text, "  {}", printable(format!("{object}: {program}")));
            for (what, kernels) in all {
                let _ = writeln!(text, "    {}", printable(what));
                let _ = writeln!(text, "      on {}", printable(crate::report::some(&kernels)));
            }
        }
    }

    fn summary(&self) -> String {
        let of = |outcome| {
            self.kernels.iter().flat_map(|kernel| &kernel.plans).filter(|plan| plan.outcome == outcome).count()
        };
        let mut text = format!("{} kernels, {} objects:", self.kernels.len(), self.objects.len());
        for outcome in [Outcome::Works, Outcome::Unknown, Outcome::Degraded, Outcome::Fails] {
            let _ = write!(text, " {} {},", of(outcome), outcome.word());
        }
        text.pop();
        if !self.failures.is_empty() {
            let _ = write!(text, "; {} inputs failed", self.failures.len());
        }
        text + "\n"
    }
}

/// `works 3/3`: programs enabled, of those that could be.
fn cell(plan: &Plan) -> String {
    let enabled = plan.programs.iter().filter(|program| program.enabled).count();
    format!("{} {enabled}/{}", plan.outcome.word(), plan.programs.len())
}
