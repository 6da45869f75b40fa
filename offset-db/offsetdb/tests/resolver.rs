//! What an agent is told of files that nobody knows, on libraries that are compiled here.

use identify::Witness;
use offset_db::Resolved;
use offsetdb::resolver::Resolver;
use std::path::{Path, PathBuf};
use std::process::Command;

fn compile(folder: &Path, name: &str, arguments: &[&str]) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../identify/tests/fixtures/store.c");
    let mut command = Command::new("gcc");
    command.args(["-shared", "-fPIC", "-fvisibility=hidden", "-Wl,--build-id=sha1"]).args(arguments);
    assert!(command.arg("-o").arg(folder.join(name)).arg(source).status().unwrap().success());
    folder.join(name)
}

#[test]
fn files_that_nobody_knows_are_identified_when_they_are_asked_of() {
    let folder = tempfile::tempdir().unwrap();
    let before = compile(folder.path(), "before.so", &["-O2", "-DVERSION=1"]);
    let twin = compile(folder.path(), "twin.so", &["-O2", "-DVERSION=2"]);
    let source = compile(folder.path(), "source.so", &["-O3", "-DVERSION=2"]);
    let stripped = folder.path().join("stripped.so");
    assert!(Command::new("strip").arg(&twin).arg("-o").arg(&stripped).status().unwrap().success());
    let of = |file: &Path, resolver: &Resolver, name: &str| resolver.resolve(file, name).unwrap();
    let mut resolver = Resolver::new(offset_db::Resolver::without_database());
    let Resolved::Found { offset, how } = of(&twin, &resolver, "store_remove") else { panic!("it has symbols") };
    assert_eq!(how, "its symbol");
    let unknown = |resolver: &Resolver, name: &str| match of(&stripped, resolver, name) {
        Resolved::Unknown(why) => why,
        other => panic!("{name}: {other:?}"),
    };
    assert_eq!(unknown(&resolver, "store_remove"), "no symbol store_remove, and no database is asked");
    resolver.add(Witness::Lineage, &before).unwrap();
    assert_eq!(unknown(&resolver, "store_remove"), "store_remove: there is one witness only");
    resolver.add(Witness::Compiled, &source).unwrap();
    let Resolved::Found { offset: found, how } = of(&stripped, &resolver, "store_remove") else {
        panic!("{}", unknown(&resolver, "store_remove"))
    };
    assert_eq!(found, offset);
    assert!(how.starts_with("verified now: ") && how.contains("lineage: ") && how.contains("compiled: "), "{how}");
    assert!(unknown(&resolver, "nothing").ends_with("and no build tells"));
    assert!(resolver.resolve(&folder.path().join("missing.so"), "x").is_err());
    let text = folder.path().join("text");
    std::fs::write(&text, "text").unwrap();
    assert!(matches!(of(&text, &resolver, "x"), Resolved::Unknown(_)));
    assert!(
        resolver
            .add(Witness::Lineage, &stripped)
            .unwrap_err()
            .to_string()
            .ends_with("it has no names, or no .eh_frame")
    );
}
