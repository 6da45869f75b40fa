//! What is written does not depend on how it was made; what is said is what happened.

use std::fs;
use std::path::Path;

use crate::support::{TempDir, btfhub, check_golden, kernel, lcc_expect, objects, tree, without_times};

/// Six kernels, of which two are alike.
fn kernels(root: &Path) {
    for (n, variant) in [1, 1, 2, 3, 4, 5].into_iter().enumerate() {
        let release = format!("6.1.0-{n}-amd64");
        kernel(&root.join(format!("in/vmlinux-{release}")), &release, variant);
    }
}

#[test]
fn the_bytes_do_not_depend_on_the_jobs() {
    let dir = TempDir::new().unwrap();
    kernels(dir.path());
    let Some(()) = objects(dir.path()) else { return };
    check_jobs(dir.path(), "in", &["--obj", "good.o", "--surface", "--plan"], 0);
    check_jobs(dir.path(), "in", &["--surface", "--compress", "tar-xz"], 0);
}

#[test]
fn the_bytes_do_not_depend_on_the_jobs_on_real_kernels() {
    let Some(btfhub) = btfhub() else { return };
    let dir = TempDir::new().unwrap();
    let Some(()) = objects(dir.path()) else { return };
    // On 3.10 real_start_time is a struct timespec, of which the object does not know.
    check_jobs(dir.path(), btfhub.to_str().unwrap(), &["--obj", "good.o"], 1);
}

/// Runs with 1, 2 and 7 jobs, twice each, into a folder and into a pack.
fn check_jobs(dir: &Path, input: &str, options: &[&str], code: i32) {
    let mut expected = None;
    for jobs in ["1", "2", "7", "1", "2", "7"] {
        let run = |output: &[&str], options: &[&str]| {
            lcc_expect(dir, &[&["gen", input, "--fresh", "--jobs", jobs], output, options].concat(), code);
        };
        run(&["-o", "out"], options);
        let without: Vec<&str> = options.iter().copied().filter(|o| !["--compress", "tar-xz"].contains(o)).collect();
        run(&["--pack", "pack"], &without);
        let mut files = tree(&dir.join("out"));
        files.insert("pack".into(), fs::read(dir.join("pack")).unwrap());
        fs::remove_dir_all(dir.join("out")).unwrap();
        match &expected {
            None => expected = Some(files),
            Some(expected) => assert!(*expected == files, "--jobs {jobs}"),
        }
    }
}

#[test]
fn the_table_and_the_exit_code_say_what_is_not_resolved() {
    let dir = TempDir::new().unwrap();
    kernels(dir.path());
    let Some(()) = objects(dir.path()) else { return };
    let ran = lcc_expect(dir.path(), &["gen", "in", "--obj", "good.o", "-o", "good"], 0);
    check_golden("table-good.txt", &without_times(&ran.stdout));
    assert_eq!(ran.stderr, "");
    let ran = lcc_expect(dir.path(), &["gen", "in", "--obj", "good.o", "--obj", "bad.o", "-o", "bad"], 1);
    check_golden("table-bad.txt", &without_times(&ran.stdout));
    // What was kept is as unresolved as it was.
    let again = lcc_expect(dir.path(), &["gen", "in", "--obj", "good.o", "--obj", "bad.o", "-o", "bad"], 1);
    check_golden("table-kept.txt", &without_times(&again.stdout));
}

#[test]
fn the_report_is_json() {
    let dir = TempDir::new().unwrap();
    kernels(dir.path());
    let Some(()) = objects(dir.path()) else { return };
    fs::write(dir.path().join("broken.deb"), b"!<arch>\n").unwrap();
    let args = ["gen", "in", "broken.deb", "--obj", "bad.o", "--pack", "p", "--json"];
    let ran = lcc_expect(dir.path(), &args, 2);
    let report: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(report["version"], 1);
    assert_eq!(report["distinct"], 4, "variants 1 and 2 lack the member; 3, 4, 5 have it elsewhere each");
    assert_eq!(report["kernels"].as_array().unwrap().len(), 6);
    let first = &report["kernels"][0];
    assert_eq!(first["kernel"], "debian/12/x86_64/6.1.0-0-amd64");
    assert_eq!(first["objects"][0]["fates"]["unguarded"], 1);
    let unresolved = &first["objects"][0]["unresolved"][0];
    assert_eq!((&unresolved["fate"], &unresolved["fatal"]), (&"unguarded".into(), &true.into()));
    assert_eq!(report["failures"][0]["input"], "broken.deb");
}

