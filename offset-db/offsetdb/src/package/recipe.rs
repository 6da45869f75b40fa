//! What is asked of a package, and how its source is compiled. A recipe is a file of JSON in `recipes/`.

use crate::input::{self, Input};
use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;
use std::path::Path;

/// A package's recipe.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Whose package it is: `pypi`.
    pub ecosystem: String,
    /// The package.
    pub package: String,
    /// The versions that are pulled where none are named; all where it is missing.
    #[serde(default)]
    pub versions: Option<String>,
    /// Pythons, as wheels name them, whose wheels are pulled where none are named.
    #[serde(default)]
    pub pythons: Vec<String>,
    /// Platforms whose wheels are pulled, newest first, as pip names them: each with those that are older than it, younger than the next.
    /// pip takes the newest that a machine can use. One wheel, the newest, where none are named.
    #[serde(default)]
    pub platforms: Vec<String>,
    /// Debian's names of the package, which change with the library's version: `libssl1.1`; one `*` stands for anything.
    #[serde(default)]
    pub packages: Vec<String>,
    /// The names of the files in the package, without what begins with a dot; the first that is there counts.
    pub modules: Vec<String>,
    /// The functions that are looked for, by their names without parameters.
    pub targets: Vec<String>,
    /// The units of the source that define them, by the ends of their paths.
    #[serde(default)]
    pub units: Vec<String>,
    /// The compiler's flags, besides those that the package's own build gives.
    #[serde(default)]
    pub flags: Vec<String>,
    /// The structs whose fields are told.
    #[serde(default)]
    pub structs: Vec<Struct>,
    /// What the package's own build needs, by version; the first that fits counts.
    #[serde(default)]
    pub setup: Vec<Setup>,
    /// The compiler that is nearest to the one of the package's own build, by version; the first that fits counts. The machine's where
    /// none does.
    #[serde(default)]
    pub compilers: Vec<Toolchain>,
}

/// A struct whose fields are told: by the version's own headers, compiled with the flags of its build.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Struct {
    /// Its name, with namespaces.
    pub name: String,
    /// The headers that define it, in the source; those that a version does not have are left out.
    pub headers: Vec<String>,
    /// Its fields; those that a version does not have are left out.
    pub fields: Vec<String>,
    /// A function that accesses some of them in every version: the code of each file is held against what the headers say.
    pub seen: Option<Seen>,
}

/// Fields that a function accesses.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    /// The function, one of the targets.
    pub function: String,
    /// The fields.
    pub fields: Vec<String>,
}

/// A compiler of a suite of Debian, that is unpacked and not installed.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Toolchain {
    /// Versions below this one; all where it is missing.
    pub below: Option<String>,
    /// The suite: `bullseye`.
    pub suite: String,
    /// The packages to unpack: those that the machine's own compiler does not bring.
    pub packages: Vec<String>,
    /// The compiler in them.
    pub program: String,
}

/// What the build of some versions needs.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setup {
    /// Versions below this one; all where it is missing.
    pub below: Option<String>,
    /// Python packages, as pip takes them.
    pub needs: Vec<String>,
}

const BUILT_IN: &[(&str, &str)] = &[
    ("cryptography", include_str!("../../recipes/cryptography.json")),
    ("gnutls", include_str!("../../recipes/gnutls.json")),
    ("go", include_str!("../../recipes/go.json")),
    ("grpcio", include_str!("../../recipes/grpcio.json")),
    ("libc", include_str!("../../recipes/libc.json")),
    ("libpq", include_str!("../../recipes/libpq.json")),
    ("nspr", include_str!("../../recipes/nspr.json")),
    ("openssl", include_str!("../../recipes/openssl.json")),
];

impl Recipe {
    /// The recipe of a package, by its own name or one of Debian's: a file, or one that is built in.
    ///
    /// # Errors
    /// There is none, or it is no recipe.
    pub fn of(package: &str, file: Option<&Path>) -> Result<Recipe> {
        let (name, text) = match file {
            Some(path) => {
                let name = path.display().to_string();
                (name.clone(), std::fs::read_to_string(path).with_context(|| name)?)
            }
            None => match BUILT_IN.iter().find(|(name, _)| *name == package).or_else(|| by_debian(package)) {
                Some((name, text)) => (format!("the recipe of {name}"), (*text).to_owned()),
                None => {
                    let known: Vec<&str> = BUILT_IN.iter().map(|(name, _)| *name).collect();
                    bail!("no recipe for {package}: give one with --recipe; built in: {}", known.join(", "))
                }
            },
        };
        let recipe: Recipe = serde_json::from_str(&text).with_context(|| name.clone())?;
        if !is_sane(&recipe.package) {
            bail!("{name}: {:?} is no name of a package", recipe.package);
        }
        Ok(recipe)
    }

