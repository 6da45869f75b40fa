//! Python's gRPC, which is stripped: the newest version whose functions the database tells for this Python.

use crate::frames::{Side, side};
use crate::probes::{Field, Seen, Talker, Wanted, object, watch};
use image::Image;
use lcc_tests::{project, skip};
use offset_db::{Confidence, Fact, Fingerprint, Origin, ResolvedField, Resolver, Store};
use offsetdb::package::cache::Cache;
use offsetdb::package::pypi::environment;
use offsetdb::package::recipe::Version;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

const PARSED: &str = "grpc_chttp2_data_parser_parse";
const BATCH: &str = "grpc_call_start_batch";
const CLOSED: &str = "grpc_chttp2_mark_stream_closed";
const WRITE: &str = "SSL_write";

/// A Python that has gRPC, and its library.
struct Installed {
    version: String,
    python: PathBuf,
    library: PathBuf,
}

/// Versions of the database for this Python that it knows all of these functions of, the newest first.
fn versions(database: &Path) -> Vec<String> {
    let said = Command::new("python3").args(["-c", "import sys; print('cp%d%d' % sys.version_info[:2])"]).output();
    let tag = String::from_utf8(said.unwrap().stdout).unwrap();
    let store = Store::open(database).unwrap();
    let is_it = |origin: &Origin| {
        origin.package == "grpcio"
            && origin.tag.starts_with(&format!("{}-", tag.trim()))
            && origin.platform.starts_with("manylinux")
            && origin.platform.ends_with(std::env::consts::ARCH)
    };
    let mut found = Vec::new();
    for file in store.files().unwrap() {
        let facts = store.facts(&file).unwrap();
        let is_of = |fact: &Fact, name: &str| fact.name == name || fact.qualified.as_deref() == Some(name);
        let is_sure =
            |name: &&str| facts.iter().any(|fact| is_of(fact, name) && fact.confidence >= Confidence::Verified);
        if [PARSED, BATCH, CLOSED, WRITE].iter().all(is_sure) {
            found.extend(store.origins(&file).unwrap().into_iter().filter(is_it).map(|origin| origin.version));
        }
    }
    found.sort_by_key(|version| std::cmp::Reverse(Version::parse(version)));
    found.dedup();
    found
}

/// The newest version that can be installed here. `None`, said: there is none.
fn installed(database: &Path) -> Option<Installed> {
    // one makes the environment, others find it
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock();
    let versions = versions(database);
    let Some(version) = versions.first() else {
        skip("the database knows no grpcio for this Python");
        return None;
    };
    let python = match environment(&Cache::at(None).unwrap(), &[format!("grpcio=={version}")]) {
        Ok(python) => python,
        Err(error) => {
            skip(&format!("grpcio {version}: {error:#}"));
            return None;
        }
    };
    let script = "import grpc._cython.cygrpc as module; print(module.__file__)";
    let said = Command::new(&python).args(["-c", script]).output().unwrap();
    let library = PathBuf::from(String::from_utf8(said.stdout).unwrap().trim());
    let bytes = std::fs::read(&library).unwrap();
    let image = Image::parse(&bytes).unwrap();
    let known = Store::open(database).unwrap().known(&Fingerprint::of(&image)).unwrap();
    assert!(known.is_some(), "{}: not the file of the wheel", library.display());
    Some(Installed { version: version.clone(), python, library })
}

/// The database that is shipped.
fn database() -> PathBuf {
    project().join("data/offsets.sqlite")
}

