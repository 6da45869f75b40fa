//! Bad input of every kind, to every subcommand: an error that names it and exit code 2, or an answer; and what the database had, it has.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A folder with a labelled library, `labelled.so`, and a database that knows it, `db.sqlite`.
struct Place {
    folder: TempDir,
}

/// What a run may take that is given something it cannot wait for, or that is large and empty.
const PATIENCE: Duration = Duration::from_secs(20);

impl Place {
    fn new() -> Place {
        let place = Place { folder: tempfile::tempdir().unwrap() };
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../identify/tests/fixtures/store.c");
        place.shell(&format!(
            "gcc -shared -fPIC -O2 -g -DVERSION=1 -Wl,--build-id=sha1 -o labelled.so {}",
            source.display()
        ));
        place.check(&["import", "labelled.so"], 0, "names");
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path(name), bytes).unwrap();
    }

    fn shell(&self, line: &str) {
        let status = Command::new("sh").args(["-ec", line]).current_dir(self.folder.path()).status().unwrap();
        assert!(status.success(), "{line}");
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_offsetdb"));
        command.current_dir(self.folder.path()).env("OFFSETDB", "db.sqlite");
        command.env_remove("RUST_LOG").env_remove("DEBUGINFOD_URLS").args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, arguments: &[&str]) -> (i32, String) {
        ended(arguments, self.command(arguments).spawn().unwrap())
    }

    #[track_caller]
    fn check(&self, arguments: &[&str], code: i32, says: &str) -> String {
        let (got, said) = self.run(arguments);
        assert_eq!(got, code, "{arguments:?}: {said}");
        assert!(said.contains(says), "{arguments:?}: {said}");
        said
    }

    /// An answer of any kind, but for a panic or a signal; an error names the file.
    #[track_caller]
    fn is_answered(&self, arguments: &[&str], file: &str) {
        let (code, said) = self.run(arguments);
        assert!((0..=2).contains(&code), "{arguments:?}: {code}: {said}");
        assert!(code != 2 || said.contains(file), "{arguments:?}: {said}");
    }

    fn export(&self) -> String {
        self.check(&["export"], 0, "")
    }
}

/// How it ended, and all that it said. Who takes too long is ended, and that is a failure.
#[track_caller]
fn ended(arguments: &[&str], mut child: Child) -> (i32, String) {
    let begin = Instant::now();
    let (pipes, said) = (child.stdout.take().zip(child.stderr.take()).unwrap(), std::sync::Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut all = Vec::new();
            let (mut out, mut error) = pipes;
            std::io::Read::read_to_end(&mut out, &mut all).unwrap();
            std::io::Read::read_to_end(&mut error, &mut all).unwrap();
            *said.lock().unwrap() = all;
        });
        while child.try_wait().unwrap().is_none() {
            if begin.elapsed() > PATIENCE {
                child.kill().unwrap();
                child.wait().unwrap();
                panic!("{arguments:?}: no end after {PATIENCE:?}");
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    });
    let status = child.wait().unwrap();
    let said = String::from_utf8_lossy(&said.into_inner().unwrap()).into_owned();
    let code = status.code().unwrap_or_else(|| panic!("{arguments:?}: signal {:?}: {said}", status.signal()));
    assert_ne!(code, 101, "{arguments:?}: {said}");
    (code, said)
}

/// Each way in which a subcommand takes a file.
fn uses(file: &str) -> [Vec<&str>; 7] {
    [
        vec!["lookup", file, "store_get"],
        vec!["-d", "other.sqlite", "import", file],
        vec!["identify", file, "--reference", "labelled.so", "-d", "other.sqlite"],
        vec!["identify", "labelled.so", "--reference", file, "-d", "other.sqlite"],
        vec!["identify", "labelled.so", "--compiled", file, "-d", "other.sqlite"],
        vec!["layout", file, "store"],
        vec!["explain", file, "store_get"],
    ]
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n")
}

