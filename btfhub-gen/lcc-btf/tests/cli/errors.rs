//! What is wrong is said, with the place; and the others are done nevertheless.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::{TempDir, check_golden, deb, has, kernel, lcc_expect, program, rpm, run};

const RELEASE: &str = "6.1.0-18-amd64";

/// One good file of each kind.
fn good_inputs(dir: &Path) -> Vec<String> {
    let at = |name: &str| dir.join(name);
    kernel(&at("vmlinux"), RELEASE, 1);
    let [raw, hub] = ["hub/debian/12/x86_64/6.9.btf", "hub/debian/12/x86_64/6.8.btf.tar.xz"];
    fs::create_dir_all(at(raw).parent().unwrap()).unwrap();
    lcc_expect(dir, &["gen", "vmlinux", "-o", raw], 0);
    lcc_expect(dir, &["gen", "vmlinux", "-o", hub], 0);
    let mut names = vec!["vmlinux".to_owned(), raw.to_owned(), hub.to_owned()];
    if has("dpkg-deb") {
        for (name, compression, filler) in
            [("xz.deb", "xz", 10), ("blocks.deb", "xz", 9 << 20), ("zstd.deb", "zstd", 10)]
        {
            deb(&at(name), &at("vmlinux"), RELEASE, compression, filler);
            names.push(name.to_owned());
        }
    }
    for (name, compression) in
        [("gz.rpm", rpm::CompressionWithLevel::Gzip(1)), ("zstd.rpm", rpm::CompressionWithLevel::Zstd(1))]
    {
        rpm(&at(name), &at("vmlinux"), RELEASE, compression);
        names.push(name.to_owned());
    }
    for (tool, name) in [("xz", "vmlinux.xz"), ("gzip", "vmlinux.gz")] {
        fs::write(at(name), run(Command::new(tool).arg("-c").arg(at("vmlinux")))).unwrap();
        names.push(name.to_owned());
    }
    names
}

