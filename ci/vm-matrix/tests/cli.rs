//! `lcc-vm` as users call it. What it does in machines is tested by `cargo xtask matrix`.

use std::process::{Command, Output};

fn lcc_vm(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lcc-vm")).args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn kernels_are_listed() {
    let output = lcc_vm(&["list"]);
    assert!(output.status.success());
    let listed = text(&output.stdout);
    for expected in ["5.10-cloud ", "6.1-cloud+unprivileged ", "6.12-arm64 ", "6.1-686-pae ", "own-6.1 "] {
        assert!(listed.lines().any(|line| line.starts_with(expected)), "{expected}: {listed}");
    }
}

#[test]
fn mistakes_are_errors() {
    let check = |args: &[&str], expected: &str| {
        let output = lcc_vm(args);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(expected), "{said}");
    };
    check(&["run"], "--kernel");
    check(&["run", "--kernel", "2.4"], "there is no kernel 2.4: lcc-vm list has all");
    check(&["run", "--kernel", "6.1-arm64"], "6.1-arm64: for arm64 give --guest");
    check(&["run", "--kernel", "6.1-cloud", "--", "no-such-program"], "there is no program no-such-program");
    check(&["run", "--kernel", "6.1-cloud", "--env", "x"], "--env x: not NAME=VALUE");
    check(&["list", "--catalogue", "/no/such/file"], "read /no/such/file");
    // nothing is in an empty cache, and nobody is asked
    let cache = tempfile::tempdir().unwrap();
    let (cache, logs) = (cache.path().display().to_string(), cache.path().join("logs").display().to_string());
    let args = ["run", "--kernel", "6.1-cloud", "--offline", "--cache", &cache, "--logs", &logs];
    let output = lcc_vm(&args);
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stderr);
    assert!(said.contains("it was never fetched, and the registry is not asked"), "{said}");
}