    /// The recipe that is built in of a package that has stripped files of this name, to be told from other builds: `cygrpc.so`.
    #[must_use]
    pub fn of_module(path: &str) -> Option<Recipe> {
        let recipes = BUILT_IN.iter().filter_map(|(_, text)| serde_json::from_str::<Recipe>(text).ok());
        let mut stripped = recipes.filter(|recipe| !recipe.units.is_empty());
        stripped.find(|recipe| recipe.modules.iter().any(|module| is_module(module, path)))
    }

    /// Opens the package's file that the recipe is of: one, or all that are named alike.
    ///
    /// # Errors
    /// It cannot be read, or has no such file.
    pub fn open(&self, path: &Path) -> Result<Vec<Input>> {
        let mut first = None;
        for module in &self.modules {
            let inputs = match input::open(path, module) {
                Ok(inputs) => inputs,
                Err(error) => {
                    first = first.or(Some(error));
                    continue;
                }
            };
            let found: Vec<Input> = inputs.into_iter().filter(|input| is_module(module, &input.path)).collect();
            if !found.is_empty() {
                return Ok(found);
            }
        }
        Err(first.unwrap_or_else(|| anyhow!("{}: no {} in it", path.display(), self.modules.join(", "))))
    }

    /// What the build of a version needs.
    #[must_use]
    pub fn needs(&self, version: &Version) -> &[String] {
        let found = self.setup.iter().find(|setup| version.is_below(setup.below.as_deref()));
        found.map(|setup| &*setup.needs).unwrap_or_default()
    }

    /// The macros that structs depend on: a part of the key of their layouts.
    #[must_use]
    pub fn configuration(&self) -> String {
        let macros: Vec<&str> = self.flags.iter().filter_map(|flag| flag.strip_prefix("-D")).collect();
        macros.join(" ")
    }

    /// The compiler of a version.
    #[must_use]
    pub fn toolchain(&self, version: &Version) -> Option<&Toolchain> {
        self.compilers.iter().find(|toolchain| version.is_below(toolchain.below.as_deref()))
    }
}

/// Whether a file is that module: `cygrpc.cpython-311-x86_64-linux-gnu.so` is `cygrpc`.
fn is_module(module: &str, path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    name.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Whether a package's name or version may become an argument and the name of a file: letters, digits and `.+!_-`, no dash or dot first.
#[must_use]
pub fn is_sane(word: &str) -> bool {
    word.starts_with(|letter: char| letter.is_ascii_alphanumeric())
        && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".+!_-".contains(&byte))
}

/// The recipe that has one of Debian's names of a package.
fn by_debian(package: &str) -> Option<&'static (&'static str, &'static str)> {
    BUILT_IN.iter().find(|(_, text)| {
        let recipe: Option<Recipe> = serde_json::from_str(text).ok();
        recipe.is_some_and(|recipe| recipe.packages.iter().any(|pattern| fits(pattern, package)))
    })
}

/// Whether a name is a pattern's, in which one `*` stands for anything.
#[must_use]
pub fn fits(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((begin, end)) => name.len() >= begin.len() + end.len() && name.starts_with(begin) && name.ends_with(end),
    }
}

/// A version, in the order of its numbers; what is no number comes behind them (PEP 440's pre-releases are not taken).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    numbers: Vec<u64>,
    text: String,
}

impl Version {
    /// Reads one.
    #[must_use]
    pub fn parse(text: &str) -> Version {
        let numbers = text.split('.').map_while(|part| part.parse().ok()).collect();
        Version { numbers, text: text.to_owned() }
    }

