//! How good identification is: labelled files are taken without their labels, identified, and held against them.

use crate::facts::{self, Build};
use crate::lines::{self, Source};
use identify::{Answer, Model, Testimony, Verdict, Witness};
use image::Image;
use offset_db::{Fact, Kind, whole};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// A labelled file.
#[derive(Debug)]
pub struct Labelled {
    /// What it is: `grpcio 1.40.0 cp38`.
    pub name: String,
    /// The compiler, as `.comment` has it: `gcc 9.3.1`.
    pub compiler: String,
    /// The file as a build.
    pub build: Build,
    /// Names without parameters of each function, by its index.
    names: BTreeMap<u32, BTreeSet<String>>,
    /// Names that some function has, wholly or in part.
    all: BTreeSet<String>,
}

impl Labelled {
    /// A file by its own names.
    ///
    /// # Errors
    /// The file is not loaded, or its tables are damaged.
    pub fn of(name: String, image: &Image<'_>) -> symbols::Result<Labelled> {
        let facts = facts::labelled(image, &BTreeSet::new())?;
        let model = Model::of(image);
        let mut names: BTreeMap<u32, BTreeSet<String>> = BTreeMap::new();
        for fact in facts.iter().filter(|fact| matches!(fact.kind, Kind::Entry | Kind::Part)) {
            if let Some(at) = model.at(fact.address) {
                names.entry(at).or_default().insert(fact.title());
            }
        }
        let all = facts.iter().map(Fact::title).collect();
        Ok(Labelled { compiler: compiler(image), build: Build::new(name.clone(), model, &facts), name, names, all })
    }
}

/// The newest compiler that `.comment` names: the older ones made the C library's begin and end of every file.
#[must_use]
pub fn compiler(image: &Image<'_>) -> String {
    let text =
        image.section(".comment").map(|section| String::from_utf8_lossy(section.data).into_owned()).unwrap_or_default();
    let newest = text.split('\0').filter_map(gcc).max();
    match newest {
        Some(numbers) => format!("gcc {}", numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(".")),
        None => text.split('\0').find(|line| !line.is_empty()).unwrap_or("unknown").to_owned(),
    }
}

/// `GCC: (GNU) 9.3.1 20200408 (Red Hat 9.3.1-2)`: its numbers.
fn gcc(line: &str) -> Option<Vec<u32>> {
    let (_, rest) = line.strip_prefix("GCC: (")?.split_once(") ")?;
    rest.split(' ').next()?.split('.').map(|number| number.parse().ok()).collect()
}

/// Right and wrong answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    /// The function has this name.
    pub right: u32,
    /// It has another.
    pub wrong: u32,
    /// The file has no such function: its name or its place in the source changed, or it is inlined everywhere.
    pub gone: u32,
    /// The file has such a function, and nothing was said.
    pub missed: u32,
}

impl Count {
    /// Of what was said, how much is right.
    #[must_use]
    pub fn precision(&self) -> f64 {
        f64::from(self.right) / f64::from((self.right + self.wrong + self.gone).max(1))
    }

    /// Of what there is, how much was rightly said.
    #[must_use]
    pub fn recall(&self) -> f64 {
        f64::from(self.right) / f64::from((self.right + self.wrong + self.missed).max(1))
    }

    fn add(&mut self, said: Said) {
        match said {
            Said::Right => self.right += 1,
            Said::Wrong => self.wrong += 1,
            Said::Gone => self.gone += 1,
            Said::Missed => self.missed += 1,
            Said::Nothing => {}
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Said {
    Right,
    Wrong,
    Gone,
    Missed,
    Nothing,
}

/// What is counted apart: of which names, by which method, between which compilers, how many versions apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Row {
    /// `targets`, or `all`: every name that only one function of the reference has.
    pub names: &'static str,
    /// `verified`, `probable`; or a witness alone: `lineage`, `compiled`, `text`.
    pub method: &'static str,
    /// Of the reference and of the file.
    pub compilers: String,
    /// How many versions lie between, from 1.
    pub distance: usize,
}

/// The counts of a verification.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// By what is counted apart.
    pub rows: BTreeMap<Row, Count>,
    /// Wrong answers that were verified, for people.
    pub wrong: Vec<String>,
    /// What lines of the source say of verified answers.
    pub lines: Lines,
}

/// How many verified answers the lines of the source, of which identification knows nothing, agree with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Lines {
    /// They agree.
    pub agree: u32,
    /// The function tells no line.
    pub nothing: u32,
    /// They do not, for people.
    pub differ: Vec<String>,
}