fn write(path: &Path, content: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

#[test]
fn truncated_inputs_fail_with_the_place_and_the_others_are_done() {
    let dir = TempDir::new().unwrap();
    let mut cut = Vec::new();
    for name in good_inputs(dir.path()) {
        let whole = fs::read(dir.path().join(&name)).unwrap();
        for (n, keep) in
            [1, 7, whole.len() / 10, whole.len() / 3, whole.len() / 2, whole.len() * 9 / 10].into_iter().enumerate()
        {
            let path = format!("cut{n}-{name}");
            write(&dir.path().join(&path), &whole[..keep]);
            cut.push((path, keep));
        }
    }
    let mut args = vec!["gen", "--pack", "p", "--json", "vmlinux"];
    args.extend(cut.iter().map(|(path, _)| &**path));
    let ran = lcc_expect(dir.path(), &args, 2);
    let report: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(report["kernels"].as_array().unwrap().len(), 1);
    lcc_expect(dir.path(), &["pack", "get", "p", &format!("debian/12/x86_64/{RELEASE}"), "-o", "got.btf"], 0);
    let failures = report["failures"].as_array().unwrap();
    assert_eq!(failures.len(), cut.len(), "{failures:#?}");
    for (failure, (path, keep)) in failures.iter().zip(&cut) {
        let error = failure["error"].as_str().unwrap();
        assert!(error.starts_with(&format!("{path}: ")), "{error}");
        // Of a few bytes it cannot be told what they were.
        assert!(*keep <= 7 || error.contains("offset 0x"), "{error}");
        assert!(ran.stderr.contains(&format!("lcc-btf: {error}\n")), "{error}");
    }
}

#[test]
fn damaged_inputs_fail_or_give_btf_and_never_panic() {
    let dir = TempDir::new().unwrap();
    let mut args = vec!["gen".to_owned(), "--pack".into(), "p".into(), "vmlinux".into()];
    for name in good_inputs(dir.path()) {
        let whole = fs::read(dir.path().join(&name)).unwrap();
        let mut state = 7u32;
        for n in 0..12 {
            let mut bad = whole.clone();
            for _ in 0..1 + n * 3 {
                state = state.wrapping_mul(1664525).wrapping_add(1013904223);
                // Half of the damage is at the beginning, where the headers are.
                let within = if n % 2 == 0 { bad.len().min(4096) } else { bad.len() };
                bad[state as usize % within] ^= (state >> 24) as u8 | 1;
            }
            write(&dir.path().join(format!("bad{n}-{name}")), &bad);
            args.push(format!("bad{n}-{name}"));
        }
    }
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let ran = lcc_expect(dir.path(), &args, 2);
    assert!(ran.stdout.contains(&format!("debian/12/x86_64/{RELEASE} ")), "{}", ran.stdout);
    lcc_expect(dir.path(), &["pack", "verify", "p"], 0);
}

#[test]
fn messages_are_these() {
    let dir = TempDir::new().unwrap();
    let at = |name: &str| dir.path().join(name);
    kernel(&at("vmlinux"), RELEASE, 1);
    let whole = fs::read(at("vmlinux")).unwrap();
    fs::write(at("empty"), b"").unwrap();
    fs::write(at("text"), b"hello").unwrap();
    fs::write(at("short.deb"), b"!<arch>\ndebian-binary   0").unwrap();
    fs::write(at("short.rpm"), b"\xed\xab\xee\xdb\x03").unwrap();
    fs::write(at("short.btf"), b"\x9f\xeb\x01\0\x18\0\0\0").unwrap();
    fs::write(at("half"), &whole[..whole.len() / 2]).unwrap();
    fs::write(at("line\nfeed\u{1b}[31m"), b"hello").unwrap();
    fs::create_dir(at("nothing-in-it")).unwrap();
    lcc_expect(dir.path(), &["gen", "vmlinux", "--pack", "good.pack"], 0);
    run(Command::new("cc").args(["-c", "-x", "c", "/dev/null", "-o"]).arg(at("no-debug.o")));
    let mut text = String::new();
    for args in [
        &["gen", "absent", "-o", "out"][..],
        &["gen", "empty", "-o", "out"],
        &["gen", "text", "-o", "out"],
        &["gen", "short.deb", "-o", "out"],
        &["gen", "short.rpm", "-o", "out"],
        &["gen", "short.btf", "-o", "out"],
        &["gen", "no-debug.o", "-o", "out"],
        &["gen", "nothing-in-it", "-o", "out"],
        &["gen", "vmlinux", "--obj", "absent.o", "-o", "out"],
        &["gen", "vmlinux", "--obj", "text", "-o", "out"],
        &["gen", "vmlinux", "--obj", "vmlinux", "-o", "out"],
        &["gen", "vmlinux", "text", "-o", "x.btf"],
        &["gen", "vmlinux", "text", "--id", "a/1/x86_64/6", "-o", "out"],
        &["gen", "vmlinux", "-o", "text/folder"],
        &["gen", "vmlinux", "-o", "text"],
        &["gen", "vmlinux", "--pack", "text"],
        &["gen", "vmlinux", "--pack", "nothing-in-it"],
        &["gen", "vmlinux", "--pack", "nothing-in-it/"],
        &["gen", "vmlinux", "--pack", "/dev/null"],
        &["gen", "/dev/zero", "-o", "out"],
        &["gen", "line\nfeed\u{1b}[31m", "-o", "out"],
        &["gen", "vmlinux", "-o", "out", "--shard", "0/0"],
        &["gen", "vmlinux", "--from", "btf", "-o", "out"],
        &["merge", "text", "-o", "merged.pack"],
        &["merge", "good.pack", "-o", "text"],
        &["pack", "list", "absent"],
        &["pack", "verify", "text"],
    ] {
        let ran = lcc_expect(dir.path(), args, 2);
        text += &format!("$ lcc-btf {}\n{}", args.join(" ").escape_debug(), ran.stderr);
    }
    assert_eq!(fs::read(at("text")).unwrap(), b"hello");
    check_golden("errors.txt", &text);
    // Where the half of a file ends depends on the compiler.
    let ran = lcc_expect(dir.path(), &["gen", "half", "-o", "out"], 2);
    assert!(ran.stderr.starts_with("lcc-btf: half: elf section headers at offset 0x"), "{}", ran.stderr);
}

#[test]
fn an_output_that_cannot_be_written_stays_as_it_was() {
    let dir = TempDir::new().unwrap();
    for n in 0..3 {
        kernel(&dir.path().join(format!("in/vmlinux-{n}")), &format!("6.1.0-{n}-amd64"), n + 1);
    }
    lcc_expect(dir.path(), &["gen", "in/vmlinux-0", "--pack", "p"], 0);
    let before = fs::read(dir.path().join("p")).unwrap();
    // No file may become larger than 512 bytes: as with a full disk, a write fails in the middle.
    let program = program().get_program().to_owned();
    let limited = |args: &str| {
        let script = format!("trap '' XFSZ; ulimit -f 1; exec \"$0\" {args}");
        Command::new("sh").current_dir(dir.path()).args(["-c", &script]).arg(&program).output().unwrap()
    };
    let output = limited("gen in --pack p");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains(": writing: File too large"), "{stderr}");
    assert!(fs::read(dir.path().join("p")).unwrap() == before);
    let output = limited("gen in -o out");
    assert_eq!(output.status.code(), Some(2));
    let written = crate::support::tree(&dir.path().join("out"));
    assert!(written.keys().all(|path| !path.to_string_lossy().ends_with(".btf")), "{:?}", written.keys());
    // With room again, it goes on.
    lcc_expect(dir.path(), &["gen", "in", "--pack", "p"], 0);
}

