//! `identify --package`: a file is told by builds of a package that are in the cache and in the database. They are made here.

use image::Image;
use offset_db::{Confidence, Fingerprint, Method, Origin, Store};
use offsetdb::facts::labelled;
use offsetdb::package::recipe::{Recipe, Version};
use offsetdb::relatives::signatures;
use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

const MEMBER: &str = "grpc/_cython/cygrpc.cpython-310-x86_64-linux-gnu.so";

/// Functions of the fixture, and what a recipe looks for.
const NAMES: [(&str, &str); 3] =
    [("store_get", "SSL_read"), ("store_put", "SSL_write"), ("store_remove", "SSL_do_handshake")];

/// A library of the fixture, with a text and more code in front of it.
fn library(folder: &Path, name: &str, text: &str, arguments: &[&str]) -> PathBuf {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../identify/tests/fixtures/store.c");
    let (path, front) = (folder.join(name), folder.join("front.c"));
    std::fs::write(&front, format!("int front(int x) {{ return x * 3; }} const char version[] = \"{text}\";")).unwrap();
    let mut command = Command::new("gcc");
    command.args(["-w", "-shared", "-fPIC", "-O2", "-DVERSION=2", "-Wl,--build-id=sha1"]).args(arguments);
    command.args(NAMES.map(|(from, to)| format!("-D{from}={to}"))).arg("-o").arg(&path).arg(front).arg(fixture);
    assert!(command.status().unwrap().success());
    path
}

/// A cache with a wheel of grpcio 1.60.1, a database that knows its functions, and a stripped file.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new(text: &str) -> Place {
        let folder = tempfile::tempdir().unwrap();
        let path = library(folder.path(), "known.so", " 1.60.1", &[]);
        let bytes = std::fs::read(&path).unwrap();
        let image = Image::parse(&bytes).unwrap();
        let wanted: BTreeSet<String> = NAMES.iter().map(|(_, name)| (*name).to_owned()).collect();
        let mut facts = labelled(&image, &wanted).unwrap();
        assert_eq!(facts.len(), NAMES.len());
        for fact in &mut facts {
            (fact.method, fact.confidence) = (Method::Identified, Confidence::Verified);
        }
        let mut store = Store::create(&folder.path().join("db.sqlite")).unwrap();
        let (recipe, version) = (Recipe::of("grpcio", None).unwrap(), Version::parse("1.60.1"));
        let origin = Origin {
            ecosystem: "pypi".to_owned(),
            package: "grpcio".to_owned(),
            version: "1.60.1".to_owned(),
            tag: "cp310-cp310".to_owned(),
            platform: "manylinux_2_17_x86_64".to_owned(),
            path: MEMBER.to_owned(),
        };
        store.add(&Fingerprint::of(&image), &[origin], &facts).unwrap();
        let model = identify::Model::of(&image);
        let code = signatures(&recipe, &version, &model, image.machine(), &facts);
        assert_eq!(code.len(), NAMES.len());
        store.add_signatures(&code).unwrap();
        let wheels = folder.path().join("cache/wheels");
        std::fs::create_dir_all(&wheels).unwrap();
        let wheel = wheels.join("grpcio-1.60.1-cp310-cp310-manylinux_2_17_x86_64.whl");
        let mut zip = zip::ZipWriter::new(std::fs::File::create(wheel).unwrap());
        zip.start_file(MEMBER, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(&bytes).unwrap();
        zip.finish().unwrap();
        library(folder.path(), "stripped.so", text, &["-s", "-Wl,-Bsymbolic", "-Wl,-z,max-page-size=65536"]);
        Place { folder }
    }

    /// Exit code, output and errors.
    fn identify(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_offsetdb"));
        command.current_dir(self.folder.path()).env_remove("RUST_LOG");
        command.args(["-d", "db.sqlite", "identify", "stripped.so", "--no-compile", "--cache", "cache"]);
        let output = command.args(arguments).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    }
}

/// One witness is not enough, so the exit code is 1.
fn check(text: &str, arguments: &[&str], expected: &str) {
    let (code, said, _) = Place::new(text).identify(arguments);
    let mut lines = said.lines();
    assert_eq!((code, lines.next()), (Some(1), Some(expected)), "{said}");
    let found: Vec<&str> = lines.clone().filter(|line| line.starts_with("probable")).collect();
    for (_, name) in NAMES {
        assert!(found.iter().any(|line| line.contains(name) && line.contains("grpcio 1.60.1 cp310-cp310")), "{said}");
    }
    assert_eq!(lines.next_back(), Some("0 verified, 3 probable"));
}

#[test]
fn a_version_is_told_by_a_text() {
    check("1.60.1 ", &["--package", "grpcio"], "grpcio 1.60.1: a text in the file is this version");
}

#[test]
fn a_version_is_told_by_code() {
    check("other", &["--package", "grpcio"], "grpcio 1.60.1: 3 of its functions are in the file");
}

#[test]
fn a_version_is_asked_for() {
    check("other", &["--package", "grpcio", "--package-version", "1.60.1"], "grpcio 1.60.1: as asked");
}

#[test]
fn what_cannot_be_told_is_said() {
    let place = Place::new("other");
    let check = |arguments: &[&str], expected: &str| {
        let (code, said, error) = place.identify(arguments);
        assert_eq!((code, said.as_str()), (Some(2), ""));
        assert!(error.contains(expected), "{error}");
    };
    check(&["--package", "nothing"], "nothing");
    check(&["--package", "go"], "go is a package of debian; those of PyPI can be asked for");
    check(&["--package", "grpcio", "--package-version", "1.2.3"], "grpcio 1.2.3: the database knows no file of it");
    let why = "neither a text in it nor a function tells which version of cryptography it is";
    check(&["--package", "cryptography"], why);
}