#[test]
fn what_is_no_file_of_its_kind_is_named_by_every_subcommand() {
    let place = Place::new();
    place.shell("mkfifo pipe; ln -s loop loop; ln -s nowhere dangling; mkdir folder; : > empty; echo hello > text");
    place.shell("truncate -s 4G sparse");
    place.shell("{ printf 'PK\\003\\004'; head -c 100 labelled.so; } > zip.whl");
    for (name, says) in [
        ("pipe", "no regular file"),
        ("/dev/zero", "no regular file"),
        ("folder", "no regular file"),
        ("loop", "Too many levels of symbolic links"),
        ("dangling", "No such file"),
        ("missing", "No such file"),
        ("empty", "it is empty"),
        ("text", "neither an ELF file nor a wheel, zip, APK or Debian package"),
        ("sparse", "neither an ELF file nor a wheel, zip, APK or Debian package"),
        ("zip.whl", "the archive's directory"),
    ] {
        for arguments in uses(name) {
            let said = place.check(&arguments, 2, says);
            assert!(said.contains(name), "{said}");
        }
    }
}

#[test]
fn what_may_not_be_read_is_said() {
    let place = Place::new();
    place.shell("chmod 755 .; chmod 0 labelled.so; mkdir -m 0 shut; cp db.sqlite shut.sqlite; chmod 0 shut.sqlite");
    let check = |arguments: &[&str], says: &str| {
        let mut command = place.command(arguments);
        if is_root() {
            // nobody
            std::os::unix::process::CommandExt::uid(&mut command, 65534);
        }
        let (code, said) = ended(arguments, command.spawn().unwrap());
        assert_eq!(code, 2, "{arguments:?}: {said}");
        assert!(said.contains(says), "{arguments:?}: {said}");
    };
    check(&["lookup", "labelled.so", "f"], "labelled.so: Permission denied");
    check(&["scan", "shut"], "shut: Permission denied");
    check(&["-d", "shut.sqlite", "stats"], "shut.sqlite: unable to open");
    check(&["export", "-o", "new.jsonl"], "new.jsonl: Permission denied");
    check(&["-d", "new.sqlite", "merge", "labelled.so"], "new.sqlite: unable to open");
}

#[test]
fn files_cut_anywhere_are_answered() {
    let place = Place::new();
    let whole = std::fs::read(place.path("labelled.so")).unwrap();
    // each part of the header, then of the rest
    let lengths = [1, 4, 5, 6, 16, 18, 40, 52, 63, 64, 65].into_iter();
    for length in lengths.chain((1..16).map(|part| whole.len() * part / 16)).chain([whole.len() - 64, whole.len() - 1])
    {
        place.write("cut.so", &whole[..length]);
        for arguments in uses("cut.so") {
            place.is_answered(&arguments, "cut.so");
        }
    }
}

#[test]
fn headers_that_lie_are_answered() {
    let place = Place::new();
    let whole = std::fs::read(place.path("labelled.so")).unwrap();
    let at = |offset: usize| u64::from_le_bytes(whole[offset..offset + 8].try_into().unwrap()) as usize;
    let (segments, sections) = (at(32), at(40));
    let sections_end = whole.len() - (whole.len() - sections) % 64;
    // the fields of the header; of some segments and of each third section: their kind, place and size
    let header = [16, 18, 24, 32, 40, 52, 54, 56, 58, 60, 62];
    let of_segments = (segments..segments + 3 * 56).step_by(8);
    let of_sections =
        (sections..sections_end).step_by(3 * 64).flat_map(|at| [4, 16, 24, 32, 40, 56].map(|field| at + field));
    for field in header.into_iter().chain(of_segments).chain(of_sections) {
        for value in [u16::MAX, 1] {
            let mut wrong = whole.clone();
            wrong[field..field + 2].copy_from_slice(&value.to_le_bytes());
            place.write("wrong.so", &wrong);
            place.is_answered(&["lookup", "wrong.so", "store_get"], "wrong.so");
            place.is_answered(&["identify", "wrong.so", "--reference", "labelled.so", "-d", "o.sqlite"], "wrong.so");
        }
    }
}

#[test]
fn other_classes_and_byte_orders_are_answered() {
    let place = Place::new();
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../btfhub-gen/fuzz/seeds/image");
    for (from, to) in [("rel32", "32bits.so"), ("big-endian", "object.o")] {
        std::fs::copy(seeds.join(from), place.path(to)).unwrap();
    }
    // names need no disassembler: other machines are looked into as well
    place.check(&["lookup", "32bits.so", "first"], 0, "first");
    place.check(&["import", "32bits.so"], 0, "names");
    place.check(
        &["identify", "32bits.so", "--reference", "labelled.so"],
        2,
        "32bits.so: no functions: it has no .eh_frame, or is of i686",
    );
    // an object is loaded by nobody
    place.check(&["lookup", "object.o", "sum"], 2, "object.o: neither a program nor a library");
    place.check(&["import", "object.o"], 2, "object.o");
    let mut other = std::fs::read(place.path("labelled.so")).unwrap();
    other[5] = 2;
    place.write("order.so", &other);
    for arguments in uses("order.so") {
        place.check(&arguments, 2, "order.so: program headers, offset 0x4000000000000000: ");
    }
}

