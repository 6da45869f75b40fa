//! What is printed for packagers and for who asks: help as `golden/help.txt` has it (`UPDATE_GOLDEN=1` rewrites it), man pages,
//! completions.

use std::path::Path;
use std::process::Command;

fn offsetdb(arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_offsetdb"));
    let output = command.env_remove("OFFSETDB").env("COLUMNS", "120").args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The subcommands, in the order of the help, by the help.
fn subcommands() -> Vec<String> {
    let help = offsetdb(&["--help"]);
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    lines.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help").map(str::to_owned).collect()
}

#[test]
fn help_is_as_it_was() {
    let mut all = String::new();
    for name in std::iter::once(String::new()).chain(subcommands()) {
        let arguments: Vec<&str> = [name.as_str(), "--help"].into_iter().filter(|word| !word.is_empty()).collect();
        all += &format!("$ offsetdb {}\n{}\n", arguments.join(" "), offsetdb(&arguments));
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/help.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &all).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(expected == all, "{}: not as expected (UPDATE_GOLDEN=1 accepts it)\n{all}", path.display());
}

#[test]
fn every_subcommand_has_a_page_and_is_completed() {
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("man");
    offsetdb(&["man", pages.to_str().unwrap()]);
    let names = subcommands();
    assert!(names.len() >= 11, "{names:?}");
    let page = |name: &str| std::fs::read_to_string(pages.join(name)).unwrap();
    assert!(page("offsetdb.1").contains("Exit status"));
    for name in &names {
        assert!(page(&format!("offsetdb-{name}.1")).starts_with(".ie"), "{name}");
    }
    for shell in ["bash", "zsh", "fish"] {
        let text = offsetdb(&["completions", shell]);
        assert!(names.iter().all(|name| text.contains(name.as_str())) && text.contains("reference"), "{shell}");
    }
}
