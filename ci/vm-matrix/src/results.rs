//! What came of each entry, and of all: what a run writes as JSON, and all pages are made of.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use vm_guest::words::{Line, Outcome, Test, Verified};

use crate::boot::{Accelerator, Booted, End};
use crate::catalogue::{Architecture, Btf, Entry};

/// A run of the matrix.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// `2026-11-22`, in UTC.
    pub date: String,
    /// `qemu-system-x86_64 --version`, in short.
    pub emulator: String,
    /// The processors of the machine that it ran on.
    pub processors: usize,
    /// Machines at a time.
    pub jobs: usize,
    /// Before the first machine: building what runs there.
    #[serde(default)]
    pub build_seconds: f64,
    /// Of all machines, with what is fetched for them.
    pub seconds: f64,
    /// What is to be known of an object by who reads the report: by its name, a sentence.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub about: BTreeMap<String, String>,
    /// The entries, in the order of the catalogue.
    pub entries: Vec<EntryResult>,
}

/// What came of an entry.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EntryResult {
    /// `6.1-cloud+unprivileged`
    pub name: String,
    /// What its variant is for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub about: String,
    /// Whose it is.
    pub architecture: Architecture,
    /// The kernel's package.
    pub package: String,
    /// Its version.
    pub version: String,
    /// `uname -r`.
    pub release: String,
    /// Whether it was to be booted.
    pub booted: bool,
    /// Where the BTF of a kernel without one comes from.
    pub btf: Option<Btf>,
    /// What it took to make that.
    pub btf_seconds: Option<f64>,
    /// What ran it.
    pub accelerator: Option<Accelerator>,
    /// Until the guest's first word.
    pub boot_seconds: Option<f64>,
    /// With all: fetching, making BTF, the boot.
    pub seconds: f64,
    /// How the machine ended.
    pub end: Option<End>,
    /// What is known of the kernel, as `plan::KernelFacts` is written.
    #[serde(default)]
    pub facts: Value,
    /// The objects.
    pub objects: Vec<Verified>,
    /// The tests.
    pub tests: Vec<Test>,
    /// What the program that was asked for ended with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<i32>,
    /// What was said by the way.
    pub warnings: Vec<String>,
    /// What went wrong.
    pub failures: Vec<String>,
}

impl EntryResult {
    /// Of an entry of which nothing is known yet.
    pub(crate) fn of(entry: &Entry) -> EntryResult {
        EntryResult {
            name: entry.name.clone(),
            about: entry.variant.as_ref().map(|variant| variant.about.clone()).unwrap_or_default(),
            architecture: entry.kernel.arch,
            booted: entry.kernel.boot,
            btf: entry.btf(),
            ..EntryResult::default()
        }
    }

    /// Takes what a machine said.
    pub(crate) fn take(&mut self, booted: Booted, log: &Path) {
        self.boot_seconds = booted.until_guest.map(|took| took.as_secs_f64());
        if booted.end != End::Done {
            self.failures.push(format!("{}; the console is in {}", booted.end, log.display()));
        }
        self.end = Some(booted.end);
        for line in booted.lines {
            match line {
                Line::Started { release, .. } => self.release = release,
                Line::Facts { facts } => self.facts = facts,
                Line::Object(verified) => self.objects.push(verified),
                Line::Test(test) => self.tests.push(test),
                Line::Warning { text } => self.warnings.push(text),
                Line::Failed { what, error } => self.failures.push(format!("{what}: {error}")),
                Line::Exit { code } => self.exit = Some(code),
                Line::Begins { .. } | Line::Command { .. } | Line::Done => {}
            }
        }
    }

    /// Whether all is as it should be.
    pub fn passed(&self) -> bool {
        self.failures.is_empty()
            && self.exit.unwrap_or(0) == 0
            && self.differing() == 0
            && self.tests.iter().all(|test| test.outcome != Outcome::Failed)
    }