#[test]
fn large_and_empty_is_answered_at_once() {
    let place = Place::new();
    place.shell("cp labelled.so large.so; truncate -s 4G large.so");
    // told by all of its bytes
    place.shell("objcopy -R .note.gnu.build-id labelled.so bare.so; truncate -s 4G bare.so");
    for (name, code) in [("large.so", 0), ("bare.so", 0)] {
        let begin = Instant::now();
        let mut command = place.command(&["lookup", name, "store_get"]);
        let child = command.spawn().unwrap();
        let status = format!("/proc/{}/status", child.id());
        let peak = std::thread::spawn(move || {
            let mut peak = 0;
            // as long as it runs: what is left of one that has ended has no memory
            while let Ok(text) = std::fs::read_to_string(&status) {
                let line =
                    text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
                let Some(now) = line else { break };
                peak = peak.max(now);
                std::thread::sleep(Duration::from_millis(1));
            }
            peak
        });
        let (got, said) = ended(&["lookup", name], child);
        assert_eq!(got, code, "{said}");
        assert!(begin.elapsed() < Duration::from_secs(10), "{name}: {:?}", begin.elapsed());
        let peak: u64 = peak.join().unwrap();
        assert!(peak < 300 << 10, "{name}: {peak} KiB");
    }
}

#[test]
fn damaged_databases_are_named_and_left_alone() {
    let place = Place::new();
    let whole = std::fs::read(place.path("db.sqlite")).unwrap();
    for length in [1, 15, 16, 99, 100, 1000, 4096, whole.len() / 2, whole.len() - 1] {
        place.write("cut.sqlite", &whole[..length]);
        for arguments in
            [&["stats"][..], &["export"], &["lookup", "labelled.so", "nothing"], &["import", "labelled.so"]]
        {
            let mut all = vec!["-d", "cut.sqlite"];
            all.extend(arguments);
            place.is_answered(&all, "cut.sqlite");
        }
    }
    place.write("cut.sqlite", &whole[..whole.len() / 2]);
    place.check(&["-d", "cut.sqlite", "export"], 2, "cut.sqlite: database disk image is malformed");
    assert_eq!(std::fs::read(place.path("cut.sqlite")).unwrap(), whole[..whole.len() / 2]);
    place.shell("mkfifo pipe; mkdir folder; ln -s loop loop");
    for (name, says) in [
        ("pipe", "pipe: no regular file"),
        ("/dev/zero", "/dev/zero: no regular file"),
        ("folder", "folder: no regular file"),
        ("loop", "loop: unable to open"),
        ("folder/nothing", "folder/nothing: unable to open"),
    ] {
        place.check(&["-d", name, "stats"], 2, says);
        place.check(&["-d", name, "lookup", "labelled.so", "f"], 2, says);
        if !says.contains("unable") {
            place.check(&["-d", name, "import", "labelled.so"], 2, says);
        }
    }
}

#[test]
fn databases_of_others_are_named_and_left_alone() {
    let place = Place::new();
    let whole = std::fs::read(place.path("db.sqlite")).unwrap();
    // "user version" and "application ID" of SQLite's header, 32 bits, big-endian
    for (name, at, number, says) in [
        ("newer.sqlite", 60, 99, "newer.sqlite: schema 99 is newer than this program's"),
        ("older.sqlite", 60, 0, "older.sqlite: schema 0 is older than this program's"),
        ("foreign.sqlite", 68, 0x4750_4b47, "foreign.sqlite: no database of offsets (application id 0x47504b47)"),
    ] {
        let mut other = whole.clone();
        other[at..at + 4].copy_from_slice(&u32::to_be_bytes(number));
        place.write(name, &other);
        place.check(&["-d", name, "stats"], 2, says);
        place.check(&["-d", name, "lookup", "labelled.so", "store_get"], 2, says);
        if name != "older.sqlite" {
            place.check(&["-d", name, "import", "labelled.so"], 2, says);
            place.check(&["-d", name, "merge", "/dev/null"], 2, says);
        }
        assert_eq!(std::fs::read(place.path(name)).unwrap(), other, "{name}");
    }
}

