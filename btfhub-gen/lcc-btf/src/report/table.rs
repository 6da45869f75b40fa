//! The report for people.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use super::{Report, Unresolved};
use crate::printable::printable;

/// Without `-v`, this many texts of diagnostics are told.
const FIRST_DIAGNOSTICS: usize = 3;

impl Report {
    /// The table, and below it what is not resolved and the diagnostics: all of them where it is `verbose`, else the first.
    pub fn table(&self, verbose: bool) -> String {
        let with_objects = self.kernels.iter().any(|kernel| !kernel.record.objects.is_empty());
        let with_refused = self.kernels.iter().any(|kernel| kernel.record.fates().refused > 0);
        let with_modules = self.kernels.iter().any(|kernel| !kernel.record.modules.is_empty());
        let with_diagnostics = self.diagnostics() > 0;
        let mut rows = Vec::new();
        let mut head = vec!["KERNEL", "FROM", "TYPES IN", "TYPES KEPT", "BYTES"];
        if with_modules {
            head.push("MODULES");
        }
        if with_objects {
            head.extend(["RESOLVED", "GUARDED", "UNGUARDED", "AMBIGUOUS"]);
        }
        if with_refused {
            head.push("REFUSED");
        }
        if with_diagnostics {
            head.push("DIAGNOSTICS");
        }
        head.push("TIME");
        rows.push(head.into_iter().map(str::to_owned).collect::<Vec<_>>());
        for kernel in &self.kernels {
            let record = &kernel.record;
            let mut row = vec![
                printable(kernel.name()),
                record.source.clone(),
                grouped(record.types_in),
                grouped(record.types_out),
                grouped(record.bytes),
            ];
            if with_modules {
                row.push(grouped(record.modules.len()));
            }
            let fates = record.fates();
            if with_objects {
                row.extend([fates.resolved, fates.guarded, fates.unguarded, fates.ambiguous].map(grouped));
            }
            if with_refused {
                row.push(grouped(fates.refused));
            }
            if with_diagnostics {
                row.push(grouped(record.diagnostics()));
            }
            row.push(if kernel.kept { "kept".to_owned() } else { seconds(kernel.seconds) });
            rows.push(row);
        }
        let mut text = if self.kernels.is_empty() { String::new() } else { aligned(&rows) };
        self.write_unresolved(&mut text);
        self.write_diagnostics(&mut text, if verbose { usize::MAX } else { FIRST_DIAGNOSTICS });
        for failure in &self.passed_over {
            let _ = writeln!(text, "passed over: {}", printable(&failure.error));
        }
        text.push_str(&self.summary());
        text
    }

    /// What is not resolved and not guarded: each relocation once, with the kernels where it is so.
    fn write_unresolved(&self, text: &mut String) {
        let mut by_relocation: BTreeMap<(&str, &Unresolved), Vec<&str>> = BTreeMap::new();
        for kernel in &self.kernels {
            for (object, unresolved) in kernel.record.fatal() {
                by_relocation.entry((&object.object, unresolved)).or_default().push(kernel.name());
            }
        }
        if by_relocation.is_empty() {
            return;
        }
        text.push_str("\nNot resolved, and a program gets there:\n");
        for ((object, unresolved), kernels) in by_relocation {
            let Unresolved { fate, kind, access, function, insn, line, reason, .. } = unresolved;
            let line = line.as_ref().map(|line| format!(" ({line})")).unwrap_or_default();
            let what = format!("{object}: {function}+{insn}{line}: {kind} of {access}: {fate}: {reason}");
            let _ = writeln!(text, "  {}", printable(what));
            let _ = writeln!(text, "    on {}", printable(some(&kernels)));
        }
    }

    /// What was not quite right with the inputs: each text once, with the kernels where it is so; `most` texts.
    fn write_diagnostics(&self, text: &mut String, most: usize) {
        let mut places: BTreeMap<&str, usize> = BTreeMap::new();
        let mut by_text: Vec<(&str, Vec<&str>)> = Vec::new();
        for kernel in &self.kernels {
            for diagnostic in &kernel.record.diagnostics {
                let place = *places.entry(diagnostic).or_insert(by_text.len());
                if place == by_text.len() {
                    by_text.push((diagnostic, Vec::new()));
                }
                // A kernel can have one text several times.
                if by_text[place].1.last() != Some(&kernel.name()) {
                    by_text[place].1.push(kernel.name());
                }
            }
        }
        if by_text.is_empty() {
            return;
        }
        text.push_str("\nNot quite right with the inputs:\n");
        for (diagnostic, kernels) in by_text.iter().take(most) {
            let _ = writeln!(text, "  {}\n    on {}", printable(diagnostic), printable(some(kernels)));
        }
        if by_text.len() > most {
            let _ = writeln!(text, "  and {} more: -v tells them, or --json", grouped(by_text.len() - most));
        }
        let not_kept = self.kernels.iter().map(|kernel| kernel.record.more_diagnostics).sum();
        if not_kept > 0 {
            let _ = writeln!(text, "  and {} that are only counted", grouped(not_kept));
        }
    }