    /// How many programs the kernel did otherwise with than was predicted.
    pub fn differing(&self) -> usize {
        self.objects.iter().flat_map(|object| &object.programs).filter(|program| program.differs).count()
    }

    /// Of how many programs the plan said that it does not know.
    pub fn unknown(&self) -> usize {
        self.objects.iter().map(Verified::unknown).sum()
    }

    /// How many programs were held against the kernel.
    pub fn programs(&self) -> usize {
        self.objects.iter().map(|object| object.programs.len()).sum()
    }

    /// How many tests have this outcome.
    pub fn count(&self, outcome: Outcome) -> usize {
        self.tests.iter().filter(|test| test.outcome == outcome).count()
    }

    /// Whether the kernel has BTF of its own that can be seen. `None` where nobody looked.
    pub fn own_btf(&self) -> Option<bool> {
        match &self.facts["own_btf"] {
            Value::Null => None,
            answer => Some(answer == "yes"),
        }
    }

    /// In a few words.
    pub fn verdict(&self) -> String {
        let mut words = Vec::new();
        match self.differing() {
            0 => {}
            count => words.push(format!("{count} programs did otherwise")),
        }
        match self.count(Outcome::Failed) {
            0 => {}
            count => words.push(format!("{count} tests failed")),
        }
        words.extend(self.exit.filter(|code| *code != 0).map(|code| format!("the program ended with {code}")));
        words.extend(self.failures.iter().cloned());
        match words.is_empty() {
            true => "passed".to_owned(),
            false => words.join("; "),
        }
    }
}

impl Results {
    /// Whether all entries passed.
    pub fn passed(&self) -> bool {
        self.entries.iter().all(EntryResult::passed)
    }

    /// The results of several machines, each with its share of the entries that were `asked` for: in their order, as one machine would
    /// have them. Times are those of the slowest. An entry that none of them has is a failed one: its machine may have died.
    pub fn merge(parts: Vec<Results>, asked: &[Entry]) -> Results {
        let mut merged = Results::default();
        let places: BTreeMap<&str, usize> = asked.iter().enumerate().map(|(at, entry)| (&*entry.name, at)).collect();
        for part in parts {
            merged.date = merged.date.max(part.date);
            merged.emulator = part.emulator;
            merged.processors = merged.processors.max(part.processors);
            merged.jobs += part.jobs;
            merged.build_seconds = merged.build_seconds.max(part.build_seconds);
            merged.seconds = merged.seconds.max(part.seconds);
            merged.about.extend(part.about);
            merged.entries.extend(part.entries);
        }
        let missing = |entry: &&Entry| !merged.entries.iter().any(|one| one.name == entry.name);
        let failures = || vec!["none of the merged results has it".to_owned()];
        let missing: Vec<EntryResult> = (asked.iter().filter(missing))
            .map(|entry| EntryResult { failures: failures(), ..EntryResult::of(entry) })
            .collect();
        merged.entries.extend(missing);
        merged.entries.sort_by_key(|entry| places.get(&*entry.name).copied().unwrap_or(usize::MAX));
        merged
    }

    /// Reads what [`Results::write`] wrote.
    ///
    /// # Errors
    /// It cannot be read, or is something else.
    pub fn read(path: &Path) -> Result<Results> {
        let text = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("read {}", path.display()))
    }

    /// Writes `results.json`, `junit.xml`, `report.html` and `compatibility.md` into a folder.
    ///
    /// # Errors
    /// One cannot be written.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let write = |name: &str, text: String| {
            let path = folder.join(name);
            let unfinished = folder.join(format!("{name}.unfinished"));
            std::fs::write(&unfinished, text)
                .and_then(|()| std::fs::rename(&unfinished, &path))
                .with_context(|| format!("write {}", path.display()))
        };
        write("results.json", serde_json::to_string_pretty(self).context("write JSON")? + "\n")?;
        write("junit.xml", crate::report::junit(self))?;
        write("report.html", crate::report::page(self))?;
        write("compatibility.md", crate::report::markdown(self))
    }
}