#[test]
fn a_database_that_may_not_be_written_is_read() {
    let place = Place::new();
    let before = place.export();
    place.shell("chmod 755 .; chmod 444 db.sqlite");
    let check = |arguments: &[&str], expected: i32, says: &str| {
        let mut command = place.command(arguments);
        if is_root() {
            std::os::unix::process::CommandExt::uid(&mut command, 65534);
        }
        let (code, said) = ended(arguments, command.spawn().unwrap());
        assert_eq!(code, expected, "{arguments:?}: {said}");
        assert!(said.contains(says), "{arguments:?}: {said}");
    };
    check(&["stats"], 0, "1 files");
    check(&["lookup", "labelled.so", "store_get"], 0, "store_get");
    check(&["import", "labelled.so"], 2, "db.sqlite: attempt to write a readonly database");
    assert_eq!(place.export(), before);
}

#[test]
fn two_programs_that_write_at_once_lose_nothing() {
    let place = Place::new();
    place.shell("for n in 1 2 3 4; do echo \"int f$n(void) { return $n; }\" > f$n.c; gcc -shared -fPIC -Wl,--build-id=sha1 -o f$n.so f$n.c; done");
    let children: Vec<Child> =
        (1..=4).map(|n| place.command(&["-d", "new.sqlite", "import", &format!("f{n}.so")]).spawn().unwrap()).collect();
    for child in children {
        let (code, said) = ended(&["import"], child);
        assert_eq!(code, 0, "{said}");
    }
    place.check(&["-d", "new.sqlite", "stats"], 0, "4 files, ");
    for n in 1..=4 {
        place.check(&["-d", "new.sqlite", "explain", &format!("f{n}.so"), &format!("f{n}")], 0, "labelled");
    }
}

#[test]
fn a_writer_that_is_killed_leaves_all_or_nothing() {
    let place = Place::new();
    let before = place.export();
    // many names, so that it takes a while
    let source: String = (0..20_000).map(|n| format!("void name_{n}(void) {{}}\n")).collect();
    place.write("many.c", source.as_bytes());
    place.shell("gcc -shared -fPIC -O0 -Wl,--build-id=sha1 -o many.so many.c");
    let mut killed = 0;
    for wait in [30, 60, 90, 120, 180, 240, 320] {
        let mut child = place.command(&["import", "many.so"]).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(wait));
        child.kill().unwrap();
        let Output { status, .. } = child.wait_with_output().unwrap();
        let after = place.export();
        if status.signal() == Some(9) {
            killed += 1;
            assert!(after == before || after.matches("\"name_").count() == 20_000, "half of it, after {wait} ms");
        }
        if after != before {
            break;
        }
    }
    assert!(killed > 0, "it was never killed in time");
    place.check(&["import", "many.so"], 0, "many.so: ");
    assert_eq!(place.export().matches("\"name_").count(), 20_000);
}

#[test]
fn a_database_that_is_deleted_while_it_is_written_is_no_crash() {
    let place = Place::new();
    let source: String = (0..20_000).map(|n| format!("void name_{n}(void) {{}}\n")).collect();
    place.write("many.c", source.as_bytes());
    place.shell("gcc -shared -fPIC -O0 -Wl,--build-id=sha1 -o many.so many.c; cp db.sqlite gone.sqlite");
    let arguments = ["-d", "gone.sqlite", "import", "many.so"];
    let child = place.command(&arguments).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(60));
    place.shell("rm -f gone.sqlite gone.sqlite-journal");
    let (code, said) = ended(&arguments, child);
    assert!(code == 0 || code == 2 && said.contains("gone.sqlite"), "{code}: {said}");
    // the other one is as it was
    place.check(&["stats"], 0, "1 files");
}

