//! `lcc-btf check`.

use std::fs;

use crate::support::{TempDir, check_golden, kernel, lcc_expect, objects};

const RELEASE: &str = "6.1.0-18-amd64";

/// Two kernels, of which the second has what the bad object asks for without a guard; and the objects.
fn folder() -> Option<TempDir> {
    let dir = TempDir::new().unwrap();
    kernel(&dir.path().join("debian/12/x86_64/old"), RELEASE, 11);
    kernel(&dir.path().join("debian/12/x86_64/new"), "6.2.0-1-amd64", 13);
    objects(dir.path())?;
    Some(dir)
}

const BOTH: [&str; 4] = ["--obj", "good.o", "--obj", "bad.o"];

#[test]
fn a_table_for_people() {
    let Some(dir) = folder() else { return };
    let ran = lcc_expect(dir.path(), &[&["check", "debian"], &BOTH[..]].concat(), 1);
    check_golden("check.txt", &ran.stdout);
    let verbose = lcc_expect(dir.path(), &[&["-v", "check", "debian"], &BOTH[..]].concat(), 1);
    check_golden("check-verbose.txt", &verbose.stdout);
    lcc_expect(dir.path(), &["check", "debian", "--obj", "good.o"], 0);
}

#[test]
fn the_same_whatever_the_number_of_jobs() {
    let Some(dir) = folder() else { return };
    let json =
        |jobs| lcc_expect(dir.path(), &[&["check", "debian", "--json", "-j", jobs], &BOTH[..]].concat(), 1).stdout;
    let one = json("1");
    assert_eq!(one, json("7"));
    let report: serde_json::Value = serde_json::from_str(&one).unwrap();
    assert_eq!(report["kernels"][0]["plans"][1]["outcome"], "fails");
    let requirement = &report["kernels"][0]["plans"][1]["programs"][0]["requirements"][0];
    assert_eq!((&requirement["what"], &requirement["status"]), (&"relocation".into(), &"unmet".into()));
}

#[test]
fn files_for_ci_and_for_the_web() {
    let Some(dir) = folder() else { return };
    let more = ["--junit", "out.xml", "--html", "out.html"];
    lcc_expect(dir.path(), &[&["check", "debian"], &BOTH[..], &more[..]].concat(), 1);
    let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
    check_golden("check.xml", &read("out.xml"));
    let page = read("out.html");
    assert!(page.contains("struct task_struct.start_boottime") && !page.contains("http"), "{page}");
    assert_eq!(page.matches("<td class=\"cell").count(), 4);
}

#[test]
fn a_pack_tells_as_much_as_it_holds() {
    let Some(dir) = folder() else { return };
    lcc_expect(dir.path(), &["gen", "debian", "--surface", "--pack", "whole.pack"], 0);
    let json = |args: &[&str], code| lcc_expect(dir.path(), &[&["check", "--json"], args].concat(), code).stdout;
    let plans = |text: &str| {
        let report: serde_json::Value = serde_json::from_str(text).unwrap();
        let kernels = report["kernels"].as_array().unwrap().iter();
        kernels.map(|kernel| kernel["plans"].clone()).collect::<Vec<_>>()
    };
    let outcomes = |text: &str| -> Vec<serde_json::Value> {
        plans(text).iter().flat_map(|all| all.as_array().unwrap().iter().map(|plan| plan["outcome"].clone())).collect()
    };
    let whole = json(&[&["whole.pack"], &BOTH[..]].concat(), 1);
    assert_eq!(outcomes(&whole), outcomes(&json(&[&["debian"], &BOTH[..]].concat(), 1)));
    lcc_expect(dir.path(), &[&["gen", "debian", "--pack", "minimal.pack"], &BOTH[..]].concat(), 1);
    // relocations are covered; helpers and functions are not, and unknown
    assert_eq!(
        outcomes(&json(&[&["minimal.pack"], &BOTH[..]].concat(), 1)),
        ["unknown", "fails", "unknown", "unknown"]
    );
}

#[test]
fn what_cannot_be_read_is_told_and_the_others_are_done() {
    let Some(dir) = folder() else { return };
    fs::write(dir.path().join("cut.pack"), b"LCC-PACK and no more").unwrap();
    let ran = lcc_expect(dir.path(), &["check", "cut.pack", "debian", "good.o", "absent", "--obj", "good.o", "-j1"], 2);
    check_golden("check-errors.txt", &ran.stderr);
    assert!(ran.stdout.contains("2 kernels, 1 objects"), "{}", ran.stdout);
}