    /// The number of diagnostics of all kernels.
    fn diagnostics(&self) -> usize {
        self.kernels.iter().map(|kernel| kernel.record.diagnostics()).sum()
    }

    /// The last line.
    fn summary(&self) -> String {
        let kernels = self.kernels.len();
        let mut text = format!("\n{} {}", grouped(kernels), if kernels == 1 { "kernel" } else { "kernels" });
        if kernels > 1 {
            let _ =
                write!(text, ", {} different {}", self.distinct, if self.distinct == 1 { "result" } else { "results" });
        }
        let count = |n: usize, what: &str| if n == 0 { String::new() } else { format!(", {} {what}", grouped(n)) };
        let unresolved = self.kernels.iter().filter(|kernel| kernel.record.fatal().next().is_some()).count();
        text.push_str(&count(self.kernels.iter().filter(|kernel| kernel.kept).count(), "kept from before"));
        text.push_str(&count(unresolved, "with unresolved relocations"));
        let diagnostics = self.diagnostics();
        text.push_str(&count(diagnostics, if diagnostics == 1 { "diagnostic" } else { "diagnostics" }));
        text.push_str(&count(self.passed_over.len(), "files passed over"));
        text.push_str(&count(self.failures.len(), "failed"));
        let _ = writeln!(text, ", {}", seconds(self.seconds));
        text
    }
}

/// Up to five names.
pub(crate) fn some(names: &[&str]) -> String {
    match names {
        [first @ .., _, _] if names.len() > 6 => {
            let more = names.len() - 5;
            format!("{} and {more} more", first[..5].join(", "))
        }
        names => names.join(", "),
    }
}

/// `1,234,567`
fn grouped(n: usize) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `12 ms`, `3.4 s`, `2 min 5 s`
fn seconds(seconds: f64) -> String {
    let time = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    match time.as_secs() {
        0 if time.as_millis() < 10 => format!("{:.1} ms", seconds * 1e3),
        0 => format!("{} ms", time.as_millis()),
        1..60 => format!("{seconds:.1} s"),
        whole => format!("{} min {} s", whole / 60, whole % 60),
    }
}

/// Columns: the first two to the left, the others, which are numbers, to the right.
fn aligned(rows: &[Vec<String>]) -> String {
    aligned_to(rows, 2)
}

/// Columns under each other, aligned to the left.
pub(crate) fn aligned_left(rows: &[Vec<String>]) -> String {
    aligned_to(rows, usize::MAX)
}

/// The first columns aligned to the left, the others to the right.
fn aligned_to(rows: &[Vec<String>], left: usize) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|c| c.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let width = widths[column];
            let _ = if column < left { write!(line, "{cell:<width$}  ") } else { write!(line, "{cell:>width$}  ") };
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{KernelReport, UnitRecord};

    #[test]
    fn each_diagnostic_is_told_once_with_its_kernels() {
        let kernel = |name: &str, diagnostics: &[&str], more_diagnostics| KernelReport {
            kernel: Some(name.to_owned()),
            input: String::new(),
            kept: true,
            seconds: 0.0,
            record: UnitRecord {
                diagnostics: diagnostics.iter().map(|&text| text.to_owned()).collect(),
                more_diagnostics,
                ..UnitRecord::default()
            },
        };
        let kernels = vec![kernel("a", &["z", "y", "z"], 0), kernel("b", &[], 0), kernel("c", &["x", "w", "z"], 40)];
        let report = Report { kernels, ..Report::default() };
        let mut text = report.table(false);
        assert_eq!(
            text.split_off(text.find("\nNot").unwrap()),
            "\nNot quite right with the inputs:\n  z\n    on a, c\n  y\n    on a\n  x\n    on c\n  \
             and 1 more: -v tells them, or --json\n  and 40 that are only counted\n\n\
             3 kernels, 0 different results, 3 kept from before, 46 diagnostics, 0.0 ms\n"
        );
        let counts = text.lines().map(|line| line.split_whitespace().nth_back(1).unwrap()).collect::<Vec<_>>();
        assert_eq!(counts, ["DIAGNOSTICS", "3", "0", "43"]);
        assert!(report.table(true).contains("\n  w\n    on c\n  and 40 that"));
    }

    #[test]
    fn numbers_are_readable() {
        assert_eq!([0, 7, 999, 1000, 1234567].map(grouped), ["0", "7", "999", "1,000", "1,234,567"]);
        assert_eq!([0.0012, 0.25, 3.44, 125.9].map(seconds), ["1.2 ms", "250 ms", "3.4 s", "2 min 5 s"]);
    }

    #[test]
    fn many_names_are_cut() {
        assert_eq!(some(&["a", "b"]), "a, b");
        assert_eq!(some(&["a", "b", "c", "d", "e", "f"]), "a, b, c, d, e, f");
        assert_eq!(some(&["a", "b", "c", "d", "e", "f", "g"]), "a, b, c, d, e and 2 more");
    }
}