    /// As it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Its first two numbers: versions that have them alike have nearly the same source.
    #[must_use]
    pub fn line(&self) -> (u64, u64) {
        let number = |at: usize| self.numbers.get(at).copied().unwrap_or_default();
        (number(0), number(1))
    }

    fn is_below(&self, end: Option<&str>) -> bool {
        end.is_none_or(|end| *self < Version::parse(end))
    }

    /// Whether it is one of `FIRST..LAST`, both of them in it and either of them missing, or just the one. The last's end is open:
    /// `..1.40` has 1.40.2.
    ///
    /// # Errors
    /// `range` is empty.
    pub fn is_in(&self, range: &str) -> Result<bool> {
        if range.is_empty() {
            bail!("an empty range of versions");
        }
        let (first, last) = range.split_once("..").unwrap_or((range, range));
        let (first, last) = (Version::parse(first).numbers, Version::parse(last).numbers);
        let is_first = first.is_empty() || self.numbers >= first;
        let is_last = last.is_empty() || self.numbers.iter().take(last.len()).le(last.iter());
        Ok(is_first && is_last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(version: &str, range: &str, expected: bool) {
        assert_eq!(Version::parse(version).is_in(range).unwrap(), expected, "{version} in {range}");
    }

    #[test]
    fn ranges_have_both_ends() {
        check("1.40.0", "1.20..1.40", true);
        check("1.40.2", "1.20..1.40", true);
        check("1.41.0", "1.20..1.40", false);
        check("1.9.0", "1.20..", false);
        check("1.100.0", "1.20..", true);
        check("1.60.1", "1.60.1", true);
        check("1.60.2", "1.60.1", false);
        check("1.60.2", "..1.60", true);
        check("1.60.2", "..", true);
        assert!(Version::parse("1").is_in("").is_err());
    }

    #[test]
    fn names_that_lead_elsewhere_are_none() {
        let check = |word: &str, expected: bool| assert_eq!(is_sane(word), expected, "{word:?}");
        check("grpcio", true);
        check("1.60.1", true);
        check("1!2.0+local.1", true);
        for bad in ["", ".", "..", "../x", "/x", "x/../y", "-r", "--index-url=x", "a b", "x\n", "x\0", "ä"] {
            check(bad, false);
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("recipe.json");
        let text = r#"{"ecosystem": "pypi", "package": "../x", "modules": ["x"], "targets": ["f"]}"#;
        std::fs::write(&path, text).unwrap();
        let said = Recipe::of("x", Some(&path)).unwrap_err().to_string();
        assert_eq!(said, format!("{}: \"../x\" is no name of a package", path.display()));
    }

    #[test]
    fn patterns_have_one_star() {
        let check =
            |pattern: &str, name: &str, expected: bool| assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        check("libssl3", "libssl3", true);
        check("libssl3", "libssl3t64", false);
        check("golang-1.*-go", "golang-1.24-go", true);
        check("golang-1.*-go", "golang-1.24-src", false);
        check("golang-1.*.go", "golang-1.go", false);
    }

    #[test]
    fn built_in_recipes_can_be_read() {
        for (name, _) in BUILT_IN {
            let recipe = Recipe::of(name, None).unwrap();
            assert!(!recipe.targets.is_empty());
            assert!(!recipe.modules.is_empty());
            assert_eq!(recipe.package, *name);
            assert_eq!(recipe.ecosystem == "debian", !recipe.packages.is_empty(), "{name}");
            assert_eq!(recipe.ecosystem == "pypi", !recipe.pythons.is_empty(), "{name}");
            let mut sorted = recipe.targets.clone();
            sorted.sort();
            sorted.dedup();
            assert_eq!(sorted.len(), recipe.targets.len(), "{name}: a target twice");
        }
        let grpcio = Recipe::of("grpcio", None).unwrap();
        assert!(grpcio.needs(&Version::parse("1.60.1")).iter().any(|need| need == "setuptools<70"));
        assert!(grpcio.needs(&Version::parse("1.80.0")).iter().any(|need| need == "setuptools>=77"));
        assert_eq!(Recipe::of("libssl3t64", None).unwrap().package, "openssl");
        assert_eq!(Recipe::of("golang-1.19-go", None).unwrap().package, "go");
        assert!(Recipe::of("nothing", None).unwrap_err().to_string().starts_with("no recipe for nothing"));
    }
}