impl Lines {
    /// Holds an answer against the source.
    pub fn check(&mut self, source: &Source, image: &Image<'_>, model: &Model, file: &str, name: &str, function: u32) {
        match source.check(whole(name).unwrap_or(name), &identify::lines(image, model, function)) {
            lines::Said::Agrees => self.agree += 1,
            lines::Said::Nothing => self.nothing += 1,
            lines::Said::Differs => self.differ.push(format!("{file}: {name}")),
        }
    }
}

/// Identifies `file` without its labels, by `lineage` and, if there is one, by its compiled source; and counts. Gives what is verified.
pub fn verify(
    report: &mut Report,
    file: &Labelled,
    lineage: (&Labelled, usize),
    compiled: Option<&Build>,
    targets: &BTreeSet<String>,
) -> Vec<(String, u32)> {
    let (reference, distance) = lineage;
    let mut builds = vec![(Witness::Lineage, &reference.build)];
    builds.extend(compiled.map(|build| (Witness::Compiled, build)));
    let (_, answers) = facts::identified(&file.build.model, &builds, &BTreeSet::new());
    let mut count = |names: &'static str, method: &'static str, compilers: &str, said: Said| {
        let row = Row { names, method, compilers: compilers.to_owned(), distance };
        report.rows.entry(row).or_default().add(said);
    };
    let pair = format!("{} -> {}", reference.compiler, file.compiler);
    let both = compiled.map_or_else(|| pair.clone(), |_| format!("{pair}, source"));
    for answer in &answers {
        let groups: &[&'static str] = if targets.contains(&answer.name) { &["all", "targets"] } else { &["all"] };
        for names in groups {
            let alone = [Witness::Lineage, Witness::Compiled, Witness::Fields, Witness::Text];
            for (witness, compilers) in alone.map(|one| (one, if one == Witness::Lineage { &pair } else { &both })) {
                let is_said = |one: &Testimony| one.is_strong || one.is_fair && witness == Witness::Fields;
                let strong = |one: &&Testimony| one.witness == witness && is_said(one);
                if builds
                    .iter()
                    .any(|(had, build)| *had == witness && build.labels.iter().any(|label| label.0 == answer.name))
                    || answer.testimonies.iter().any(|one| one.witness == witness)
                {
                    let function = answer.testimonies.iter().find(strong).map(|one| one.function);
                    count(names, witness.word(), compilers, judge(file, answer, function));
                }
            }
            let (verified, probable) = match answer.verdict {
                Verdict::Verified(function) => (Some(function), Some(function)),
                Verdict::Probable(function) => (None, Some(function)),
                _ => (None, None),
            };
            if compiled.is_some() {
                count(names, "verified", &both, judge(file, answer, verified));
                count(names, "verified or probable", &both, judge(file, answer, probable));
            }
        }
        if let Verdict::Verified(function) = answer.verdict
            && judge(file, answer, Some(function)) != Said::Right
        {
            let is = file.names.get(&function).map(|names| names.iter().cloned().collect::<Vec<_>>().join(", "));
            let said: Vec<String> = answer.testimonies.iter().map(facts::line).collect();
            let is = is.unwrap_or_else(|| "no whole function".to_owned());
            report.wrong.push(format!("{}: {}: it is {is}: {}", file.name, answer.name, said.join("; ")));
        }
    }
    let verified = |answer: &Answer| match answer.verdict {
        Verdict::Verified(function) => Some((answer.name.clone(), function)),
        _ => None,
    };
    answers.iter().filter_map(verified).collect()
}

fn judge(file: &Labelled, answer: &Answer, function: Option<u32>) -> Said {
    let has = file.all.contains(&answer.name);
    match function {
        None if file.build.labels.iter().any(|label| label.0 == answer.name) => Said::Missed,
        None => Said::Nothing,
        Some(function) if file.names.get(&function).is_some_and(|names| names.contains(&answer.name)) => Said::Right,
        Some(_) if has => Said::Wrong,
        Some(_) => Said::Gone,
    }
}
