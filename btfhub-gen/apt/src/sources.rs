//! The machine's own apt sources, read to learn which mirrors it uses and which keyring they are signed with.
//!
//! Both formats of sources.list(5): one line each, and deb822 stanzas.

use crate::suite::CODE_NAMES;
use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// One repository: a URI and how its Release file is signed.
#[derive(Debug, PartialEq, Eq, Clone)]
pub struct Mirror {
    /// Where it is.
    pub uri: String,
    /// A keyring file; without one, apt's trusted keys are used.
    pub signed_by: Option<PathBuf>,
}

/// Debian's two repositories.
#[derive(Debug, PartialEq, Eq, Clone)]
pub struct Mirrors {
    /// Of the suites.
    pub main: Mirror,
    /// Absent where the machine takes no security updates.
    pub security: Option<Mirror>,
}

/// An enabled `deb` entry for one URI and suite.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    mirror: Mirror,
    suite: String,
}

/// The mirrors named in `<etc>/sources.list` and `<etc>/sources.list.d`.
///
/// # Errors
/// A file cannot be read, or no entry is Debian's.
pub fn mirrors(etc: &Path) -> Result<Mirrors> {
    let mut files = vec![etc.join("sources.list")];
    let parts = etc.join("sources.list.d");
    if parts.is_dir() {
        for entry in std::fs::read_dir(&parts).map_err(Error::io(&parts))? {
            files.push(entry.map_err(Error::io(&parts))?.path());
        }
    }
    files.sort();
    let mut entries = Vec::new();
    for path in files.iter().filter(|path| path.is_file()) {
        let read = || std::fs::read_to_string(path).map_err(Error::io(path));
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("list") => entries.extend(read()?.lines().filter_map(one_line)),
            Some("sources") => entries.extend(read()?.split("\n\n").flat_map(stanza)),
            _ => {}
        }
    }
    choose(entries).ok_or_else(|| Error::NoMirror { etc: etc.to_owned() })
}

fn choose(entries: Vec<Entry>) -> Option<Mirrors> {
    let mut main = None;
    let mut security = None;
    for entry in entries {
        let (name, pocket) = entry.suite.split_once(['-', '/']).unwrap_or((&entry.suite, ""));
        if !CODE_NAMES.contains(&name) {
            continue;
        }
        // Until buster the security suite was called <name>/updates.
        let role = if pocket == "security" || entry.suite.contains('/') { &mut security } else { &mut main };
        role.get_or_insert(entry.mirror);
    }
    Some(Mirrors { main: main?, security })
}

/// `deb [option=value …] uri suite component…`
fn one_line(line: &str) -> Option<Entry> {
    let line = line.split('#').next().unwrap_or_default().trim();
    let rest = line.strip_prefix("deb")?;
    let rest = rest.strip_prefix(char::is_whitespace)?.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => ("", rest),
    };
    let signed_by = options.split_whitespace().find_map(|option| option.strip_prefix("signed-by="));
    let mut words = rest.split_whitespace();
    let uri = words.next()?.to_owned();
    Some(Entry { mirror: Mirror { uri, signed_by: signed_by.and_then(keyring) }, suite: words.next()?.to_owned() })
}

/// The entries of one deb822 stanza: every URI with every suite.
fn stanza(text: &str) -> Vec<Entry> {
    let field = |name: &str| {
        let mut values: Vec<&str> = Vec::new();
        let mut inside = false;
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            if line.starts_with([' ', '\t']) {
                if inside {
                    values.extend(line.split_whitespace());
                }
                continue;
            }
            let (key, value) = line.split_once(':').unwrap_or((line, ""));
            inside = key.trim().eq_ignore_ascii_case(name);
            if inside {
                values.extend(value.split_whitespace());
            }
        }
        values
    };
    if !field("Types").contains(&"deb") || field("Enabled").first().is_some_and(|word| *word == "no") {
        return Vec::new();
    }
    let signed_by = field("Signed-By").first().and_then(|word| keyring(word));
    let mut entries = Vec::new();
    for uri in field("URIs") {
        for suite in field("Suites") {
            let mirror = Mirror { uri: uri.to_owned(), signed_by: signed_by.clone() };
            entries.push(Entry { mirror, suite: suite.to_owned() });
        }
    }
    entries
}

