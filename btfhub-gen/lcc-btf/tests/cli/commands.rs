//! The smaller commands.

use std::fs;
use std::io::Read;
use std::process::Stdio;

use crate::support::{TempDir, check_golden, kernel, lcc_expect, module, objects, program, tree};

const RELEASE: &str = "6.1.0-18-amd64";

#[test]
fn types_are_dumped() {
    let dir = TempDir::new().unwrap();
    kernel(&dir.path().join("vmlinux"), RELEASE, 1);
    let dump = |args: &[&str], code| lcc_expect(dir.path(), &[&["dump", "vmlinux"], args].concat(), code);
    check_golden("dump-c.txt", &dump(&["struct task_struct"], 0).stdout);
    let raw = dump(&["--format", "raw", "cred", "enum state"], 0).stdout;
    assert!(raw.contains("STRUCT 'cred' size=8 vlen=2") && raw.contains("ENUM 'state'"), "{raw}");
    let json: serde_json::Value = serde_json::from_str(&dump(&["-f", "json"], 0).stdout).unwrap();
    assert!(json["types"].as_array().unwrap().iter().any(|t| t["name"] == "task_struct"));
    let missing = dump(&["no_such_type", "cred"], 1);
    assert_eq!(missing.stderr, "lcc-btf: vmlinux: no type no_such_type\n");
    assert!(missing.stdout.contains("struct cred"), "{}", missing.stdout);
}

#[test]
fn a_module_is_dumped_over_its_kernel() {
    let dir = TempDir::new().unwrap();
    kernel(&dir.path().join("vmlinux"), RELEASE, 1);
    module(&dir.path().join("probe.ko"), RELEASE);
    let ran = lcc_expect(dir.path(), &["dump", "probe.ko", "-B", "vmlinux", "probe"], 0);
    assert!(ran.stdout.contains("struct probe {\n\tstruct cred *cred;"), "{}", ran.stdout);
    let ran = lcc_expect(dir.path(), &["dump", "probe.ko"], 2);
    let expected = "lcc-btf: probe.ko: is a module, whose BTF builds on its kernel's: give that with --base\n";
    assert_eq!(ran.stderr, expected);
}

#[test]
fn layouts_are_printed() {
    let dir = TempDir::new().unwrap();
    kernel(&dir.path().join("a"), RELEASE, 1);
    kernel(&dir.path().join("b"), RELEASE, 2);
    check_golden("layout-gdb.txt", &lcc_expect(dir.path(), &["layout", "task_struct", "a", "b"], 0).stdout);
    let args = ["layout", "struct task_struct", "a", "--style", "pahole"];
    check_golden("layout-pahole.txt", &lcc_expect(dir.path(), &args, 0).stdout);
    let ran = lcc_expect(dir.path(), &["layout", "absent", "a"], 1);
    assert_eq!(ran.stderr, "lcc-btf: a: absent: no such type\n");
    let ran = lcc_expect(dir.path(), &["layout", "int", "a"], 1);
    assert!(ran.stderr.starts_with("lcc-btf: a: int: "), "{}", ran.stderr);
}

#[test]
fn a_layout_is_json() {
    let dir = TempDir::new().unwrap();
    kernel(&dir.path().join("a"), RELEASE, 1);
    let ran = lcc_expect(dir.path(), &["layout", "cred", "a", "--json"], 0);
    let json: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((&json[0]["kernel"], &json[0]["layout"]["name"]), (&"a".into(), &"cred".into()));
    assert_eq!(json[0]["layout"]["fields"][1]["name"], "gid");
}

