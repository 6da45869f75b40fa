//! The database as its users meet it: what goes in comes out, as rows and as text; and what is wrong is said.

use image::VirtualAddress;
use offset_db::{
    Confidence, Fact, Field, Fingerprint, Kind, Layout, Merged, Method, Origin, Signature, Store, export, merge,
};
use std::path::Path;

fn fingerprint(number: u8) -> Fingerprint {
    Fingerprint {
        build_id: Some(vec![number; 20]),
        text: u64::from(number) << 56 | 7,
        file: u128::from(number) << 120 | 9,
        size: 1000 + u64::from(number),
        machine: "x86_64".to_owned(),
        go_build_id: None,
    }
}

fn origin(version: &str, tag: &str) -> Origin {
    Origin {
        ecosystem: "pypi".to_owned(),
        package: "grpcio".to_owned(),
        version: version.to_owned(),
        tag: tag.to_owned(),
        platform: "manylinux2014_x86_64".to_owned(),
        path: "grpc/_cython/cygrpc.so".to_owned(),
    }
}

fn fact(name: &str, address: u64, method: Method) -> Fact {
    Fact {
        name: name.to_owned(),
        qualified: None,
        address: VirtualAddress(address),
        size: 64,
        kind: Kind::Entry,
        method,
        confidence: if method == Method::Identified { Confidence::Verified } else { Confidence::Labelled },
        evidence: vec!["lineage: grpcio 1.40.0: 0.97".to_owned()],
        returns: vec![12, 60],
    }
}

fn layout() -> Layout {
    Layout {
        ecosystem: "pypi".to_owned(),
        package: "grpcio".to_owned(),
        version: "1.60.1".to_owned(),
        machine: "x86_64".to_owned(),
        configuration: "NDEBUG".to_owned(),
        name: "grpc_chttp2_stream".to_owned(),
        size: 768,
        source: "compiled".to_owned(),
        evidence: Vec::new(),
        fields: vec![Field { path: "id".to_owned(), offset_bits: 144 * 8, size_bits: 32 }],
    }
}

/// A database with two files, of which one is in two packages.
fn filled(path: &Path) -> Store {
    let mut store = Store::create(path).unwrap();
    let facts = [fact("SSL_write", u64::MAX - 15, Method::Dynsym), fact("SSL_read", 0x20, Method::Identified)];
    store.add(&fingerprint(1), &[origin("1.38.0", "cp38"), origin("1.38.1", "cp38")], &facts).unwrap();
    store.add(&fingerprint(2), &[], &[]).unwrap();
    store.add_layouts(&[layout()]).unwrap();
    store.add_signatures(&[signature("1.38.0"), signature("1.38.1")]).unwrap();
    store
}

fn signature(version: &str) -> Signature {
    Signature {
        ecosystem: "pypi".to_owned(),
        package: "grpcio".to_owned(),
        version: version.to_owned(),
        machine: "x86_64".to_owned(),
        name: "SSL_read".to_owned(),
        scheme: 1,
        code: u64::MAX - 1,
    }
}

fn text_of(store: &Store) -> String {
    let mut text = Vec::new();
    export(store, &mut text).unwrap();
    String::from_utf8(text).unwrap()
}

#[test]
fn the_bytes_of_a_sorted_copy_depend_on_the_facts_only() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = |name: &str, store: &Store| {
        let path = folder.path().join(name);
        store.write_sorted(&path).unwrap();
        assert!(store.write_sorted(&path).is_err(), "there is one");
        assert_eq!(text_of(&Store::open(&path).unwrap()), text_of(store));
        std::fs::read(path).unwrap()
    };
    let first = filled(&folder.path().join("first.sqlite"));
    // the same, in another order, with a fact that is told twice and one that was taken back
    let mut other = Store::create(&folder.path().join("other.sqlite")).unwrap();
    other.add_signatures(&[signature("1.38.1"), signature("1.38.0"), signature("1.38.1")]).unwrap();
    other.add_layouts(&[layout()]).unwrap();
    other.add(&fingerprint(2), &[], &[fact("gone", 0x40, Method::Identified)]).unwrap();
    other.remove(&fingerprint(2), Method::Identified).unwrap();
    let facts = [fact("SSL_read", 0x20, Method::Identified), fact("SSL_write", u64::MAX - 15, Method::Dynsym)];
    other.add(&fingerprint(1), &[origin("1.38.1", "cp38")], &facts).unwrap();
    other.add(&fingerprint(1), &[origin("1.38.0", "cp38")], &facts[..1]).unwrap();
    assert_eq!(bytes("a.sqlite", &first), bytes("b.sqlite", &other));
    other.add(&fingerprint(3), &[], &[]).unwrap();
    assert_ne!(bytes("c.sqlite", &first), bytes("d.sqlite", &other));
}

