//! Whether a function is the one of a name by the lines of source that its code tells, `__FILE__` and `__LINE__` of assertions and logs.
//!
//! Identification knows nothing of them: this is a check of what it says, and no witness.

use anyhow::{Context, Result};
use identify::{Model, SourceLine};
use image::Image;
use std::collections::{BTreeMap, BTreeSet};

/// The functions of a version's source, and the lines that those tell which were compiled here.
#[derive(Debug)]
pub struct Source {
    /// By file: where each function begins.
    begins: BTreeMap<String, Vec<(u64, String)>>,
    /// By function: the lines that its code tells, and that are its own.
    told: BTreeMap<String, BTreeSet<SourceLine>>,
}

/// What the lines say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// Lines of the function are told.
    Agrees,
    /// The function tells lines when it is compiled here, and none of it is told.
    Differs,
    /// The function tells none.
    Nothing,
}

impl Source {
    /// Of a reference that was compiled from the version's own source.
    ///
    /// # Errors
    /// It has no debug information.
    pub fn of(compiled: &Image<'_>, model: &Model, labels: &[(String, u32)]) -> Result<Source> {
        let dwarf = symbols::Dwarf::load(compiled, None, &symbols::decompress).context("the compiled reference")?;
        let mut begins: BTreeMap<String, Vec<(u64, String)>> = BTreeMap::new();
        // a lambda is a part of the function around it
        let is_lambda = |name: &str| name.ends_with("operator()") || name.contains("{lambda") || name.ends_with("_FUN");
        for one in symbols::definitions(&dwarf).into_iter().filter(|one| !is_lambda(&one.name)) {
            begins.entry(one.file).or_default().push((one.line, one.name));
        }
        let mut source = Source { begins, told: BTreeMap::new() };
        for (name, function) in labels {
            let own = source.own(name, &identify::lines(compiled, model, *function));
            if !own.is_empty() {
                source.told.insert(name.clone(), own);
            }
        }
        Ok(source)
    }

    /// Those of the lines that are in the function.
    fn own(&self, name: &str, lines: &BTreeSet<SourceLine>) -> BTreeSet<SourceLine> {
        lines.iter().filter(|line| self.function_at(line).is_some_and(|at| at == name)).cloned().collect()
    }

    fn function_at(&self, line: &SourceLine) -> Option<&str> {
        let is_file = |name: &str| {
            let (long, short) = if name.len() >= line.file.len() { (name, &*line.file) } else { (&*line.file, name) };
            long.strip_suffix(short).is_some_and(|before| before.is_empty() || before.ends_with('/'))
        };
        let begins = self.begins.iter().find(|(name, _)| is_file(name))?.1;
        let behind = begins.partition_point(|(begin, _)| *begin <= u64::from(line.line));
        Some(&begins.get(behind.checked_sub(1)?)?.1)
    }

    /// What a function's lines say of its name.
    #[must_use]
    pub fn check(&self, name: &str, lines: &BTreeSet<SourceLine>) -> Said {
        match (self.own(name, lines).is_empty(), self.told.contains_key(name)) {
            (false, _) => Said::Agrees,
            (true, true) => Said::Differs,
            (true, false) => Said::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(file: &str, line: u32) -> SourceLine {
        SourceLine { file: file.to_owned(), line }
    }

    fn check(name: &str, lines: &[(&str, u32)], expected: Said) {
        let begins = [(10, "first"), (50, "second"), (90, "silent")].map(|(line, name)| (line, name.to_owned()));
        let source = Source {
            begins: BTreeMap::from([("src/a/call.cc".to_owned(), begins.to_vec())]),
            told: BTreeMap::from([
                ("first".to_owned(), BTreeSet::from([line("src/a/call.cc", 20)])),
                ("second".to_owned(), BTreeSet::from([line("src/a/call.cc", 60)])),
            ]),
        };
        let lines = lines.iter().map(|(file, number)| line(file, *number)).collect();
        assert_eq!(source.check(name, &lines), expected, "{name} {lines:?}");
    }

    #[test]
    fn lines_are_those_of_the_function_they_are_in() {
        check("first", &[("src/a/call.cc", 49)], Said::Agrees);
        // where it was compiled, the path may begin otherwise
        check("first", &[("/build/src/a/call.cc", 20)], Said::Agrees);
        check("first", &[("call.cc", 20)], Said::Agrees);
        // what was inlined besides is no harm
        check("first", &[("src/a/call.cc", 20), ("src/a/call.cc", 60)], Said::Agrees);
        check("first", &[("src/a/call.cc", 50)], Said::Differs);
        check("first", &[("src/a/recall.cc", 20)], Said::Differs);
        check("first", &[], Said::Differs);
        check("silent", &[], Said::Nothing);
        check("silent", &[("src/a/call.cc", 20)], Said::Nothing);
        check("before", &[("src/a/call.cc", 9)], Said::Nothing);
    }
}
