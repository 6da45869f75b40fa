//! The command as its users run it: on libraries that are compiled here, with the database in a folder of the test's.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

/// A folder with two builds of a library: `labelled.so`, and `stripped.so` of the next version; and the stripped one's twin with names.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Place {
        let place = Place { folder: tempfile::tempdir().unwrap() };
        place.compile("labelled.so", &["-O2", "-DVERSION=1"]);
        place.compile("twin.so", &["-O2", "-DVERSION=2"]);
        place.compile("source.so", &["-O3", "-DVERSION=2"]);
        std::fs::copy(place.path("twin.so"), place.path("stripped.so")).unwrap();
        assert!(Command::new("strip").arg(place.path("stripped.so")).status().unwrap().success());
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn compile(&self, name: &str, arguments: &[&str]) {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../identify/tests/fixtures/store.c");
        let mut command = Command::new("gcc");
        command.args(["-shared", "-fPIC", "-fvisibility=hidden", "-Wl,--build-id=sha1"]).args(arguments);
        assert!(command.arg("-o").arg(self.path(name)).arg(source).status().unwrap().success());
    }

    /// Runs the command in the folder, with its database: exit code, standard output, standard error.
    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_offsetdb"));
        command.current_dir(self.folder.path()).env("OFFSETDB", "db.sqlite").env_remove("RUST_LOG").args(arguments);
        let Output { status, stdout, stderr } = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (status.code().unwrap(), text(stdout), text(stderr))
    }

    fn check(&self, arguments: &[&str], code: i32, says: &str) -> String {
        let (got, out, error) = self.run(arguments);
        assert_eq!(got, code, "{arguments:?}: {out}{error}");
        let all = format!("{out}{error}");
        assert!(all.contains(says), "{arguments:?}: {all}");
        out
    }

    /// Where a function of the twin begins, by nm.
    fn offset(&self, function: &str) -> String {
        let output = Command::new("nm").arg(self.path("twin.so")).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let line = said.lines().find(|line| line.ends_with(&format!(" {function}"))).unwrap();
        // gcc's libraries have their code at its offset
        format!("{:#x}", u64::from_str_radix(line.split(' ').next().unwrap(), 16).unwrap())
    }
}

#[test]
fn a_labelled_file_needs_no_database() {
    let place = Place::new();
    let offset = place.offset("store_get");
    let out = place.run(&["lookup", "twin.so", "store_get"]).1;
    assert!(out.is_empty(), "a named database has to be there");
    place.check(&["import", "labelled.so"], 0, "labelled.so: ");
    place.check(&["lookup", "twin.so", "store_get"], 0, &format!("{offset}  store_get  labelled, .symtab"));
    place.check(
        &["lookup", "twin.so", "nothing"],
        1,
        "unknown  nothing  none of its names, and the file is not in the database",
    );
}

#[test]
fn a_stripped_file_is_identified_and_then_known() {
    let place = Place::new();
    place.check(&["import", "labelled.so"], 0, "");
    place.check(&["lookup", "stripped.so"], 1, "not in the database");
    place.check(&["identify", "stripped.so", "--reference", "labelled.so", "--compiled", "source.so"], 0, "verified, ");
    let offset = place.offset("store_remove");
    place.check(
        &["lookup", "stripped.so", "store_remove"],
        0,
        &format!("{offset}  store_remove  verified by compiled and lineage"),
    );
    place.check(&["explain", "stripped.so", "store_remove"], 0, "lineage: labelled.so ");
    // the twin is the same build
    place.check(&["explain", "twin.so", "store_remove"], 0, "verified by identified");
    let json = place.check(&["lookup", "stripped.so", "store_remove", "--json"], 0, "\"offset\"");
    let parsed: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(format!("{:#x}", parsed[0]["functions"][0]["offset"].as_u64().unwrap()), offset);
}

#[test]
fn one_witness_is_not_enough() {
    let place = Place::new();
    place.check(&["identify", "stripped.so", "--reference", "labelled.so"], 1, "0 verified, ");
    place.check(&["lookup", "stripped.so", "store_remove"], 1, "there is one witness only");
    place.check(&["explain", "stripped.so", "store_remove"], 0, "probable by identified");
}