#[test]
fn what_is_not_quite_right_with_the_debug_information_is_said() {
    let dir = TempDir::new().unwrap();
    for name in ["a", "b"] {
        // BTF counts sizes in 32 bits of bytes, and offsets in 32 bits of bits.
        let source = format!(
            "struct big {{ char at[5UL << 30]; }} *big;\nstruct far {{ char at[600UL << 20]; int member; }} *far;\n\
             const char {name}[] = \"Linux version 6.1.0-{name} (a@b) (gcc) #1\\n\";\nint start(void) {{ return {name}[0]; }}\n"
        );
        fs::write(dir.path().join("k.c"), source).unwrap();
        let cc = ["-g", "-ffreestanding", "-nostdlib", "-static", "-no-pie", "-Wl,-e,start", "k.c", "-o", name];
        crate::support::run(std::process::Command::new("cc").current_dir(dir.path()).args(cc));
    }
    let args = ["gen", "a", "b", "-o", "out"];
    let ran = lcc_expect(dir.path(), &args, 0);
    let expected = |line: &str| line.contains("4 GiB") || line.contains("512 MiB");
    let said: Vec<&str> = ran.stdout.lines().filter(|line| expected(line)).collect();
    assert_eq!(said.len(), 2, "{}", ran.stdout);
    assert!(
        ran.stdout.contains("\n    on unknown/unknown/x86_64/6.1.0-a, unknown/unknown/x86_64/6.1.0-b\n"),
        "{}",
        ran.stdout
    );
    assert!(ran.stdout.contains(", 4 diagnostics, "), "{}", ran.stdout);
    // What was kept is as it was.
    let again = lcc_expect(dir.path(), &[&args[..], &["--json"]].concat(), 0);
    let report: serde_json::Value = serde_json::from_str(&again.stdout).unwrap();
    let first = report["kernels"][0]["diagnostics"][0].as_str().unwrap();
    assert!(first.starts_with(".debug_info offset 0x") && said[0].ends_with(first), "{first}");
    let strict = lcc_expect(dir.path(), &[&args[..], &["--strict", "--fresh"]].concat(), 2);
    assert!(strict.stderr.contains(&format!("lcc-btf: a: {first} (and 1 more)\n")), "{}", strict.stderr);
}

#[test]
fn a_compat_leaves_out_what_the_reader_does_not_know() {
    let dir = TempDir::new().unwrap();
    fs::write(
        dir.path().join("k.c"),
        "enum big { BIG = 1LL << 40 };\nstruct s { enum big b; float f; };\nstruct s s;\n\
         const char b[] = \"Linux version 6.1.0 (a@b) (gcc) #1\\n\";\nvoid start(void) { s.f += b[0]; }\n",
    )
    .unwrap();
    let cc = ["-g", "-ffreestanding", "-nostdlib", "-static", "-no-pie", "-Wl,-e,start", "k.c", "-o", "vmlinux"];
    crate::support::run(std::process::Command::new("cc").current_dir(dir.path()).args(cc));
    lcc_expect(dir.path(), &["gen", "vmlinux", "-o", "new.btf"], 0);
    lcc_expect(dir.path(), &["gen", "vmlinux", "--compat", "5.2", "-o", "old.btf"], 0);
    let listing = |file: &str| lcc_expect(dir.path(), &["dump", "-f", "raw", file], 0).stdout;
    assert!(listing("new.btf").contains("ENUM64 'big'") && listing("new.btf").contains("FLOAT 'float'"));
    assert!(!listing("old.btf").contains("ENUM64") && !listing("old.btf").contains("FLOAT"));
    // BTF that is there cannot be made older.
    let ran = lcc_expect(dir.path(), &["gen", "new.btf", "--compat", "5.2", "-o", "x.btf"], 2);
    assert!(ran.stderr.contains("which --compat excludes; give its DWARF"), "{}", ran.stderr);
    assert!(!dir.path().join("x.btf").exists());
}