#[test]
fn what_goes_in_comes_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("offsets.sqlite");
    drop(filled(&path));
    let store = Store::open(&path).unwrap();
    let file = store.known(&fingerprint(1)).unwrap().unwrap();
    assert_eq!(store.facts_of(&file, "SSL_write").unwrap(), [fact("SSL_write", u64::MAX - 15, Method::Dynsym)]);
    assert_eq!(store.facts(&file).unwrap().len(), 2);
    assert_eq!(store.origins(&file).unwrap(), [origin("1.38.0", "cp38"), origin("1.38.1", "cp38")]);
    assert_eq!(store.layouts_of(&origin("1.60.1", ""), "x86_64", "grpc_chttp2_stream").unwrap(), [layout()]);
    assert!(store.known(&fingerprint(3)).unwrap().is_none());
    let other_code = Fingerprint { text: 8, ..fingerprint(1) };
    assert!(store.known(&other_code).unwrap().is_none(), "a build-id alone is not enough");
    let statistics = store.statistics().unwrap();
    assert_eq!((statistics.files, statistics.functions, statistics.layouts, statistics.signatures), (2, 2, 1, 2));
    let signatures = |package, scheme| store.signatures_of("pypi", package, "x86_64", scheme).unwrap();
    assert_eq!(signatures("grpcio", 1), [signature("1.38.0"), signature("1.38.1")]);
    assert!(signatures("grpcio", 2).is_empty() && signatures("cryptography", 1).is_empty());
    assert_eq!(store.files_of("pypi", "grpcio", "1.38.1").unwrap(), [file]);
    assert!(store.files_of("pypi", "grpcio", "1.38.2").unwrap().is_empty());
    assert_eq!((statistics.packages[0].versions, statistics.packages[0].labelled), (2, 1));
}

/// A database as the first schema had it: it is read as it is, and has the rest once it is written.
#[test]
fn an_older_database_is_read_and_brought_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("offsets.sqlite");
    let text = text_of(&filled(&path));
    let without: String =
        text.lines().filter(|line| !line.contains("signature")).map(|line| format!("{line}\n")).collect();
    let first = "DROP TABLE signature; PRAGMA user_version = 1";
    rusqlite::Connection::open(&path).unwrap().execute_batch(first).unwrap();
    let before = std::fs::read(&path).unwrap();
    let store = Store::open(&path).unwrap();
    assert_eq!(text_of(&store), without);
    assert_eq!(store.statistics().unwrap().signatures, 0);
    drop(store);
    assert_eq!(std::fs::read(&path).unwrap(), before, "who reads writes nothing");
    let mut store = Store::create(&path).unwrap();
    assert_eq!(text_of(&store), without);
    store.add_signatures(&[signature("1.38.0"), signature("1.38.1")]).unwrap();
    drop(store);
    assert_eq!(text_of(&Store::open(&path).unwrap()), text);
}

#[test]
fn an_export_is_sorted_and_gives_the_same_database() {
    let folder = tempfile::tempdir().unwrap();
    let text = text_of(&filled(&folder.path().join("one")));
    let mut other = Store::create(&folder.path().join("other")).unwrap();
    let merged = merge(&mut other, &mut text.as_bytes()).unwrap();
    assert_eq!(merged, Merged { files: 2, functions: 2, layouts: 1, signatures: 2 });
    assert_eq!(text_of(&other), text);
    // once more changes nothing
    merge(&mut other, &mut text.as_bytes()).unwrap();
    assert_eq!(text_of(&other), text);
}

#[test]
fn what_differs_is_kept_side_by_side() {
    let mut store = Store::in_memory().unwrap();
    store.add(&fingerprint(1), &[], &[fact("SSL_read", 0x20, Method::Identified)]).unwrap();
    let mut theirs = Store::in_memory().unwrap();
    theirs.add(&fingerprint(1), &[], &[fact("SSL_read", 0x30, Method::Identified)]).unwrap();
    merge(&mut store, &mut text_of(&theirs).as_bytes()).unwrap();
    let file = store.known(&fingerprint(1)).unwrap().unwrap();
    let addresses: Vec<u64> = store.facts_of(&file, "SSL_read").unwrap().iter().map(|fact| fact.address.0).collect();
    assert_eq!(addresses, [0x20, 0x30]);
}