#[test]
fn root_a_full_disk_fails_what_does_not_fit() {
    let dir = TempDir::new().unwrap();
    kernel(&dir.path().join("vmlinux"), "6.1.0", 1);
    let disk = dir.path().join("disk");
    fs::create_dir(&disk).unwrap();
    let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=16k", "tmpfs"]).arg(&disk).output();
    if !mount.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: a file system cannot be mounted here");
        return;
    }
    assert!(fs::write(disk.join("filler"), vec![0; 64 << 10]).is_err(), "it is full now");
    let ran = crate::support::lcc(dir.path(), &["gen", "vmlinux", "-o", "disk/x.btf"]);
    let left = fs::read_dir(&disk).unwrap().count();
    run(Command::new("umount").arg(&disk));
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.stderr.contains("disk/x.btf: writing: No space left on device"), "{}", ran.stderr);
    assert_eq!(left, 1, "nothing half-written is left");
}

#[test]
fn kernels_of_one_name_with_different_results_are_a_conflict() {
    let dir = TempDir::new().unwrap();
    for (name, variant) in [("a", 1), ("b", 2), ("c", 1)] {
        kernel(&dir.path().join(name), RELEASE, variant);
    }
    for jobs in ["1", "7"] {
        for output in [["-o", "out"], ["--pack", "p"]] {
            let args = [&["gen", "a", "b", "c", "--fresh", "--jobs", jobs][..], &output].concat();
            let ran = lcc_expect(dir.path(), &args, 2);
            let expected = format!(
                "lcc-btf: b: is debian/12/x86_64/{RELEASE}, as is a, with another result; name one of them with --id\n"
            );
            assert_eq!(ran.stderr, expected);
        }
        lcc_expect(dir.path(), &["gen", "a", "-o", "a.btf"], 0);
        let expected = fs::read(dir.path().join("a.btf")).unwrap();
        assert!(fs::read(dir.path().join(format!("out/debian/12/x86_64/{RELEASE}.btf"))).unwrap() == expected);
    }
}

