//! Python's `ssl`, by the symbols of the libssl that the process has mapped.

use crate::probes::{Talker, Wanted, object, watch};
use lcc_tests::project;
use offset_db::Resolver;
use offsetdb::process::mapped;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

#[test]
fn root_messages_of_pythons_ssl_are_seen_before_they_are_encrypted() {
    let Some(object) = object() else { return };
    let folder = tempfile::tempdir().unwrap();
    let script = project().join("tests/tests/fixtures/ssl_echo.py");
    let mut talker = Talker::start(Command::new("python3").arg(script).arg(folder.path()));
    let mapped = mapped(Path::new("/proc"), &[talker.process], false).unwrap();
    let library = mapped.iter().find(|file| file.path.contains("/libssl")).expect("libssl is mapped");
    // Python calls SSL_write_ex from 3.10 on (bpo-42854)
    let wanted = Wanted { write: vec!["SSL_write", "SSL_write_ex"], ..Wanted::default() };
    let resolver = Resolver::without_database();
    let process = talker.process;
    let seen = watch(&object, resolver, process, &PathBuf::from(&library.path), &wanted, || talker.tell("50"));
    let mut sides: BTreeMap<u64, Vec<Vec<u8>>> = BTreeMap::new();
    seen.writes.into_iter().for_each(|(to, bytes)| sides.entry(to).or_default().push(bytes));
    let mut sides: Vec<_> = sides.into_values().collect();
    sides.sort();
    let sent: Vec<Vec<u8>> = (0..50).map(|at| format!("message {at}").into_bytes()).collect();
    let answers: Vec<Vec<u8>> = sent.iter().map(|one| [b"answer:", one.as_slice()].concat()).collect();
    assert_eq!(sides, [answers, sent]);
}