#[test]
fn differences_are_printed() {
    let dir = TempDir::new().unwrap();
    for (name, variant) in [("a", 1), ("b", 2), ("c", 3)] {
        kernel(&dir.path().join(name), RELEASE, variant);
    }
    lcc_expect(dir.path(), &["gen", "a", "-o", "a.btf"], 0);
    let same = lcc_expect(dir.path(), &["diff", "a", "a.btf"], 0);
    assert_eq!(same.stdout, "");
    check_golden("diff.txt", &lcc_expect(dir.path(), &["diff", "a.btf", "c"], 1).stdout);
    lcc_expect(dir.path(), &["diff", "a", "c", "cred", "func handle"], 0);
    let ran = lcc_expect(dir.path(), &["diff", "a", "b", "struct task_struct", "--json"], 1);
    let json: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(json["entries"][0]["name"], "task_struct");
    assert_eq!(json["entries"].as_array().unwrap().len(), 1);
}

#[test]
fn packs_are_listed_read_and_checked() {
    let dir = TempDir::new().unwrap();
    for n in 1..4 {
        kernel(&dir.path().join(format!("in/vmlinux-{n}")), &format!("6.1.0-{n}-amd64"), n);
    }
    lcc_expect(dir.path(), &["gen", "in", "--pack", "p", "--surface"], 0);
    lcc_expect(dir.path(), &["gen", "in", "-o", "out", "--surface"], 0);
    let list = lcc_expect(dir.path(), &["pack", "list", "p"], 0).stdout;
    assert_eq!(list.lines().count(), 3);
    let json: serde_json::Value =
        serde_json::from_str(&lcc_expect(dir.path(), &["pack", "list", "p", "--json"], 0).stdout).unwrap();
    assert_eq!(json[0]["kernel"], "debian/12/x86_64/6.1.0-1-amd64");
    for (args, file) in [(&[][..], "btf"), (&["--surface"], "surface")] {
        let get = ["pack", "get", "p", "debian/12/x86_64/6.1.0-2-amd64", "-o", "got"];
        lcc_expect(dir.path(), &[&get, args].concat(), 0);
        let expected = fs::read(dir.path().join(format!("out/debian/12/x86_64/6.1.0-2-amd64.{file}"))).unwrap();
        assert!(fs::read(dir.path().join("got")).unwrap() == expected);
    }
    let ran = lcc_expect(dir.path(), &["pack", "get", "p", "debian/12/x86_64/6.1.0-9-amd64"], 1);
    assert_eq!(ran.stderr, "lcc-btf: p: no BTF of debian/12/x86_64/6.1.0-9-amd64\n");
    let ran = lcc_expect(dir.path(), &["pack", "verify", "p"], 0);
    assert!(ran.stdout.starts_with("p: good: 3 results, 4 different contents, "), "{}", ran.stdout);
    let mut bytes = fs::read(dir.path().join("p")).unwrap();
    bytes[100] ^= 1;
    fs::write(dir.path().join("p"), bytes).unwrap();
    let ran = lcc_expect(dir.path(), &["pack", "verify", "p"], 2);
    assert!(ran.stderr.starts_with("lcc-btf: p: frame 0 at offset 0x10: "), "{}", ran.stderr);
}

