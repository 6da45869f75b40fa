//! What `offsetdb lookup` prints, as `golden/lookup/*.txt` has it; `UPDATE_GOLDEN=1` rewrites them. Numbers that the compiler decides
//! are written as `0x…`, `N`, `ID`.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use tempfile::TempDir;

/// A folder with a library in several states.
struct Place {
    folder: TempDir,
}

const SOURCE: &str = "
struct inner { int x; long y; };
struct outer { char begin; struct inner in; unsigned bit: 3; };
struct outer shown;
__attribute__((visibility(\"default\"))) int lcc_open(int x) { return x * 3 + (int)sizeof(shown); }
__attribute__((noinline)) static int hidden(int x) { __asm__ volatile(\"\"); return x + 7; }
__attribute__((visibility(\"default\"))) int lcc_close(int x) { return hidden(x) * 5; }
int old_one(int x) { return x - 1; }
int new_one(int x) { return x - 2; }
__asm__(\".symver old_one, lcc_version@OLD_1\");
__asm__(\".symver new_one, lcc_version@@NEW_2\");
static int first(int x) { return x - 3; }
static void *choose(void) { return first; }
__attribute__((visibility(\"default\"), ifunc(\"choose\"))) int lcc_chosen(int x);
";

impl Place {
    fn new() -> Place {
        let place = Place { folder: tempfile::tempdir().unwrap() };
        place.write("library.c", SOURCE.as_bytes());
        place.write("versions", b"OLD_1 { };\nNEW_2 { global: lcc_*; local: *; } OLD_1;\n");
        place.must(
            "gcc",
            &["-shared", "-fPIC", "-O1", "-g", "-Wl,--build-id=sha1", "-Wl,--version-script=versions"],
            "labelled.so",
        );
        place.copy("labelled.so", "plain.so");
        place.must_run("strip", &["--strip-debug", "plain.so"]);
        place.copy("labelled.so", "stripped.so");
        place.must_run("strip", &["stripped.so"]);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        std::fs::write(self.path(name), bytes).unwrap();
    }

    fn copy(&self, from: &str, to: &str) {
        self.write(to, &std::fs::read(self.path(from)).unwrap());
    }

    fn must(&self, program: &str, arguments: &[&str], out: &str) {
        self.must_run(program, &[arguments, &["library.c", "-o", out]].concat());
    }

    fn must_run(&self, program: &str, arguments: &[&str]) {
        let status = Command::new(program).args(arguments).current_dir(self.folder.path()).status().unwrap();
        assert!(status.success(), "{program} {arguments:?}");
    }

    /// Exit code, standard output, standard error.
    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_offsetdb"));
        for variable in ["RUST_LOG", "OFFSETDB", "DEBUGINFOD_URLS"] {
            command.env_remove(variable);
        }
        command.env("HOME", self.folder.path()).env_remove("XDG_CACHE_HOME").env_remove("DEBUGINFOD_CACHE_PATH");
        let Output { status, stdout, stderr } =
            command.current_dir(self.folder.path()).args(arguments).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (status.code().unwrap(), text(stdout), text(stderr))
    }

    /// Adds what a command prints to a golden text.
    fn told(&self, golden: &mut String, arguments: &[&str]) {
        let (code, out, error) = self.run(arguments);
        *golden += &format!(
            "$ offsetdb {}\n{}{}[exit {code}]\n\n",
            arguments.join(" "),
            self.normal(&out),
            self.normal(&error)
        );
    }

    fn normal(&self, text: &str) -> String {
        let text = text.replace(&self.folder.path().display().to_string(), "FOLDER");
        text.lines().map(|line| normal(line) + "\n").collect()
    }

    /// Where a function begins in a file, by nm.
    fn offset(&self, file: &str, function: &str) -> u64 {
        let output = Command::new("nm").arg(self.path(file)).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let line = said.lines().find(|line| line.ends_with(&format!(" {function}"))).unwrap();
        u64::from_str_radix(line.split(' ').next().unwrap(), 16).unwrap()
    }
}

/// Without what differs between compilers: addresses, build-ids, sizes of files, counts of names; columns of spaces as one.
fn normal(line: &str) -> String {
    let indent = line.len() - line.trim_start().len();
    let mut words = Vec::new();
    for word in line.split_whitespace() {
        let body = word.trim_end_matches([',', ':', ';']);
        let end = &word[body.len()..];
        let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let plain = match body {
            _ if body.starts_with("0x") => "0x…".to_owned(),
            _ if body.starts_with("gnu:") => "gnu:ID".to_owned(),
            _ if body.len() == 40 && body.bytes().all(|byte| byte.is_ascii_hexdigit()) => "ID".to_owned(),
            _ => body.to_owned(),
        };
        let is_count = words.last().is_some_and(|before: &String| before.starts_with('.')) && is_digits(body);
        words.push(if is_count { "N".to_owned() } else { plain } + end);
        if let [.., size, unit] = words.as_mut_slice()
            && ["bytes,", "kB,"].contains(&unit.as_str())
            && is_digits(size)
        {
            *size = "N".to_owned();
        }
    }
    " ".repeat(indent) + &words.join(" ")
}

#[track_caller]
fn golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/lookup").join(format!("{name}.txt"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, expected, "{} (UPDATE_GOLDEN=1 rewrites it)", path.display());
}

#[test]
fn files_tell_what_they_are_and_what_is_not_known() {
    let place = Place::new();
    let mut told = String::new();
    place.told(&mut told, &["lookup", "stripped.so"]);
    place.told(&mut told, &["lookup", "stripped.so", "hidden"]);
    place.told(&mut told, &["lookup", "plain.so"]);
    place.told(&mut told, &["lookup", "plain.so", "hidden", "lcc_chosen", "nothing", "outer.in.y"]);
    place.told(&mut told, &["lookup", "labelled.so", "outer.in.y", "outer.bit", "outer.none", "other.x"]);
    golden("files", &told);
}

#[test]
fn versions_of_symbols_are_names() {
    let place = Place::new();
    let mut told = String::new();
    let names = ["lcc_version", "lcc_version@OLD_1", "lcc_version@@OLD_1", "lcc_version@NEW_2", "lcc_version@@NEW_2"];
    place.told(&mut told, &[&["lookup", "stripped.so"], &names[..]].concat());
    golden("versions", &told);
    // the default one is what programs are linked with today
    let (_, out, _) = place.run(&["lookup", "stripped.so", "lcc_version", "lcc_version@OLD_1"]);
    let (old, new) = (place.offset("labelled.so", "old_one"), place.offset("labelled.so", "new_one"));
    let offsets: Vec<String> =
        out.lines().filter_map(|line| Some(line.trim_start().split_once(' ')?.0.to_owned())).collect();
    assert!(offsets.ends_with(&[format!("{new:#x}"), format!("{old:#x}")]), "{out}");
}

#[test]
fn the_database_answers_and_build_ids_do() {
    let place = Place::new();
    let mut told = String::new();
    place.run(&["-d", "db.sqlite", "import", "plain.so", "--function", "hidden", "--function", "lcc_open"]);
    place.told(&mut told, &["-d", "db.sqlite", "lookup", "stripped.so"]);
    place.told(&mut told, &["-d", "db.sqlite", "lookup", "stripped.so", "hidden", "first"]);
    // of the names of a file that is not known, those that the database has of others
    place.must("gcc", &["-shared", "-fPIC", "-O2", "-Wl,--build-id=sha1", "-Wl,--version-script=versions"], "other.so");
    place.told(&mut told, &["-d", "db.sqlite", "lookup", "other.so"]);
    // somebody changed the code
    let mut bytes = std::fs::read(place.path("stripped.so")).unwrap();
    let at = place.offset("labelled.so", "old_one") as usize;
    bytes[at] ^= 1;
    place.write("changed.so", &bytes);
    place.told(&mut told, &["-d", "db.sqlite", "lookup", "changed.so", "hidden"]);
    let (_, json, _) = place.run(&["-d", "db.sqlite", "lookup", "stripped.so", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let key = json[0]["key"].as_str().unwrap();
    let id = key.trim_start_matches("gnu:").split('/').next().unwrap().to_owned();
    place.told(&mut told, &["-d", "db.sqlite", "lookup", "--build-id", &id]);
    place.told(&mut told, &["-d", "db.sqlite", "lookup", "--build-id", &id, "hidden", "nothing"]);
    place.told(&mut told, &["-d", "db.sqlite", "lookup", "--build-id", "abcd"]);
    place.told(&mut told, &["-d", "db.sqlite", "lookup", "--build-id", "xyz"]);
    // where debuginfod's client has the file itself, its segments tell the offset
    place.copy("stripped.so", &format!(".cache/debuginfod_client/{id}/executable"));
    place.told(&mut told, &["-d", "db.sqlite", "lookup", "--build-id", &id, "hidden"]);
    golden("database", &told.replace(&id, "ID"));
}

#[test]
fn a_stripped_module_of_python_is_told_how_to_be_pulled() {
    let place = Place::new();
    let mut told = String::new();
    let module = "lib/site-packages/grpc/_cython/cygrpc.cpython-311-x86_64-linux-gnu.so";
    place.copy("stripped.so", module);
    let record = "grpc/_cython/cygrpc.cpython-311-x86_64-linux-gnu.so,sha256=x,1\n";
    place.write("lib/site-packages/grpcio-1.60.1.dist-info/RECORD", record.as_bytes());
    place.told(&mut told, &["lookup", module, "SSL_write"]);
    // which pull does not look for
    place.told(&mut told, &["lookup", module, "other"]);
    golden("module", &told);
}

/// `split()` of C++, as GCC splits a function: its symbol, and its part's.
#[test]
fn of_a_function_that_was_split_the_part_is_told() {
    let place = Place::new();
    let code = "int part(int n) __asm__(\"_Z5spliti.part.0\"); int part(int n) { return n; }\n\
        int whole(int n) __asm__(\"_Z5spliti\"); int whole(int n) { return n ? part(n) : 0; }\n";
    place.write("split.c", code.as_bytes());
    place.must_run("gcc", &["-shared", "-fPIC", "-O1", "-Wl,--build-id=sha1", "-o", "split.so", "split.c"]);
    let names = ["split", "split.part", "split.part.0", "split.part.1", "_Z5spliti.part.0"];
    let mut told = String::new();
    place.told(&mut told, &[&["lookup", "split.so"][..], &names].concat());
    let (code, ..) = place.run(&["-d", "db.sqlite", "import", "split.so"]);
    assert_eq!(code, 0);
    place.must_run("strip", &["-R", ".dynsym", "split.so"]);
    place.must_run("objcopy", &["--strip-all", "split.so"]);
    place.told(&mut told, &[&["-d", "db.sqlite", "lookup", "split.so"][..], &names].concat());
    place.told(&mut told, &["-d", "db.sqlite", "explain", "split.so", "split"]);
    golden("split", &told);
}

#[test]
fn fields_of_stripped_files_are_their_versions() {
    let place = Place::new();
    let mut told = String::new();
    place.run(&["-d", "db.sqlite", "import", "plain.so", "--function", "hidden"]);
    let (_, export, _) = place.run(&["-d", "db.sqlite", "export"]);
    let layout = |configuration: &str, at: u32| {
        format!(
            "{{\"layout\":{{\"ecosystem\":\"file\",\"package\":\"plain.so\",\"version\":\"\",\"machine\":\"{}\",\"configuration\":\"{configuration}\",\
             \"name\":\"outer\",\"size\":32,\"source\":\"compiled\",\"fields\":[{{\"path\":\"in.y\",\"offset_bits\":{at},\"size_bits\":64}}]}}}}\n",
            std::env::consts::ARCH
        )
    };
    place.write("one.jsonl", (export.clone() + &layout("NDEBUG", 128)).as_bytes());
    place.run(&["-d", "one.sqlite", "merge", "one.jsonl"]);
    place.told(&mut told, &["-d", "one.sqlite", "lookup", "stripped.so", "outer.in.y", "outer.in.x", "hidden"]);
    place.write("two.jsonl", (export + &layout("NDEBUG", 128) + &layout("", 192)).as_bytes());
    place.run(&["-d", "two.sqlite", "merge", "two.jsonl"]);
    place.told(&mut told, &["-d", "two.sqlite", "lookup", "stripped.so", "outer.in.y"]);
    golden("fields", &told);
}

/// A process that has a file mapped to execute, from an offset on.
struct Mapping(Child);

impl Mapping {
    fn new(place: &Place, file: &str, offset: u64) -> Mapping {
        let source = "#include <fcntl.h>\n#include <stdio.h>\n#include <stdlib.h>\n#include <sys/mman.h>\n#include <unistd.h>\n\
            int main(int argc, char **argv) { int fd = open(argv[1], O_RDONLY);\n\
            void *at = mmap(0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, strtol(argv[2], 0, 10));\n\
            puts(at == MAP_FAILED ? \"no\" : \"up\"); fflush(stdout); pause(); }\n";
        place.write("map.c", source.as_bytes());
        place.must_run("gcc", &["map.c", "-o", "map"]);
        let mut command = Command::new(place.path("map"));
        command.arg(place.path(file)).arg(offset.to_string()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut said = [0; 3];
        child.stdout.as_mut().unwrap().read_exact(&mut said).unwrap();
        assert_eq!(&said, b"up\n");
        Mapping(child)
    }

    fn pid(&self) -> String {
        self.0.id().to_string()
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn json(place: &Place, arguments: &[&str], code: i32) -> serde_json::Value {
    let (got, out, error) = place.run(&[arguments, &["--json"]].concat());
    assert_eq!(got, code, "{arguments:?}: {out}{error}");
    serde_json::from_str(&out).unwrap()
}

#[test]
fn what_processes_have_is_looked_into() {
    let place = Place::new();
    let mapping = Mapping::new(&place, "stripped.so", 0);
    let pid = mapping.pid();
    let found = json(&place, &["lookup", "--pid", &pid, "lcc_open"], 0);
    let expected = place.offset("labelled.so", "lcc_open");
    assert_eq!(found.as_array().unwrap().len(), 1, "{found}");
    assert_eq!(found[0]["file"], place.path("stripped.so").display().to_string());
    assert_eq!(found[0]["functions"][0]["offset"], expected);
    assert_eq!(found[0]["processes"][0], mapping.0.id());
    assert!(found[0]["probe"].is_null(), "its name leads to it: {found}");
    json(&place, &["lookup", "--pid", &pid, "no_such_function"], 1);
    // no server is asked for each library that does not have it
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    server.set_nonblocking(true).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_offsetdb"));
    command.env("DEBUGINFOD_URLS", format!("http://{}", server.local_addr().unwrap())).env("HOME", place.folder.path());
    let output = command.env_remove("OFFSETDB").args(["lookup", "--pid", &pid, "no_such_function"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(server.accept().is_err(), "it was asked");
    // without names, what is known
    json(&place, &["lookup", "--pid", &pid], 1);
    place.run(&["-d", "db.sqlite", "import", "plain.so", "--function", "hidden"]);
    let found = json(&place, &["-d", "db.sqlite", "lookup", "--pid", &pid], 0);
    assert_eq!(found[0]["functions"][0]["offset"], place.offset("labelled.so", "hidden"));
    assert_eq!(place.run(&["lookup", "--pid", "4194304999"]).0, 2);
}

#[test]
fn root_files_that_were_deleted_are_read_by_their_mappings() {
    let place = Place::new();
    let mapping = Mapping::new(&place, "stripped.so", 0);
    std::fs::remove_file(place.path("stripped.so")).unwrap();
    // another file takes its name
    place.copy("plain.so", "stripped.so");
    if !Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n") {
        eprintln!("skipped: needs root");
        return;
    }
    let found = json(&place, &["lookup", "--pid", &mapping.pid(), "lcc_open"], 0);
    assert_eq!(
        (&found[0]["is_deleted"], &found[0]["functions"][0]["offset"]),
        (&true.into(), &place.offset("labelled.so", "lcc_open").into())
    );
    assert!(found[0]["probe"].as_str().unwrap().contains("/map_files/"), "{found}");
}

#[test]
fn libraries_of_an_apk_are_told_where_they_are_in_it() {
    let place = Place::new();
    let mut archive = zip::ZipWriter::new(std::fs::File::create(place.path("app.apk")).unwrap());
    let stored = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, options) in [
        ("lib/one/libaligned.so", stored.with_alignment(4096)),
        ("lib/one/libloose.so", stored),
        ("lib/one/libpacked.so", stored.compression_method(zip::CompressionMethod::Deflated)),
    ] {
        archive.start_file(name, options).unwrap();
        archive.write_all(&std::fs::read(place.path("plain.so")).unwrap()).unwrap();
    }
    archive.finish().unwrap();
    let inside = place.offset("labelled.so", "lcc_open");
    let bytes = std::fs::read(place.path("app.apk")).unwrap();
    let found = json(&place, &["lookup", "app.apk!/lib/one/libaligned.so", "lcc_open"], 0);
    let begin = found[0]["begin"].as_u64().unwrap();
    assert_eq!(
        (found[0]["probe"].as_str(), begin % 4096, &bytes[begin as usize..][..4]),
        (Some("app.apk"), 0, &b"\x7fELF"[..])
    );
    assert_eq!(found[0]["functions"][0]["offset"], begin + inside);
    // those that are unpacked before they are loaded
    for name in ["app.apk!lib/one/libloose.so", "app.apk!/lib/one/libpacked.so"] {
        let found = json(&place, &["lookup", name, "lcc_open"], 0);
        assert_eq!(
            (&found[0]["begin"], &found[0]["functions"][0]["offset"]),
            (&serde_json::Value::Null, &inside.into())
        );
    }
    assert_eq!(json(&place, &["lookup", "app.apk", "lcc_open"], 0).as_array().unwrap().len(), 3);
    let mut told = String::new();
    place.told(&mut told, &["lookup", "app.apk!/lib/one/libaligned.so", "lcc_open"]);
    place.told(&mut told, &["lookup", "app.apk!/lib/one/libnone.so", "lcc_open"]);
    place.told(&mut told, &["lookup", "plain.so!/lib/one/libnone.so", "lcc_open"]);
    golden("apk", &told);

    // scan finds all of a folder's, and those that are mapped
    place.run(&["-d", "db.sqlite", "import", "plain.so", "--function", "hidden"]);
    place.write("folder/app.apk", &bytes);
    let found = json(&place, &["-d", "db.sqlite", "scan", "folder"], 0);
    assert!(found.as_array().unwrap().iter().all(|one| one["known"] == true), "{found}");
    assert_eq!(found.as_array().unwrap().len(), 3, "{found}");
    let mapping = Mapping::new(&place, "app.apk", begin);
    let found = json(&place, &["-d", "db.sqlite", "scan", "--pid", &mapping.pid()], 0);
    let known: Vec<_> = found.as_array().unwrap().iter().filter(|one| one["known"] == true).collect();
    assert_eq!(known.len(), 1, "{found}");
    assert!(known[0]["file"].as_str().unwrap().ends_with("app.apk!/lib/one/libaligned.so"));
    let found = json(&place, &["lookup", "--pid", &mapping.pid(), "lcc_open"], 0);
    assert_eq!(found.as_array().unwrap().len(), 1, "only one is mapped: {found}");
    assert!(found[0]["file"].as_str().unwrap().ends_with("app.apk!/lib/one/libaligned.so"));
    assert_eq!(found[0]["functions"][0]["offset"], begin + inside);
}
