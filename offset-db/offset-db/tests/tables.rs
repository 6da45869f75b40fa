//! Look-ups that read no more of a file than its tables: the same answers as of all of it, from files of any kind and size.

use image::Image;
use offset_db::{Error, Fact, Fingerprint, Resolved, Resolver, Store, Tables};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A folder with a library that has names and a build-id, one without names, and one without either.
struct Place(TempDir);

impl Place {
    fn new() -> Place {
        let place = Place(tempfile::tempdir().unwrap());
        std::fs::write(
            place.path("code.c"),
            "int shown(int n) { return n * 3; }\nint other(void) { return shown(1); }\n",
        )
        .unwrap();
        for line in [
            "gcc -shared -fPIC -O1 -Wl,--build-id=sha1 -o named.so code.c",
            "gcc -shared -fPIC -O1 -fvisibility=hidden -Wl,--build-id=sha1 -s -o stripped.so code.c",
            "gcc -shared -fPIC -O1 -fvisibility=hidden -Wl,--build-id=none -s -o bare.so code.c",
        ] {
            let mut words = line.split(' ');
            let mut command = Command::new(words.next().unwrap());
            assert!(command.args(words).current_dir(place.0.path()).status().unwrap().success(), "{line}");
        }
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A copy with so many bytes, of which those behind the copied ones are a hole.
    fn extended(&self, name: &str, size: u64) -> PathBuf {
        let path = self.path("extended");
        std::fs::copy(self.path(name), &path).unwrap();
        std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(size).unwrap();
        path
    }
}

fn fingerprint(path: &Path) -> Fingerprint {
    let tables = Tables::read(path).unwrap();
    tables.fingerprint(&tables.image().unwrap()).unwrap()
}

#[test]
fn a_function_that_was_split_is_not_told() {
    let place = Place::new();
    let code = "int part(int n) __asm__(\"whole.part.0\");\nint part(int n) { return n; }\nint whole(int n) { return part(n); }\n";
    std::fs::write(place.path("split.c"), code).unwrap();
    let mut gcc = Command::new("gcc");
    gcc.args(["-shared", "-fPIC", "-O1", "-o", "split.so", "split.c"]).current_dir(place.0.path());
    assert!(gcc.status().unwrap().success());
    let said = Resolver::without_database().resolve(&place.path("split.so"), "whole").unwrap();
    assert!(matches!(&said, Resolved::Unknown(why) if why.starts_with("whole was split")), "{said:?}");
}

#[test]
fn tables_tell_what_the_whole_file_tells() {
    let place = Place::new();
    let files = ["named.so", "stripped.so", "bare.so"].map(|name| place.path(name));
    for path in files.into_iter().chain([std::env::current_exe().unwrap(), place.extended("bare.so", 64 << 20)]) {
        let bytes = std::fs::read(&path).unwrap();
        let whole = Image::parse(&bytes).unwrap();
        let tables = Tables::read(&path).unwrap();
        let image = tables.image().unwrap();
        assert_eq!(tables.fingerprint(&image).unwrap(), Fingerprint::to_look_up(&whole), "{}", path.display());
        assert_eq!(tables.fingerprint(&image).unwrap().key(), Fingerprint::of(&whole).key());
        assert!(image.symbols().eq(whole.symbols()), "{}", path.display());
        assert_eq!((image.segments(), image.build_ids()), (whole.segments(), whole.build_ids()));
    }
}

#[test]
fn a_hole_of_4_gib_costs_nothing() {
    let place = Place::new();
    for name in ["named.so", "stripped.so", "bare.so"] {
        let path = place.extended(name, 4 << 30);
        let begin = Instant::now();
        let resolved = Resolver::without_database().resolve(&path, "shown").unwrap();
        assert_eq!(matches!(resolved, Resolved::Found { .. }), name == "named.so", "{resolved:?}");
        let key = fingerprint(&path).key();
        let took = begin.elapsed();
        assert!(key.ends_with("/4294967296") || name != "bare.so", "{key}");
        assert!(took < Duration::from_secs(5), "{name}: {took:?}");
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")).unwrap();
    assert!(peak.parse::<u64>().unwrap() < 200 << 10, "{peak} kB");
}

fn check_error(path: &Path, expected: &str) {
    let error = Resolver::without_database().resolve(path, "f").unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error:?}");
    assert_eq!(error.to_string(), format!("{}: {expected}", path.display()));
}

#[test]
fn what_is_no_file_is_not_waited_for() {
    let place = Place::new();
    let made = Command::new("mkfifo").arg(place.path("pipe")).status().unwrap();
    assert!(made.success());
    std::os::unix::fs::symlink("loop", place.path("loop")).unwrap();
    check_error(&place.path("pipe"), "no regular file");
    check_error(Path::new("/dev/zero"), "no regular file");
    check_error(place.0.path(), "no regular file");
    check_error(&place.path("loop"), "Too many levels of symbolic links (os error 40)");
    check_error(&place.path("nothing"), "No such file or directory (os error 2)");
}

#[test]
fn files_cut_anywhere_are_unknown_or_less() {
    let place = Place::new();
    let whole = std::fs::read(place.path("named.so")).unwrap();
    let cut = place.path("cut.so");
    let resolver = Resolver::without_database();
    for length in (0..200).chain((200..whole.len()).step_by(97)) {
        std::fs::write(&cut, &whole[..length]).unwrap();
        match resolver.resolve(&cut, "shown").unwrap() {
            Resolved::Unknown(why) => assert!(!why.is_empty()),
            other => panic!("{length}: {other:?}"),
        }
        if let (Ok(tables), Ok(image)) = (Tables::read(&cut), Image::parse(&whole[..length])) {
            assert_eq!(
                tables.fingerprint(&tables.image().unwrap()).unwrap(),
                Fingerprint::to_look_up(&image),
                "{length}"
            );
        }
    }
}

#[test]
fn a_file_that_is_written_over_while_it_is_looked_at_kills_nobody() {
    let place = Place::new();
    let path = place.path("bare.so");
    let tables = Tables::read(&path).unwrap();
    let image = tables.image().unwrap();
    let before = image.segments().to_vec();
    std::fs::write(&path, b"short").unwrap();
    assert_eq!(image.segments(), before);
    let error = tables.fingerprint(&image).unwrap_err().to_string();
    assert!(error.ends_with("bare.so: it was changed while it was read"), "{error}");
}

#[test]
fn a_known_file_is_found_by_its_tables() {
    let place = Place::new();
    let database = place.path("db");
    let bytes = std::fs::read(place.path("stripped.so")).unwrap();
    let image = Image::parse(&bytes).unwrap();
    let text = image.section(".text").unwrap().address;
    let fact: Fact = serde_json::from_value(serde_json::json!({
        "name": "shown", "address": format!("{:#x}", text.0), "size": 4, "kind": "entry", "method": "debugfile",
        "confidence": "labelled",
    }))
    .unwrap();
    Store::create(&database).unwrap().add(&Fingerprint::of(&image), &[], &[fact]).unwrap();
    let resolver = Resolver::open(&database).unwrap();
    let expected = image.file_offset(text).unwrap();
    match resolver.resolve(&place.path("stripped.so"), "shown").unwrap() {
        Resolved::Found { offset, how } => assert_eq!((offset, how.as_str()), (expected, "debugfile in the database")),
        other => panic!("{other:?}"),
    }
    // the same in memory
    assert!(
        matches!(resolver.resolve_in(&image, "shown").unwrap(), Resolved::Found { offset, .. } if offset == expected)
    );
    match resolver.resolve(&place.path("bare.so"), "shown").unwrap() {
        Resolved::Unknown(why) => assert_eq!(why, "no symbol shown, and the file is not in the database"),
        other => panic!("{other:?}"),
    }
}