#[test]
fn the_database_goes_through_text() {
    let place = Place::new();
    place.check(&["import", "labelled.so", "twin.so", "--function", "store_get"], 0, "labelled.so: 1 names");
    place.check(&["export", "-o", "one.jsonl"], 0, "");
    place.check(&["-d", "other.sqlite", "merge", "one.jsonl"], 0, "one.jsonl: 2 files, 2 facts, 0 structs");
    let (one, other) = (place.run(&["export"]).1, place.run(&["-d", "other.sqlite", "export"]).1);
    assert_eq!(one, other);
    assert_eq!(one, std::fs::read_to_string(place.path("one.jsonl")).unwrap());
    place.check(&["stats"], 0, "2 files, 2 facts, 0 structs");
    std::fs::write(place.path("wrong.jsonl"), "{\"file\":{}}\n").unwrap();
    place.check(&["merge", "wrong.jsonl"], 2, "wrong.jsonl: line 1: missing field `key`");
}

#[test]
fn a_wheel_is_looked_into() {
    let place = Place::new();
    let mut archive = zip::ZipWriter::new(std::fs::File::create(place.path("one.whl")).unwrap());
    let options = zip::write::SimpleFileOptions::default();
    for (name, bytes) in
        [("pkg/twin.so", std::fs::read(place.path("twin.so")).unwrap()), ("pkg/text.so", b"text".to_vec())]
    {
        archive.start_file(name, options).unwrap();
        archive.write_all(&bytes).unwrap();
    }
    archive.finish().unwrap();
    place.check(&["import", "labelled.so"], 0, "");
    let offset = place.offset("store_get");
    place.check(&["lookup", "one.whl", "store_get"], 0, &format!("{offset}  store_get"));
    let whole = std::fs::read(place.path("one.whl")).unwrap();
    std::fs::write(place.path("cut.whl"), &whole[..whole.len() / 2]).unwrap();
    place.check(&["lookup", "cut.whl", "store_get"], 2, "cut.whl: ");
}

#[test]
fn what_cannot_be_read_is_said() {
    let place = Place::new();
    let twin = std::fs::read(place.path("twin.so")).unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(place.path(name), bytes).unwrap();
    write("empty", b"");
    write("text", b"hello");
    write("header", &twin[..40]);
    let mut far = twin.clone();
    far[0x28..0x30].copy_from_slice(&u64::MAX.to_le_bytes());
    write("far", &far);
    std::fs::File::create(place.path("sparse")).unwrap().set_len(4 << 30).unwrap();
    place.check(&["import", "labelled.so"], 0, "");
    for (name, says) in [
        ("missing", "missing: No such file"),
        (".", ".: no regular file"),
        ("empty", "empty: it is empty"),
        ("text", "text: neither an ELF file nor a wheel, zip, APK or Debian package"),
        ("sparse", "sparse: neither an ELF file"),
        ("header", "header: ELF header, offset 0x0: "),
        ("far", "far: section headers, offset 0xffffffffffffffff: "),
    ] {
        place.check(&["lookup", name, "main"], 2, says);
        place.check(&["import", name], 2, says);
        place.check(&["identify", name, "--reference", "labelled.so"], 2, says);
    }
    place.check(&["identify", "twin.so", "--reference", "stripped.so"], 2, "it has no names");
    place.check(&["identify", "twin.so"], 2, "by which builds?");
    place.check(&["-d", "nowhere/db", "stats"], 2, "unable to open");
    place.check(&["-d", "labelled.so", "stats"], 2, "not a database");
}

#[test]
fn import_takes_names_of_a_debug_file() {
    let place = Place::new();
    let run = |program: &str, arguments: &[&str]| {
        let status = Command::new(program).args(arguments).current_dir(place.folder.path()).status().unwrap();
        assert!(status.success(), "{program} {arguments:?}");
    };
    run("objcopy", &["--only-keep-debug", "twin.so", "twin.debug"]);
    run("objcopy", &["--strip-all", "--add-gnu-debuglink=twin.debug", "twin.so", "linked.so"]);
    run("objcopy", &["--only-keep-debug", "labelled.so", "other.debug"]);
    let import = ["import", "linked.so", "--function", "store_put"];
    std::fs::rename(place.path("twin.debug"), place.path("kept")).unwrap();
    std::fs::rename(place.path("other.debug"), place.path("twin.debug")).unwrap();
    place.check(&import, 1, "twin.debug: no debug file of it: the debug file's build-id is");
    std::fs::rename(place.path("kept"), place.path("twin.debug")).unwrap();
    place.check(&import, 0, "linked.so: names of ");
    place.check(&["lookup", "linked.so", "store_put"], 0, &place.offset("store_put"));
}