/// A keyring by file; keys by fingerprint or pasted into the source cannot be reused.
fn keyring(word: &str) -> Option<PathBuf> {
    let first = word.split(',').next()?;
    first.starts_with('/').then(|| PathBuf::from(first))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mirror(uri: &str, signed_by: Option<&str>) -> Mirror {
        Mirror { uri: uri.into(), signed_by: signed_by.map(PathBuf::from) }
    }

    #[test]
    fn one_line_entries() {
        fn check(line: &str, expected: Option<(Mirror, &str)>) {
            let expected = expected.map(|(mirror, suite)| Entry { mirror, suite: suite.into() });
            assert_eq!(one_line(line), expected, "{line}");
        }
        check("deb http://m/debian bookworm main", Some((mirror("http://m/debian", None), "bookworm")));
        check(
            "  deb [arch=amd64 signed-by=/k.gpg] http://m/d trixie-security main contrib # x",
            Some((mirror("http://m/d", Some("/k.gpg")), "trixie-security")),
        );
        check("deb [signed-by=ABCDEF] http://m/d sid main", Some((mirror("http://m/d", None), "sid")));
        check("deb-src http://m/debian bookworm main", None);
        check("# deb http://m/debian bookworm main", None);
        check("deb http://m/debian", None);
        check("deb [arch=amd64 http://m/debian", None);
        check("", None);
    }

    #[test]
    fn stanzas() {
        let text = "Types: deb deb-src\n# a comment\nURIs: http://a/d\n http://b/d\nSuites: bookworm bookworm-updates\n\
                    Components: main\nSigned-By: /k.gpg";
        let found: Vec<_> = stanza(text).into_iter().map(|entry| (entry.mirror, entry.suite)).collect();
        let (a, b) = (mirror("http://a/d", Some("/k.gpg")), mirror("http://b/d", Some("/k.gpg")));
        let expected = [(&a, "bookworm"), (&a, "bookworm-updates"), (&b, "bookworm"), (&b, "bookworm-updates")];
        assert_eq!(found, expected.map(|(mirror, suite)| (mirror.clone(), suite.to_owned())));
        assert_eq!(stanza("Types: deb-src\nURIs: http://a\nSuites: sid"), []);
        assert_eq!(stanza("Types: deb\nEnabled: no\nURIs: http://a\nSuites: sid"), []);
        assert_eq!(stanza(""), []);
    }

    #[test]
    fn the_mirrors_of_a_machine() {
        fn check(files: &[(&str, &str)], expected: Option<(Mirror, Option<Mirror>)>) {
            let etc = tempfile::tempdir().unwrap();
            std::fs::create_dir(etc.path().join("sources.list.d")).unwrap();
            for (name, text) in files {
                std::fs::write(etc.path().join(name), text).unwrap();
            }
            let found = mirrors(etc.path()).ok().map(|mirrors| (mirrors.main, mirrors.security));
            assert_eq!(found, expected, "{files:?}");
        }
        check(
            &[
                ("sources.list", "deb http://m/d bookworm main\ndeb http://s/d bookworm-security main\n"),
                ("sources.list.d/other.list", "deb http://o/node nodistro main\n"),
            ],
            Some((mirror("http://m/d", None), Some(mirror("http://s/d", None)))),
        );
        check(
            &[("sources.list.d/debian.sources", "Types: deb\nURIs: http://m/d\nSuites: trixie\nSigned-By: /k\n")],
            Some((mirror("http://m/d", Some("/k")), None)),
        );
        check(&[("sources.list.d/x.list.disabled", "deb http://m/d bookworm main\n")], None);
        check(&[("sources.list", "deb http://u/ubuntu noble main\n")], None);
        check(&[], None);
    }
}
