//! What is done is not done twice, and an interrupted run leaves nothing that is not whole.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread::sleep;
use std::time::Instant;

use crate::support::{TempDir, btfhub, kernel, lcc_expect, objects, program, tree};

fn kept(stdout: &str) -> usize {
    stdout.lines().filter(|line| line.ends_with("kept")).count()
}

#[test]
fn only_what_changed_is_done_again() {
    let dir = TempDir::new().unwrap();
    let Some(()) = objects(dir.path()) else { return };
    for n in 0..3 {
        kernel(&dir.path().join(format!("in/vmlinux-{n}")), &format!("6.1.0-{n}-amd64"), n + 1);
    }
    for output in [["-o", "out"], ["--pack", "pack"]] {
        let run = |more: &[&str]| lcc_expect(dir.path(), &[&["gen", "in"][..], &output, more].concat(), 0).stdout;
        let good = ["--obj", "good.o"];
        assert_eq!(kept(&run(&good)), 0);
        assert_eq!(kept(&run(&good)), 3);
        // Other objects, other settings.
        assert_eq!(kept(&run(&[])), 0);
        assert_eq!(kept(&run(&["--compat", "5.15"])), 0);
        // What the first run wrote was replaced by the third.
        assert_eq!(kept(&run(&good)), 0);
        assert_eq!(kept(&run(&[&good[..], &["--fresh"]].concat())), 0);
        // One input changes.
        kernel(&dir.path().join("in/vmlinux-1"), "6.1.0-1-amd64", 7);
        assert_eq!(kept(&run(&good)), 2);
        kernel(&dir.path().join("in/vmlinux-1"), "6.1.0-1-amd64", 2);
        run(&good);
    }
    // A file of the archive that was damaged is made again.
    let file = dir.path().join("out/debian/12/x86_64/6.1.0-1-amd64.btf");
    let whole = fs::read(&file).unwrap();
    fs::write(&file, &whole[..20]).unwrap();
    let ran = lcc_expect(dir.path(), &["gen", "in", "-o", "out", "--obj", "good.o"], 0);
    assert_eq!(kept(&ran.stdout), 2);
    assert!(fs::read(&file).unwrap() == whole);
    // So is a pack.
    let pack = dir.path().join("pack");
    let whole = fs::read(&pack).unwrap();
    fs::write(&pack, &whole[..whole.len() / 2]).unwrap();
    let ran = lcc_expect(dir.path(), &["gen", "in", "--pack", "pack", "--obj", "good.o"], 0);
    assert_eq!(kept(&ran.stdout), 0);
    assert!(fs::read(&pack).unwrap() == whole);
}

/// The running kernel's BTF, or a fixture's.
fn some_btf(dir: &Path) -> Vec<u8> {
    fs::read("/sys/kernel/btf/vmlinux").unwrap_or_else(|_| {
        kernel(&dir.join("vmlinux"), "6.1.0", 1);
        lcc_expect(dir, &["gen", "vmlinux", "-o", "vmlinux.btf"], 0);
        fs::read(dir.join("vmlinux.btf")).unwrap()
    })
}

/// Fourteen kernels, and the exit code they give: real ones where they are; else copies of the running kernel's BTF, or of a fixture.
fn fourteen(dir: &Path) -> (PathBuf, i32) {
    if let Some(btfhub) = btfhub() {
        // On 3.10 real_start_time is a struct timespec, of which the object does not know.
        return (btfhub, 1);
    }
    let btf = some_btf(dir);
    let folder = dir.join("in/debian/12/x86_64");
    fs::create_dir_all(&folder).unwrap();
    for n in 0..14 {
        fs::write(folder.join(format!("6.1.0-{n}-amd64.btf")), &btf).unwrap();
    }
    (dir.join("in"), 0)
}