#[test]
fn layout_tells_fields() {
    let place = Place::new();
    let source = "struct inner { int x; short y; };\n\
                  struct outer { char c; struct inner in; unsigned low : 3, high : 5; struct later *p; } shown;\n";
    std::fs::write(place.path("fields.c"), source).unwrap();
    let run = |program: &str, arguments: &[&str]| {
        let status = Command::new(program).args(arguments).current_dir(place.folder.path()).status().unwrap();
        assert!(status.success(), "{program} {arguments:?}");
    };
    run("gcc", &["-g", "-shared", "-fPIC", "-Wl,--build-id", "-o", "fields.so", "fields.c"]);
    run("objcopy", &["--only-keep-debug", "fields.so", "fields.debug"]);
    run("objcopy", &["--strip-all", "--add-gnu-debuglink=fields.debug", "fields.so", "bare.so"]);
    let expected = "struct outer: 24 bytes, in 1 unit\n  \
                    0     1       c     char\n  \
                    4     8       in    inner\n  \
                    12:0  3 bits  low   unsigned int\n  \
                    12:3  5 bits  high  unsigned int\n  \
                    16    8       p     later *\n";
    let plain = |text: String| text.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>();
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    for file in ["fields.so", "bare.so"] {
        let out = place.check(&["layout", file, "outer"], 0, "");
        assert_eq!(words(&out), words(expected), "{file}: {:?}", plain(out));
    }
    let out = place.check(&["layout", "fields.so", "outer.in", "--all", "--json"], 0, "");
    let told: serde_json::Value = serde_json::from_str(&out).unwrap();
    let paths = told[0]["fields"].as_array().unwrap().iter().map(|field| (&field["path"], &field["offset_bits"]));
    let paths: Vec<String> = paths.map(|(path, bits)| format!("{path} {bits}")).collect();
    assert_eq!(paths, [r#""in" 32"#, r#""in.x" 32"#, r#""in.y" 64"#]);
    place.check(&["layout", "fields.so", "outer.none"], 1, "outer.none: no field none in any of 1 layouts");
    place.check(&["layout", "fields.so", "later"], 1, "later is declared, but defined in no unit of this file");
    place.check(&["layout", "fields.so", "nothing", "inner"], 1, "no struct, class or union of this name: nothing");
    place.check(&["layout", "stripped.so", "outer"], 2, "no debug information");
}

#[test]
fn scan_tells_what_processes_have() {
    let place = Place::new();
    place.check(&["import", "twin.so"], 0, "names");
    let out = place.check(&["scan", "."], 0, "not known");
    let line =
        |name: &str| out.lines().find(|line| line.contains(name)).unwrap_or_else(|| panic!("{name}: {out}")).to_owned();
    assert!(line("twin.so").contains("functions of twin.so"), "{out}");
    assert!(line("labelled.so").ends_with("not known"), "{out}");
    // stripped, it is the same build
    assert!(line("stripped.so").contains("functions of twin.so"), "{out}");

    // a process that has it mapped, and one that has it no more by its name
    let program = place.path("program.c");
    std::fs::write(&program, "#include <dlfcn.h>\n#include <stdio.h>\n#include <unistd.h>\n\
        int main(int argc, char **argv) { puts(dlopen(argv[1], RTLD_NOW) ? \"up\" : dlerror()); fflush(stdout); pause(); }\n")
    .unwrap();
    let built = Command::new("gcc").arg("-o").arg(place.path("program")).arg(&program).arg("-ldl").status().unwrap();
    assert!(built.success());
    std::fs::copy(place.path("stripped.so"), place.path("mapped.so")).unwrap();
    let mut child = Command::new(place.path("program"))
        .arg(place.path("mapped.so"))
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = [0; 3];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut said).unwrap();
    assert_eq!(&said, b"up\n");
    let pid = child.id().to_string();
    let (code, out, error) = place.run(&["scan", "--pid", &pid]);
    std::fs::remove_file(place.path("mapped.so")).unwrap();
    let (after, json, _) = place.run(&["scan", "--pid", &pid, "--json"]);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(code, 0, "{out}{error}");
    let line = out.lines().find(|line| line.contains("mapped.so")).unwrap();
    assert!(line.contains("functions of twin.so") && line.contains(&format!("process {pid}")), "{out}");
    assert!(out.lines().any(|line| line.contains("libc.so.6") && line.contains("not known")), "{out}");
    // deleted files are read by the mapping, which takes rights
    if is_root() {
        assert_eq!(after, 0, "{json}");
        let files: serde_json::Value = serde_json::from_str(&json).unwrap();
        let mapped = files.as_array().unwrap().iter().find(|file| file["is_deleted"] == true).unwrap();
        assert_eq!((&mapped["known"], mapped["processes"][0].as_u64()), (&true.into(), Some(u64::from(child.id()))));
    }
    place.check(&["scan", "--pid", "4194304999"], 2, "");
    place.check(&["scan", "no-such-folder"], 2, "no-such-folder");
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n")
}
