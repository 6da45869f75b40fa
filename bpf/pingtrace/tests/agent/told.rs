//! What the program says of itself. `UPDATE_GOLDEN=1` writes the golden files anew.

use std::path::Path;
use std::process::{Command, Output};

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pingtrace")).args(args).env("COLUMNS", "100").output().expect("pingtrace")
}

#[track_caller]
fn check(args: &[&str], golden: &str) {
    let output = run(args);
    let text = String::from_utf8([output.stdout, output.stderr].concat()).expect("text");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(golden);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text).expect("written");
    }
    assert_eq!(text, std::fs::read_to_string(&path).unwrap_or_default(), "{golden}");
}

#[test]
fn the_help_is_as_it_was() {
    check(&["--help"], "help.txt");
    check(&["-h"], "help-short.txt");
}

#[test]
fn what_makes_no_sense_is_an_error() {
    check(&["-s", "-c", "127.0.0.1"], "error-both.txt");
    check(&["-c", "127.0.0.1", "-b", "100"], "error-bytes.txt");
    check(&["-c", "127.0.0.1", "--mode", "fast"], "error-mode.txt");
    assert_eq!(run(&["-s", "-c", "127.0.0.1"]).status.code(), Some(2));
}

#[test]
fn the_man_page_has_every_option() {
    let output = run(&["--man"]);
    let page = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success());
    for option in ["maxdelay", "logbackup", "nslocal", "userid", "btf\\-path", "explain", "histogram", "proto"] {
        assert!(page.contains(option), "{option}: {page}");
    }
    assert!(page.contains("CAP_NET_RAW") && page.contains("Exit status"));
}

#[test]
fn completions_have_the_options() {
    for (shell, option) in [("bash", "--maxdelay"), ("zsh", "--maxdelay"), ("fish", "-l maxdelay")] {
        let output = run(&["--completions", shell]);
        let script = String::from_utf8(output.stdout).expect("text");
        assert!(output.status.success() && script.contains(option), "{shell}: {script}");
    }
    assert_eq!(run(&["--completions", "tea"]).status.code(), Some(2));
}

#[test]
fn the_plan_is_explained() {
    let output = run(&["--explain"]);
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(text.contains("pingtrace.o on ") && text.contains("raw_tp/net_dev_queue"), "{text}");
}
