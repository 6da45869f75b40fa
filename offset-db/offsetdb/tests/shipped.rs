//! The database that is shipped: what is in it, and that it is what the registries give.

use offset_db::{Confidence, Fact, Kind, Origin, PackageStatistics, Store};
use offsetdb::package::cache::Cache;
use offsetdb::package::recipe::{Recipe, Version};
use offsetdb::pull;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/offsets.sqlite")
}

fn shipped() -> Store {
    Store::open(&path()).unwrap()
}

/// What is there at least of packages: whose, which, files, versions.
const LEAST: &[(&str, &str, u32, u32)] = &[
    ("pypi", "grpcio", 400, 100),
    ("pypi", "cryptography", 100, 50),
    ("debian", "libssl1.1", 2, 1),
    ("debian", "libssl3", 2, 1),
    ("debian", "libssl3t64", 2, 2),
    ("debian", "libgnutls30", 2, 2),
    ("debian", "libgnutls30t64", 2, 2),
    ("debian", "libnspr4", 4, 3),
    ("debian", "libpq5", 4, 3),
    ("debian", "libc6", 4, 3),
    ("debian", "prometheus", 4, 3),
    ("debian", "etcd-server", 4, 3),
    ("debian", "golang-1.19-go", 1, 1),
];

#[test]
fn it_has_the_packages_that_it_should() {
    let statistics = shipped().statistics().unwrap();
    for (ecosystem, package, files, versions) in LEAST {
        let is_it = |one: &&PackageStatistics| one.ecosystem == *ecosystem && one.package == *package;
        let Some(one) = statistics.packages.iter().find(is_it) else { panic!("{ecosystem} {package} is missing") };
        assert!(one.files >= *files && one.versions >= *versions, "{one:?}");
        assert!(one.labelled + one.verified > 0, "{one:?}");
    }
}

#[test]
fn its_bytes_depend_on_its_facts_only() {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy.sqlite");
    shipped().write_sorted(&copy).unwrap();
    assert!(
        std::fs::read(copy).unwrap() == std::fs::read(path()).unwrap(),
        "`cargo xtask data offsets --write` writes it"
    );
}

/// Each is found, or the part that all of its callers go into.
#[test]
fn functions_of_stripped_grpcio_are_there() {
    let store = shipped();
    let recipe = Recipe::of("grpcio", None).unwrap();
    let (mut seen, mut whole) = (0, 0);
    for file in store.files().unwrap() {
        let origins = store.origins(&file).unwrap();
        let mut versions = origins.iter().filter(|origin| origin.package == "grpcio");
        let Some(version) = versions.next().map(|origin| Version::parse(&origin.version)) else { continue };
        if version.line() < (1, 41) {
            continue;
        }
        let facts = store.facts(&file).unwrap();
        for target in &recipe.targets {
            let is_of = |fact: &&Fact| fact.name == *target || fact.qualified.as_ref() == Some(target);
            let sure = facts.iter().filter(is_of).filter(|fact| fact.confidence >= Confidence::Verified);
            let kinds: BTreeSet<&str> =
                sure.map(|fact| if fact.kind == Kind::Part { "part" } else { "whole" }).collect();
            assert_eq!(kinds.len(), 1, "{} {target}: {kinds:?}", version.text());
            seen += 1;
            whole += usize::from(kinds.contains("whole"));
        }
    }
    assert!(seen >= 4500 && whole * 100 >= seen * 95, "{whole} of {seen}");
}

#[test]
fn functions_of_go_are_there_with_where_they_return() {
    let store = shipped();
    for package in ["prometheus", "etcd-server"] {
        let mut seen = 0;
        for file in store.files().unwrap() {
            if !store.origins(&file).unwrap().iter().any(|origin| origin.package == package) {
                continue;
            }
            for function in ["crypto/tls.(*Conn).Read", "net/http.serverHandler.ServeHTTP"] {
                let facts = store.facts_of(&file, function).unwrap();
                let [fact] = facts.as_slice() else { panic!("{package} {}: {function}: {facts:?}", file.key) };
                assert!(!fact.returns.is_empty() && fact.confidence == Confidence::Labelled, "{fact:?}");
                assert!(fact.returns.iter().all(|at| u64::from(*at) < fact.size), "{fact:?}");
                seen += 1;
            }
        }
        assert!(seen >= 8, "{package}: {seen}");
    }
}

/// What is known of the files of a package, of some of its versions.
fn rows(store: &Store, wanted: impl Fn(&Origin) -> bool) -> BTreeMap<String, (BTreeSet<Origin>, Vec<Fact>)> {
    let mut rows = BTreeMap::new();
    for file in store.files().unwrap() {
        let origins: BTreeSet<Origin> = store.origins(&file).unwrap().into_iter().filter(&wanted).collect();
        if !origins.is_empty() {
            rows.insert(file.key.clone(), (origins, store.facts(&file).unwrap()));
        }
    }
    rows
}

#[test]
#[ignore = "downloads packages of PyPI: cargo test -p offsetdb --test shipped -- --ignored network"]
fn network_a_package_of_pypi_that_is_pulled_anew_gives_the_same_rows() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::create(&folder.path().join("anew.sqlite")).unwrap();
    let cache = Cache::at(Some(folder.path())).unwrap();
    let recipe = Recipe::of("cryptography", None).unwrap();
    let versions = ["3.4.8", "41.0.7", "44.0.3"].map(Version::parse);
    let asked = pull::Pull {
        recipe: &recipe,
        versions: &versions,
        earlier: &[],
        pythons: &recipe.pythons,
        compile: true,
        cache: &cache,
    };
    pull::pull(&mut store, &asked, |_| {}, |version, error| panic!("{}: {error:#}", version.text())).unwrap();
    let is_of = |origin: &Origin| {
        origin.package == "cryptography" && versions.iter().any(|version| version.text() == origin.version)
    };
    let (anew, before) = (rows(&store, is_of), rows(&shipped(), is_of));
    assert!(anew.len() >= 6, "{}", anew.len());
    assert!(anew == before, "{:?} and {:?}", anew.keys(), before.keys());
}

#[test]
#[ignore = "downloads packages of Debian: cargo test -p offsetdb --test shipped -- --ignored network"]
fn network_a_package_of_debian_that_is_pulled_anew_gives_the_same_rows() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::create(&folder.path().join("anew.sqlite")).unwrap();
    let recipe = Recipe::of("nspr", None).unwrap();
    let asked = pull::debian::Pull {
        recipe: &recipe,
        named: "nspr",
        suites: &[apt::Suite::BULLSEYE, apt::Suite::BOOKWORM],
        architectures: &["amd64".to_owned(), "arm64".to_owned()],
        cache: &Cache::at(Some(folder.path())).unwrap(),
    };
    pull::debian::pull(&mut store, &asked, |_| {}, |place, error| panic!("{place}: {error:#}")).unwrap();
    let is_of =
        |origin: &Origin| ["bullseye", "bookworm"].contains(&origin.tag.as_str()) && origin.package == "libnspr4";
    let (anew, before) = (rows(&store, is_of), rows(&shipped(), is_of));
    // a suite may have gone on since
    let both: Vec<&String> = anew.keys().filter(|key| before.contains_key(*key)).collect();
    assert!(!both.is_empty(), "none of {:?} is known: the data is old", anew.keys());
    for key in both {
        assert_eq!(anew[key], before[key], "{key}");
    }
}
