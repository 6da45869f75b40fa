//! What somebody can do about what is not known.

use super::told::{File, Subject};
use crate::owner::Owner;
use crate::package::recipe::Recipe;
use offset_db::Method;
use serde::Serialize;

/// A command, and what it is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Advice {
    pub(super) command: String,
    pub(super) why: String,
}

/// The database that advice names: one of the user's own.
const OWN: &str = "my.sqlite";

/// What can be done. `owner` says which package installed the file; it is asked where that counts.
pub(super) fn advice(
    has_database: bool,
    subject: &Subject<'_>,
    names: &[String],
    file: &File,
    owner: impl FnOnce() -> Option<Owner>,
) -> Vec<Advice> {
    let mut all = Vec::new();
    let mut say = |command: String, why: &str| all.push(Advice { command, why: why.to_owned() });
    let name = quoted(subject.name);
    let doubted = file.functions.iter().find(|one| one.offset.is_none() && !one.candidates.is_empty());
    if let Some(one) = doubted.filter(|_| file.known) {
        say(format!("offsetdb explain {name} {}", quoted(&one.name)), "see what each witness says:");
    }
    let is_answered = !names.is_empty() && names.iter().all(|name| file.has(name) || is_doubted(file, name));
    if file.known || is_answered {
        return all;
    }
    let is_labelled = file.tables.iter().any(|(method, names)| *method != Method::Dynsym && *names > 0);
    if names.is_empty() && file.tables.values().any(|names| *names > 0) {
        say(format!("offsetdb lookup {name} FUNCTION"), "ask for a function that it names itself:");
    }
    if is_labelled || names.is_empty() && !file.functions.is_empty() {
        return all;
    }
    if !has_database {
        say(format!("offsetdb -d offsets.sqlite lookup {name}"), "name a database, for none was found:");
    }
    let owner = owner();
    let is_open = |target: &String| names.is_empty() || names.contains(target) && !file.has(target);
    let is_pulled = |owner: &&Owner| {
        let recipe = Recipe::of(&owner.package, None).ok();
        recipe.is_some_and(|recipe| recipe.ecosystem == owner.ecosystem && recipe.targets.iter().any(is_open))
    };
    let pulled = owner.as_ref().filter(is_pulled);
    if let Some(owner) = pulled {
        let versions = owner.version.as_ref().map(|version| format!(" --versions {version}")).unwrap_or_default();
        let python = python(subject.name).map(|tag| format!(" --python {tag}")).unwrap_or_default();
        say(
            format!("offsetdb -d {OWN} pull {} {}{versions}{python}", owner.ecosystem, owner.package),
            "take what can be known of its package into a database, and look it up there:",
        );
    } else if let Some(recipe) = Recipe::of_module(subject.name).filter(|_| has_database) {
        say(
            format!("offsetdb identify {name} --package {}", recipe.package),
            "tell its functions by builds of the version that it is most like:",
        );
    } else {
        say(
            format!("offsetdb -d {OWN} identify {name} --reference LABELLED"),
            "take its functions from a build that has names, of a version near it:",
        );
    }
    let has_servers = std::env::var_os("DEBUGINFOD_URLS").is_some_and(|servers| !servers.is_empty());
    if file.key.starts_with("gnu:") && !has_servers {
        say(
            format!("DEBUGINFOD_URLS=URL offsetdb lookup {name} FUNCTION"),
            "ask a debuginfod server for its debug file:",
        );
    }
    all
}

fn is_doubted(file: &File, name: &str) -> bool {
    file.functions.iter().any(|one| one.name == name && !one.candidates.is_empty())
}

/// The Python that a module is for, as wheels name it: `cygrpc.cpython-311-x86_64-linux-gnu.so`.
fn python(name: &str) -> Option<&str> {
    let (_, rest) = name.rsplit_once(".cpython-")?;
    let tag = rest.split(['-', '.']).next()?;
    (!tag.is_empty() && tag.bytes().all(|byte| byte.is_ascii_digit())).then_some(tag)
}

/// As a shell takes it for one word.
fn quoted(word: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-+:@%=,".contains(letter);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pythons_of_modules() {
        assert_eq!(python("/a/cygrpc.cpython-311-x86_64-linux-gnu.so"), Some("311"));
        assert_eq!(python("_rust.abi3.so"), None);
        assert_eq!(python("a.cpython-x.so"), None);
    }

    #[test]
    fn packages_of_modules() {
        let package = |name: &str| Recipe::of_module(name).map(|recipe| recipe.package);
        assert_eq!(package("a.whl!grpc/_cython/cygrpc.cpython-311-x86_64-linux-gnu.so").as_deref(), Some("grpcio"));
        assert_eq!(package("/usr/lib/libssl.so.3"), None, "it has names");
        assert_eq!(package("cygrpcs.so"), None);
    }

    #[test]
    fn words_of_a_shell() {
        assert_eq!(quoted("/usr/lib/a.so.3"), "/usr/lib/a.so.3");
        assert_eq!(quoted("net/http.(*Server).Serve"), "'net/http.(*Server).Serve'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