#[test]
fn root_a_full_disk_is_said_and_nothing_is_lost() {
    if !is_root() {
        eprintln!("skipped: mounting a small file system takes root");
        return;
    }
    let place = Place::new();
    let source: String = (0..20_000).map(|n| format!("void name_{n}(void) {{}}\n")).collect();
    place.write("many.c", source.as_bytes());
    place.shell("gcc -shared -fPIC -O0 -Wl,--build-id=sha1 -o many.so many.c; mkdir small");
    let program = env!("CARGO_BIN_EXE_offsetdb");
    let script = format!(
        "mount -t tmpfs -o size=256k none small && cp db.sqlite small/db && {program} -d small/db export > before && \
         {{ {program} -d small/db import many.so; echo import $?; {program} export -o small/out; echo small $?; \
         dd if=/dev/zero of=small/fill bs=1k 2>&1 | tail -n1; {program} export -o small/out; echo export $?; \
         {program} -d small/db lookup labelled.so store_get; echo lookup $?; }} 2>&1; \
         {program} -d small/db export | cmp - before && echo same; ls small"
    );
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "sh", "-c", &script]).current_dir(place.folder.path()).env("OFFSETDB", "db.sqlite");
    let output = unshare.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    for line in [
        "offsetdb: small/db: database or disk is full",
        "import 2",
        "offsetdb: small/out: No space left on device (os error 28)",
        "export 2",
        "lookup 0",
        "same",
    ] {
        assert!(
            said.lines().any(|said| said.starts_with(line)),
            "{line}: {said}{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

#[test]
fn exports_that_are_none_change_nothing() {
    let place = Place::new();
    let before = place.export();
    place.write("good.jsonl", before.as_bytes());
    place.write("cut.jsonl", &before.as_bytes()[..before.len() - 9]);
    place.write("binary.jsonl", &[0xff; 300]);
    place.write("deep.jsonl", "[".repeat(100_000).as_bytes());
    place.shell("truncate -s 4G sparse");
    let lines = before.lines().count();
    for (name, says) in [
        ("cut.jsonl", format!("cut.jsonl: line {lines}: ")),
        ("binary.jsonl", "binary.jsonl: line 1: expected value".to_owned()),
        ("deep.jsonl", "deep.jsonl: line 1: ".to_owned()),
        ("sparse", "sparse: line 1: it is longer than 16777216 bytes".to_owned()),
        ("missing", "missing: No such file".to_owned()),
        (".", ".: ".to_owned()),
        ("labelled.so", "labelled.so: ".to_owned()),
    ] {
        place.check(&["merge", "good.jsonl", name], 2, &says);
        assert_eq!(place.export(), before);
    }
}

#[test]
fn an_export_replaces_files_and_nothing_else() {
    let place = Place::new();
    let text = place.export();
    place.check(&["export", "-o", "/dev/null"], 0, "");
    let kind = std::fs::metadata("/dev/null").unwrap().file_type();
    assert!(std::os::unix::fs::FileTypeExt::is_char_device(&kind));
    place.check(&["export", "-o", "/dev/full"], 2, "/dev/full: No space left on device");
    place.check(&["export", "-o", "folder/new"], 2, "folder/new: No such file");
    place.shell("mkdir folder; umask 022");
    place.check(&["export", "-o", "folder"], 2, "folder: Is a directory");
    place.check(&["export", "-o", "folder/new"], 0, "");
    assert_eq!(std::fs::read_to_string(place.path("folder/new")).unwrap(), text);
    assert_eq!(place.path("folder/new").metadata().unwrap().permissions().mode() & 0o444, 0o444);
    // a link leads to the file, and stays
    place.shell("ln -s folder/new link");
    place.check(&["export", "-o", "link"], 0, "");
    assert!(place.path("link").symlink_metadata().unwrap().is_symlink());
    assert_eq!(std::fs::read_dir(place.path("folder")).unwrap().count(), 1);
}

#[test]
fn scan_passes_over_what_cannot_be_read() {
    let place = Place::new();
    let whole = std::fs::read(place.path("labelled.so")).unwrap();
    place.shell("mkdir tree tree/deep; mkfifo tree/pipe; ln -s loop tree/loop; ln -s .. tree/up; : > tree/empty; truncate -s 4G tree/sparse");
    place.write("tree/cut.so", &whole[..whole.len() / 3]);
    place.write("tree/deep/good.so", &whole);
    let said = place.check(&["scan", "tree"], 0, "tree/deep/good.so");
    assert_eq!(said.lines().count(), 1, "{said}");
    place.check(&["scan", "tree/pipe"], 2, "tree/pipe: Not a directory");
    place.check(&["scan", "--pid", "0"], 2, "/proc/0/maps");
}