#[test]
fn packages_without_a_kernel_are_passed_over_in_a_folder_only() {
    if !has("dpkg-deb") {
        return;
    }
    let dir = TempDir::new().unwrap();
    kernel(&dir.path().join("in/vmlinux"), RELEASE, 1);
    fs::write(dir.path().join("text"), b"hello").unwrap();
    deb(&dir.path().join("in/other.deb"), &dir.path().join("text"), "6.1.0", "xz", 10);
    let ran = lcc_expect(dir.path(), &["gen", "in", "-o", "out"], 0);
    assert!(
        ran.stdout.contains("passed over: in/other.deb: no vmlinux in package linux-image-6.1.0-dbg"),
        "{}",
        ran.stdout
    );
    lcc_expect(dir.path(), &["gen", "in", "-o", "out", "--strict"], 2);
    lcc_expect(dir.path(), &["gen", "in/other.deb", "-o", "out"], 2);
}

#[test]
fn a_bpf_object_is_no_kernel() {
    let dir = TempDir::new().unwrap();
    let Some(()) = crate::support::objects(dir.path()) else { return };
    for output in ["out", "x.btf"] {
        let ran = lcc_expect(dir.path(), &["gen", "good.o", "-o", output], 2);
        assert_eq!(ran.stderr, "lcc-btf: good.o: is a BPF object, no kernel: give it with --obj\n");
    }
}

#[test]
fn a_closed_pipe_does_not_hide_how_the_run_ended() {
    let dir = TempDir::new().unwrap();
    kernel(&dir.path().join("vmlinux"), RELEASE, 1);
    for (inputs, code) in [(&["vmlinux"][..], 0), (&["vmlinux", "absent"], 2)] {
        let mut child = program();
        child.current_dir(dir.path()).arg("gen").args(inputs).args(["-o", "out", "--json"]);
        let mut child = child.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::null()).spawn().unwrap();
        drop(child.stdout.take());
        assert_eq!(child.wait().unwrap().code(), Some(code), "{inputs:?}");
        assert!(dir.path().join(format!("out/debian/12/x86_64/{RELEASE}.btf")).exists());
    }
}

#[test]
fn root_what_may_not_be_read_is_said_once_and_the_others_are_done() {
    let dir = TempDir::new().unwrap();
    kernel(&dir.path().join("in/vmlinux"), RELEASE, 1);
    kernel(&dir.path().join("in/vmlinux-closed"), "6.1.0-19-amd64", 1);
    fs::create_dir(dir.path().join("closed")).unwrap();
    fs::create_dir(dir.path().join("out")).unwrap();
    let mode = |name: &str, mode: u32| {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(dir.path().join(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    for (name, bits) in [("in/vmlinux-closed", 0), ("closed", 0), ("out", 0o777), (".", 0o755)] {
        mode(name, bits);
    }
    // A program that a stranger may run, for root may read everything.
    let copy = dir.path().join("lcc-btf");
    fs::copy(program().get_program(), &copy).unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--clear-groups"]).arg(copy).current_dir(dir.path());
    command.args(["gen", "in", "closed", "-o", "out"]);
    let output = command.output();
    mode("closed", 0o755);
    let Ok(output) = output else { return eprintln!("skipped: setpriv is not installed") };
    let stderr = String::from_utf8_lossy(&output.stderr);
    if stderr.starts_with("setpriv: ") {
        return eprintln!("skipped: {stderr}");
    }
    assert_eq!(
        stderr,
        "lcc-btf: in/vmlinux-closed: opening: Permission denied (os error 13)\n\
         lcc-btf: closed: reading the folder: Permission denied (os error 13)\n"
    );
    assert_eq!(output.status.code(), Some(2));
    assert!(dir.path().join(format!("out/debian/12/x86_64/{RELEASE}.btf")).exists());
}