/// What is seen of calls, of gRPC's own functions and of SSL_write; and the messages that were sent.
fn calls(kind: &str, number: usize, is_encrypted: bool) -> Option<(Seen, Vec<Vec<u8>>)> {
    let object = object()?;
    let database = database();
    let installed = installed(&database)?;
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(&installed.python);
    command.arg(project().join("tests/tests/fixtures/grpc_echo.py"));
    if is_encrypted {
        command.arg(folder.path());
    }
    let mut talker = Talker::start(&mut command);
    let wanted = Wanted { count: vec![PARSED, BATCH, CLOSED], write: vec![WRITE], ..Wanted::default() };
    let resolver = Resolver::open(&database).unwrap();
    let process = talker.process;
    let seen =
        watch(&object, resolver, process, &installed.library, &wanted, || talker.tell(&format!("{kind} {number}")));
    let sent: Vec<Vec<u8>> = (0..number).map(|at| format!("{kind} message {at}").into_bytes()).collect();
    Some((seen, sent))
}

#[track_caller]
fn check(seen: &Seen, expected: [u64; 3]) {
    let found = [PARSED, BATCH, CLOSED].map(|name| seen.counts[name]);
    assert_eq!(found, expected, "{PARSED}, {BATCH}, {CLOSED}");
}

/// A message each way is one DATA frame each way. Client and server start two batches each, and each closes the stream twice: for
/// reading and for writing.
#[test]
fn root_grpc_calls_are_counted() {
    for number in [1, 100] {
        let Some((seen, _)) = calls("unary", number, false) else { return };
        let number = number as u64;
        check(&seen, [2 * number, 4 * number, 4 * number]);
        assert!(seen.writes.is_empty());
    }
}

/// A message each way is one DATA frame each way, and one more ends the client's side. Each message is a batch for each who sends or
/// receives it; begin and end of both sides are seven.
#[test]
fn root_grpc_messages_of_streams_are_counted() {
    for number in [1, 100] {
        let Some((seen, _)) = calls("stream", number, false) else { return };
        let number = number as u64;
        check(&seen, [2 * number + 1, 4 * number + 7, 4]);
    }
}

/// A struct of the stripped file, by the layout that was compiled from its version's source: client and server mark each stream
/// closed twice, and a connection's streams are 1, 3, 5, …
#[test]
fn root_grpc_streams_are_told_by_their_field() {
    let Some(object) = object() else { return };
    let database = database();
    let Some(installed) = installed(&database) else { return };
    let resolver = Resolver::open(&database).unwrap();
    let found = resolver.resolve_field(&installed.library, "grpc_chttp2_stream.id").unwrap();
    let ResolvedField::Found { offset_bits, size_bits: 32, .. } = found else { return skip(&format!("{found:?}")) };
    let script = project().join("tests/tests/fixtures/grpc_echo.py");
    let mut talker = Talker::start(Command::new(&installed.python).arg(script));
    // from 1.60 on it returns a class: its first argument is where to put that
    let is_third = Version::parse(&installed.version) >= Version::parse("1.60.0");
    let field = Field { function: CLOSED, offset: offset_bits / 8, is_third };
    let wanted = Wanted { field: Some(field), ..Wanted::default() };
    let process = talker.process;
    let seen = watch(&object, resolver, process, &installed.library, &wanted, || talker.tell("unary 20"));
    let mut times: BTreeMap<u64, u64> = BTreeMap::new();
    seen.results.iter().for_each(|stream| *times.entry(*stream).or_default() += 1);
    assert_eq!(times, (0..20).map(|number| (2 * number + 1, 4)).collect());
}

#[test]
fn root_grpc_messages_are_seen_before_they_are_encrypted() {
    for kind in ["unary", "stream"] {
        let Some((seen, sent)) = calls(kind, 50, true) else { return };
        let mut sides: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
        seen.writes.iter().for_each(|(to, bytes)| sides.entry(*to).or_default().extend(bytes));
        let sides: Vec<Side> = sides.values().map(|bytes| side(bytes)).collect();
        assert_eq!(seen.counts[PARSED], sides.iter().map(|side| side.frames).sum::<u64>());
        let mut messages: Vec<Vec<Vec<u8>>> = sides.into_iter().map(|side| side.messages).collect();
        messages.sort();
        let answers: Vec<Vec<u8>> = sent.iter().map(|one| [b"answer:", one.as_slice()].concat()).collect();
        assert_eq!(messages, [answers, sent]);
    }
}
