//! A uprobe on a static function of a stripped program, where a database of offsets says that it begins: each call is seen, with what the
//! function was given, and no other process's.
//!
//! As root, with clang and gcc; or with `LCC_OBJECTS`, and `LCC_FIXTURES`, a folder that the example `victim` has made.
//! `cargo xtask matrix` runs this on real kernels.

#[path = "../examples/victim/make.rs"]
mod make;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use btf::object_file::ObjectFile;
use image::Image;
use lcc_tests::talker::Talker;
use lcc_tests::{compile, may_load};
use loader::choose::{Places, choose};
use loader::record::Record;
use loader::{Options, Session};
use make::{DATABASE, FUNCTION, PROGRAM, make};
use offset_db::Resolver;
use serde_json::{Value, json};

/// The two files, made or given. `None`, said, where they cannot be made.
fn fixtures(made: &Path) -> Option<(PathBuf, PathBuf)> {
    let folder = match std::env::var_os("LCC_FIXTURES") {
        Some(folder) => PathBuf::from(folder),
        None => make("gcc", made).map(|()| made.to_owned())?,
    };
    Some((folder.join(PROGRAM), folder.join(DATABASE)))
}

/// Loads it for a process's function.
fn load(object: &[u8], process: u32, program: &Path, resolver: Resolver) -> Session {
    let parsed = ObjectFile::parse("victim.o", object).unwrap();
    let facts = loader::probe_for(Path::new("/"), &parsed);
    let chosen = choose(&parsed, &facts, &Places::here()).unwrap();
    let mut options = Options::default();
    options.pid = Some(process);
    options.resolver = Some(Arc::new(resolver));
    options.hints.targets.push(("called".to_owned(), format!("{}:{FUNCTION}", program.display())));
    let session = loader::load("victim.o", object, &facts, chosen.btf.as_ref(), &options);
    session.unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn root_each_call_of_a_stripped_programs_function_is_seen_with_its_arguments() {
    const CALLS: u64 = 37;
    let Some(object) = may_load().then(|| compile("tests/tests/fixtures/victim.bpf.c")).flatten() else { return };
    let made = tempfile::tempdir().unwrap();
    let Some((program, database)) = fixtures(made.path()) else { return };
    let bytes = std::fs::read(&program).unwrap();
    assert_eq!(Image::parse(&bytes).unwrap().functions().count(), 0, "it is stripped");
    let (mut talker, mut other) =
        (Talker::start(&mut Command::new(&program)), Talker::start(&mut Command::new(&program)));

    // by its own symbols it is not found
    let session = load(&object, talker.process, &program, Resolver::without_database());
    let called = &session.plan.programs[0];
    let said = &called.requirements[0].evidence;
    assert!(!called.enabled && said.contains(&format!("no symbol {FUNCTION}, and no database is asked")), "{said}");
    drop(session);

    let session = load(&object, talker.process, &program, Resolver::open(&database).unwrap());
    let place = session.resolved.first().map(|(_, place)| place.clone()).unwrap_or_default();
    let lines = plan::text::lines(&session.plan, false);
    assert!(place.ends_with("by its symtab in the database"), "{place} {lines}");
    eprintln!("{place}");
    let record = Record::of(ObjectFile::parse("victim.o", &object).unwrap().btf(), "call_told").unwrap();
    let heard = Mutex::new(Vec::new());
    let listener = session.listen(|event| {
        let value = record.read(event.bytes).expect("a whole event");
        heard.lock().unwrap().push(serde_json::to_value(&value).unwrap());
    });
    let listener = listener.unwrap();
    // in two goes, and the other's between
    talker.tell("30");
    other.tell("11");
    talker.tell("7");
    let (mut count, mut since) = (0, Instant::now());
    while since.elapsed() < Duration::from_millis(400) {
        listener.poll(Duration::from_millis(50)).unwrap();
        let now = heard.lock().unwrap().len();
        if now != count {
            (count, since) = (now, Instant::now());
        }
    }
    assert!(listener.lost().unwrap().values().all(|lost| *lost == 0), "{:?}", listener.lost());
    drop(listener);
    let mut heard = heard.into_inner().unwrap();
    heard.sort_by_key(|event: &Value| event["time_ns"].as_u64());
    let expected = |call: u64| {
        let text = format!("call {call}");
        json!({ "number": 3_000_000_000 + call, "size": text.len(), "tgid": talker.process, "text": text })
    };
    let without_time = |mut event: Value| {
        event.as_object_mut().unwrap().remove("time_ns");
        event
    };
    let heard: Vec<Value> = heard.into_iter().map(without_time).collect();
    assert_eq!(heard, (0..CALLS).map(expected).collect::<Vec<_>>());
}
