//! Packages that somebody made to do harm: nothing is written outside of what is asked for, and what is wrong is said.

use packages::tar::write_file;
use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A folder with a library; in a folder below, the command is run: what it writes beside is found.
struct Place {
    folder: TempDir,
    elf: Vec<u8>,
}

impl Place {
    fn new() -> Place {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("made.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../identify/tests/fixtures/store.c");
        let mut command = Command::new("gcc");
        command.args(["-w", "-shared", "-fPIC", "-Wl,--build-id=sha1", "-o"]).arg(&path).arg(source);
        assert!(command.status().unwrap().success());
        let elf = std::fs::read(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        std::fs::create_dir_all(folder.path().join("a/b/c")).unwrap();
        Place { folder, elf }
    }

    fn inside(&self) -> PathBuf {
        self.folder.path().join("a/b/c")
    }

    /// Every path below the folder.
    fn paths(&self) -> BTreeSet<PathBuf> {
        let (mut found, mut folders) = (BTreeSet::new(), vec![self.folder.path().to_owned()]);
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap().flatten() {
                if entry.file_type().unwrap().is_dir() {
                    folders.push(entry.path());
                }
                found.insert(entry.path());
            }
        }
        found
    }

    /// Imports a package, and returns the exit code and all that was said. Besides the database, nothing may be written.
    fn import(&self, name: &str, package: &[u8]) -> (i32, String) {
        std::fs::write(self.inside().join(name), package).unwrap();
        let _ = std::fs::remove_file(self.inside().join("db.sqlite"));
        let mut before = self.paths();
        before.insert(self.inside().join("db.sqlite"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_offsetdb"));
        command.current_dir(self.inside()).env("TMPDIR", self.inside()).env_remove("RUST_LOG");
        let output = command.args(["-d", "db.sqlite", "import", name]).output().unwrap();
        let mut after = self.paths();
        after.insert(self.inside().join("db.sqlite"));
        assert_eq!(before, after, "{name}");
        let said = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8_lossy(&said).into_owned())
    }

    fn check(&self, name: &str, package: &[u8], code: i32, says: &str) {
        let (got, said) = self.import(name, package);
        assert_eq!(got, code, "{name}: {said}");
        assert!(said.contains(says), "{name}: {said}");
        assert!(said.chars().all(|letter| letter == '\n' || !letter.is_control()), "{name}: {said:?}");
    }
}

/// One entry of a tar, without its end: `kind` `2` is a symbolic link to `content`.
fn entry(name: &str, kind: u8, content: &[u8]) -> Vec<u8> {
    let is_link = kind == b'2';
    let mut tar = write_file("x", if is_link { &[] } else { content }).unwrap();
    tar.truncate(tar.len() - 1024);
    tar[..100].fill(0);
    tar[..name.len()].copy_from_slice(name.as_bytes());
    tar[156] = kind;
    if is_link {
        tar[157..157 + content.len()].copy_from_slice(content);
    }
    sum(&mut tar);
    tar
}

fn sum(tar: &mut [u8]) {
    tar[148..156].fill(b' ');
    let sum: u64 = tar[..512].iter().map(|byte| u64::from(*byte)).sum();
    tar[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// A Debian package of these entries.
fn deb(entries: &[Vec<u8>]) -> Vec<u8> {
    let control = write_file("./control", b"Package: x\nVersion: 1\nArchitecture: amd64\n").unwrap();
    let data = [entries.concat(), vec![0; 1024]].concat();
    let mut package = packages::ar::MAGIC.to_vec();
    for (name, content) in [("debian-binary", b"2.0\n".to_vec()), ("control.tar", control), ("data.tar", data)] {
        let header = format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, "100644", content.len());
        package.extend(header.bytes().chain(content));
    }
    package
}

/// A wheel of these files.
fn wheel(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    for (name, content) in files {
        zip.start_file(*name, options).unwrap();
        zip.write_all(content).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// Names that lead out of the folder that something is unpacked to.
const OUT: [&str; 5] =
    ["../../../libx.so.1", "./usr/../../../../libx.so.1", "/libx.so.1", "a/b/../../../libx.so.1", "..\\..\\libx.so.1"];

#[test]
fn names_that_lead_out_of_a_package_are_names_and_no_more() {
    let place = Place::new();
    for name in OUT {
        place.check("x.deb", &deb(&[entry(name, b'0', &place.elf)]), 0, "libx.so.1");
        place.check("x.whl", &wheel(&[(name, &place.elf)]), 0, "libx.so.1");
    }
}

#[test]
fn links_in_packages_are_not_followed() {
    let place = Place::new();
    let target = place.folder.path().join("secret.so");
    std::fs::write(&target, &place.elf).unwrap();
    let link = entry("./usr/lib/libx.so.1", b'2', target.to_str().unwrap().as_bytes());
    place.check("x.deb", &deb(std::slice::from_ref(&link)), 2, "x.deb: no library in it");
    // a folder that is a link, and a file in it
    let folder = entry("./usr/lib", b'2', place.folder.path().to_str().unwrap().as_bytes());
    let inside = entry("./usr/lib/libx.so.1", b'0', &place.elf);
    place.check("x.deb", &deb(&[folder, inside]), 0, "usr/lib/libx.so.1");
    let device = entry("./dev/libx.so.1", b'4', &[]);
    place.check("x.deb", &deb(&[device, link]), 2, "x.deb: no library in it");
}

#[test]
fn a_file_that_is_twice_in_a_package_is_refused() {
    let place = Place::new();
    let one = entry("./usr/lib/libx.so.1", b'0', &place.elf);
    let other = entry("usr/lib/libx.so.1", b'0', &place.elf);
    place.check("x.deb", &deb(&[one, other]), 2, "usr/lib/libx.so.1: it is twice in the package");
}

#[test]
fn sizes_beyond_reason_are_refused_before_they_are_unpacked() {
    let place = Place::new();
    let claims = |size: u64| {
        let mut one = entry("./usr/lib/libx.so.1", b'0', &place.elf);
        one[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
        sum(&mut one);
        deb(&[one])
    };
    place.check("x.deb", &claims((1 << 30) + 1), 2, "1073741825 bytes unpacked are more than 1073741824");
    place.check("x.deb", &claims(1 << 29), 2, "x.deb");
    let mut other = entry("./usr/share/x", b'0', b"text");
    other[124..136].copy_from_slice(b"\x80\0\0\0\0\0\0\x06\0\0\0\0");
    sum(&mut other);
    place.check("x.deb", &deb(&[other]), 2, "more than 17179869184 bytes unpacked");
}

#[test]
fn packages_that_are_cut_are_errors() {
    let place = Place::new();
    let whole = deb(&[entry("./usr/lib/libx.so.1", b'0', &place.elf)]);
    place.check("x.deb", &whole, 0, "libx.so.1");
    for length in [8, 9, 60, 68, 72, 80, 132, 600, 1700, 1800, 2300, whole.len() / 2] {
        place.check("x.deb", &whole[..length], 2, "x.deb");
    }
}

#[test]
fn names_with_control_characters_are_told_without_them() {
    let place = Place::new();
    place.check("x.deb", &deb(&[entry("./usr/\x1b[31m/libx.so.1", b'0', &place.elf)]), 0, "libx.so.1");
}

/// pip as it is set up on the machine, with a folder of the test's for a registry.
#[test]
fn a_wheel_of_a_registry_stays_in_the_cache() {
    let pip = Command::new("python3").args(["-m", "pip", "--version"]).output();
    if !pip.is_ok_and(|output| output.status.success()) {
        assert!(
            std::env::var("CI").as_deref() != Ok("true"),
            "skipped where nothing may be: python3 -m pip is missing"
        );
        eprintln!("skipped: python3 -m pip is missing");
        return;
    }
    let place = Place::new();
    let registry = place.inside().join("registry");
    std::fs::create_dir(&registry).unwrap();
    let recipe = r#"{"ecosystem": "pypi", "package": "victim", "pythons": ["38"], "modules": ["victim"], "targets": ["store_get"]}"#;
    std::fs::write(place.inside().join("recipe.json"), recipe).unwrap();
    let evil: [(&str, &str); 3] = [("1.0", "../../../../victim.so"), ("1.1", "/tmp/victim.so"), ("1.2", "victim.so")];
    for (version, name) in evil {
        let metadata = format!("Metadata-Version: 2.1\nName: victim\nVersion: {version}\n");
        let tag = "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: false\nTag: cp38-cp38-manylinux2014_x86_64\n";
        let information = format!("victim-{version}.dist-info");
        let files: [(&str, &[u8]); 4] = [
            (name, &place.elf),
            (&format!("{information}/METADATA"), metadata.as_bytes()),
            (&format!("{information}/WHEEL"), tag.as_bytes()),
            (&format!("{information}/RECORD"), b""),
        ];
        let file = registry.join(format!("victim-{version}-cp38-cp38-manylinux2014_x86_64.whl"));
        std::fs::write(file, wheel(&files)).unwrap();
        // pip lists versions that this machine's Python could have
        std::fs::write(registry.join(format!("victim-{version}.tar.gz")), "no source").unwrap();
    }
    let run = |place: &Place| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_offsetdb"));
        command.current_dir(place.inside()).env_remove("RUST_LOG").env("PIP_NO_INDEX", "1");
        command.env("PIP_FIND_LINKS", &registry).env("PIP_CONFIG_FILE", "/dev/null").env("PIP_NO_CACHE_DIR", "1");
        command.args(["-d", "db.sqlite", "pull", "pypi", "victim", "--recipe", "recipe.json", "--cache", "cache"]);
        let output = command.output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&said).into_owned())
    };
    let before = place.paths();
    let (code, said) = run(&place);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("victim: 3 files, 3 with every target; 0 failed"), "{said}");
    let new: Vec<String> = place
        .paths()
        .difference(&before)
        .map(|path| path.strip_prefix(place.inside()).unwrap_or(path).display().to_string())
        .filter(|path| path != "db.sqlite")
        .collect();
    assert!(!Path::new("/tmp/victim.so").exists());
    let wheels = evil.map(|(version, _)| format!("cache/wheels/victim-{version}-cp38-cp38-manylinux2014_x86_64.whl"));
    assert_eq!(new, [&["cache".to_owned(), "cache/wheels".to_owned()], &wheels[..]].concat());
    let (code, said) = run(&place);
    assert_eq!((code, said.matches("(known before)").count()), (Some(0), 3), "{said}");
}