#[test]
fn a_wrong_line_changes_nothing() {
    for (text, expected) in [
        ("{}", "line 1: "),
        (r#"{"copy":{"hash":"00","size":1}}"#, "line 1: no file was named before it"),
        (r#"{"file":{"key":"xxh3:0/1","text":"zz","machine":"x86_64"}}"#, "line 1: text: invalid digit"),
        (
            r#"{"file":{"key":"xxh3:0/1","build_id":"abc","text":"00","machine":"x86_64"}}"#,
            "line 1: build_id: an even number",
        ),
        (
            r#"{"file":{"key":"gnu:ab/00","build_id":"ab","text":"00","machine":"x86_64"}}"#,
            "line 1: key: gnu:ab/00 is not that of",
        ),
        ("{\"file\":{\"key\":\"xxh3:0/1\",\"text\":\"00\",\"machine\":\"x86_64\"}}\n{\"file\":", "line 2: EOF"),
    ] {
        let mut store = filled(Path::new(":memory:"));
        let before = text_of(&store);
        let error = merge(&mut store, &mut text.as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{text}: {error}");
        assert_eq!(text_of(&store), before);
    }
}

fn check_error(path: &Path, expected: &str) {
    let error = Store::open(path).map(drop).unwrap_err().to_string();
    assert!(error.contains(expected), "{error}");
    if !expected.contains("unable to open") {
        let error = Store::create(path).map(drop).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn what_is_no_database_of_ours_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    check_error(&path, "unable to open");
    std::fs::write(&path, b"SQLite format 3\0 but then nothing of it").unwrap();
    check_error(&path, "not a database");
    std::fs::remove_file(&path).unwrap();
    let foreign = rusqlite::Connection::open(&path).unwrap();
    foreign.execute_batch("CREATE TABLE t (x); PRAGMA user_version = 3").unwrap();
    drop(foreign);
    check_error(&path, "no database of offsets");
    std::fs::remove_file(&path).unwrap();
    drop(filled(&path));
    rusqlite::Connection::open(&path).unwrap().execute_batch("PRAGMA user_version = 99").unwrap();
    check_error(&path, "schema 99 is newer than this program's");
    // an older one is brought up to date by who may write
    rusqlite::Connection::open(&path).unwrap().execute_batch("PRAGMA user_version = 0").unwrap();
    let error = Store::open(&path).map(drop).unwrap_err().to_string();
    assert!(error.contains("schema 0 is older than this program's"), "{error}");
    // what is none of it is not waited for
    let pipe = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    check_error(&pipe, "pipe: no regular file");
    check_error(folder.path(), "no regular file");
}

#[test]
fn two_writers_at_once_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    std::thread::scope(|scope| {
        for writer in 0..4u8 {
            let path = &path;
            scope.spawn(move || {
                let mut store = Store::create(path).unwrap();
                for number in 0..8 {
                    store.add(&fingerprint(writer * 8 + number), &[], &[fact("f", 16, Method::Symtab)]).unwrap();
                }
            });
        }
    });
    assert_eq!(Store::open(&path).unwrap().statistics().unwrap().files, 32);
}

/// Who comes while another makes the database sees it before or after that, and nothing in between.
#[test]
fn a_database_that_is_being_made_is_nobody_elses() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..40 {
        let path = folder.path().join(format!("{round}"));
        let begin = std::sync::Barrier::new(4);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                let (path, begin) = (&path, &begin);
                scope.spawn(move || {
                    begin.wait();
                    Store::create(path).unwrap();
                });
            }
        });
    }
}

#[test]
fn a_full_disk_is_an_error_and_nothing_is_half_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    drop(filled(&path));
    let mut store = Store::create(&path).unwrap();
    let before = text_of(&store);
    let pages: i64 =
        rusqlite::Connection::open(&path).unwrap().query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
    store.limit_pages(pages as u32 + 1).unwrap();
    let facts: Vec<Fact> = (0..5000).map(|at| fact(&format!("function_{at}"), at, Method::Symtab)).collect();
    let error = store.add(&fingerprint(9), &[], &facts).unwrap_err().to_string();
    assert!(error.contains("full"), "{error}");
    assert_eq!(text_of(&store), before);
}