#[test]
fn packs_and_folders_are_merged() {
    let dir = TempDir::new().unwrap();
    for n in 1..5 {
        kernel(&dir.path().join(format!("in/vmlinux-{n}")), &format!("6.1.0-{n}-amd64"), 1 + n % 2);
    }
    let run = |args: &[&str]| lcc_expect(dir.path(), args, 0);
    run(&["gen", "in", "--pack", "whole", "--surface"]);
    run(&["gen", "in", "-o", "whole.d", "--surface"]);
    for shard in ["0/3", "1/3", "2/3"] {
        run(&["gen", "in", "--shard", shard, "--surface", "--pack", &format!("p{}", &shard[..1])]);
        run(&["gen", "in", "--shard", shard, "--surface", "-o", &format!("d{}", &shard[..1])]);
    }
    let whole = fs::read(dir.path().join("whole")).unwrap();
    let ran = run(&["merge", "p2", "p0", "p1", "-o", "merged"]);
    assert_eq!(ran.stdout, "merged: 4 results, 3 different contents, from 3 inputs\n");
    assert!(fs::read(dir.path().join("merged")).unwrap() == whole);
    run(&["merge", "d0", "p1", "d2", "--pack", "mixed"]);
    assert!(fs::read(dir.path().join("mixed")).unwrap() == whole);
    let files = |name: &str| {
        let mut files = tree(&dir.path().join(name));
        files.retain(|path, _| !path.starts_with(".lcc-btf"));
        files
    };
    run(&["merge", "d2", "d1", "d0", "-o", "merged.d"]);
    assert!(files("merged.d") == files("whole.d"));
    run(&["merge", "p0", "p1", "p2", "-o", "unpacked/"]);
    assert!(files("unpacked") == files("whole.d"));
    // Merging again changes nothing; a conflict leaves all as it was.
    run(&["merge", "d2", "d1", "d0", "-o", "merged.d"]);
    kernel(&dir.path().join("other"), "6.1.0-1-amd64", 9);
    run(&["gen", "other", "--pack", "other.pack"]);
    let ran = lcc_expect(dir.path(), &["merge", "p0", "other.pack", "-o", "merged"], 2);
    assert_eq!(ran.stderr, "lcc-btf: other.pack: debian/12/x86_64/6.1.0-1-amd64: two different results\n");
    assert!(fs::read(dir.path().join("merged")).unwrap() == whole);
}

#[test]
fn a_closed_pipe_is_no_error() {
    let dir = TempDir::new().unwrap();
    kernel(&dir.path().join("vmlinux"), RELEASE, 1);
    lcc_expect(dir.path(), &["gen", "vmlinux", "-o", "v.btf"], 0);
    for args in [&["dump", "-f", "raw", "v.btf"][..], &["gen", "vmlinux", "-o", "-"], &["gen", "--help"]] {
        let mut command = program();
        let command = command.current_dir(dir.path()).args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        drop(child.stdout.take());
        let mut stderr = String::new();
        child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0), "{args:?}: {stderr}");
        assert!(!stderr.contains("panicked") && !stderr.contains("pipe"), "{stderr}");
    }
}

#[test]
fn standard_output_has_the_data_and_nothing_else() {
    let dir = TempDir::new().unwrap();
    kernel(&dir.path().join("vmlinux"), RELEASE, 1);
    lcc_expect(dir.path(), &["gen", "vmlinux", "-o", "v.btf"], 0);
    let output = program().current_dir(dir.path()).args(["gen", "vmlinux", "-o", "-"]).output().unwrap();
    assert!(output.stdout == fs::read(dir.path().join("v.btf")).unwrap());
    assert!(String::from_utf8_lossy(&output.stderr).contains("1 kernel, "));
}

#[test]
fn help_man_pages_and_completions_are_made() {
    let dir = TempDir::new().unwrap();
    let help = lcc_expect(dir.path(), &["gen", "--help"], 0).stdout;
    assert!(help.contains("Exit status:") && help.contains("--shard <I/N>"), "{help}");
    lcc_expect(dir.path(), &["man", "man"], 0);
    assert!(fs::read_to_string(dir.path().join("man/lcc-btf-gen.1")).unwrap().contains("Exit status"));
    let completions = lcc_expect(dir.path(), &["completions", "bash"], 0).stdout;
    assert!(completions.contains("--shard"), "{completions}");
}

#[test]
fn an_object_is_no_kernel() {
    let dir = TempDir::new().unwrap();
    let Some(()) = objects(dir.path()) else { return };
    let ran = lcc_expect(dir.path(), &["gen", "good.o", "-o", "x.btf"], 2);
    assert_eq!(ran.stderr, "lcc-btf: good.o: is a BPF object, no kernel: give it with --obj\n");
    assert!(lcc_expect(dir.path(), &["dump", "good.o"], 0).stdout.contains("struct task_struct___old"));
}
