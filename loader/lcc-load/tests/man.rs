//! What packagers take: manual pages and completions.

use std::fs;
use std::process::{Command, Output};

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lcc-load")).args(arguments).output().unwrap()
}

#[test]
fn man_pages_are_written_for_every_subcommand() {
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("man");
    let output = run(&["man", pages.to_str().unwrap()]);
    assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
    for name in ["lcc-load", "lcc-load-facts", "lcc-load-plan", "lcc-load-run", "lcc-load-unpin", "lcc-load-verify"] {
        let page = fs::read_to_string(pages.join(format!("{name}.1"))).unwrap();
        assert!(page.contains(".SH DESCRIPTION"), "{name}: {page}");
    }
    let page = fs::read_to_string(pages.join("lcc-load-run.1")).unwrap();
    assert!(page.contains("Exit status") && page.contains("map\\-entries"), "{page}");
}

#[test]
fn completions_know_subcommands_and_options() {
    for shell in ["bash", "zsh", "fish"] {
        let output = run(&["completions", shell]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && text.contains("unpin") && text.contains("map-entries"), "{shell}: {text}");
    }
    assert_eq!(run(&["completions", "none"]).status.code(), Some(2));
}

#[test]
fn a_folder_that_cannot_be_written_is_an_error() {
    let output = run(&["man", "/proc/self/no_such_folder"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(errors.starts_with("lcc-load: /proc/self/no_such_folder: "), "{errors}");
}