#[test]
fn killed_at_any_moment_the_archive_is_whole_and_a_later_run_completes_it() {
    let dir = TempDir::new().unwrap();
    let Some(()) = objects(dir.path()) else { return };
    let (input, code) = fourteen(dir.path());
    let input = input.to_str().unwrap();
    let at = |name: &str| dir.path().join(name);
    let args = |output: [&'static str; 2]| vec!["gen", input, "--obj", "good.o", "--jobs", "2", output[0], output[1]];
    for output in [["-o", "out"], ["--pack", "pack"]] {
        let state = if output[0] == "-o" { "out/.lcc-btf" } else { "pack.lcc-btf" };
        let archive = at(output[1]);
        let content =
            || if archive.is_dir() { tree(&archive) } else { [("".into(), fs::read(&archive).unwrap())].into() };
        let start = Instant::now();
        lcc_expect(dir.path(), &args(output), code);
        let whole = start.elapsed();
        let expected = content();
        let clear = || {
            let _ = fs::remove_dir_all(at(state));
            let _ = fs::remove_dir_all(&archive).or_else(|_| fs::remove_file(&archive));
        };
        // Ten for each kind of archive: twenty in all.
        let mut moment = 1u32;
        let mut interrupted = 0;
        for _ in 0..10 {
            clear();
            moment = moment.wrapping_mul(1664525).wrapping_add(1013904223);
            let delay = whole.mul_f64(f64::from(moment >> 8) / f64::from(1u32 << 24));
            let mut child = program();
            let child = child.current_dir(dir.path()).args(args(output)).stdout(Stdio::null()).stderr(Stdio::null());
            let mut child = child.spawn().unwrap();
            sleep(delay);
            child.kill().unwrap();
            interrupted += usize::from(child.wait().unwrap().code().is_none());
            if archive.is_file() {
                lcc_expect(dir.path(), &["pack", "verify", output[1]], 0);
            }
            for (path, content) in if archive.is_dir() { tree(&archive) } else { Default::default() } {
                if path.extension().is_some_and(|end| end == "btf") {
                    btf::Btf::parse(&content).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
                }
            }
            lcc_expect(dir.path(), &args(output), code);
            assert!(content() == expected, "after a kill at {delay:?} of {whole:?}");
        }
        assert!(interrupted > 0, "no run was interrupted");
    }
}

#[test]
fn killed_at_any_moment_a_single_output_is_whole_and_so_is_what_is_beside_it() {
    let dir = TempDir::new().unwrap();
    let btf = some_btf(dir.path());
    fs::write(dir.path().join("in.btf"), &btf).unwrap();
    fs::create_dir(dir.path().join("out")).unwrap();
    let args = ["gen", "in.btf", "-o", "out/x.btf"];
    let start = Instant::now();
    lcc_expect(dir.path(), &args, 0);
    let whole = start.elapsed();
    let (mut interrupted, mut beside) = (0, 0);
    for n in 0..20 {
        // The first half of the run reads.
        let delay = whole.mul_f64(0.4 + 0.6 * f64::from(n) / 20.0);
        fs::write(dir.path().join("out/x.btf"), b"old").unwrap();
        let mut child = program();
        let child = child.current_dir(dir.path()).args(args).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = child.spawn().unwrap();
        sleep(delay);
        child.kill().unwrap();
        interrupted += usize::from(child.wait().unwrap().code().is_none());
        let mut left = tree(&dir.path().join("out"));
        let output = left.remove(Path::new("x.btf")).expect("the old one or the new one");
        assert!(output == b"old" || output == btf, "after a kill at {delay:?} of {whole:?}");
        // what replaces another file has a name of its own for a moment, when it is whole
        assert!(
            left.values().all(|content| *content == btf),
            "after a kill at {delay:?} of {whole:?}: {:?}",
            left.keys()
        );
        beside += left.len();
        left.keys().for_each(|name| fs::remove_file(dir.path().join("out").join(name)).unwrap());
    }
    assert!(interrupted > 0, "no run was interrupted");
    assert!(beside <= 2, "{beside} of 20 runs left a file beside it");
}

#[test]
fn two_runs_do_not_write_to_one_archive() {
    let dir = TempDir::new().unwrap();
    kernel(&dir.path().join("vmlinux"), "6.1.0", 1);
    lcc_expect(dir.path(), &["gen", "vmlinux", "--pack", "p"], 0);
    let lock = fs::File::open(dir.path().join("p.lcc-btf/lock")).unwrap();
    lock.lock().unwrap();
    let ran = lcc_expect(dir.path(), &["gen", "vmlinux", "--pack", "p"], 2);
    assert_eq!(ran.stderr, "lcc-btf: p.lcc-btf: another run is writing here\n");
}
