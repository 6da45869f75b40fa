use std::path::Path;

use vm_guest::words::{Outcome, Program, Test, Verified};

use super::*;
use crate::boot::{Accelerator, End};
use crate::catalogue::Architecture;
use crate::results::Results;

fn program(name: &str, predicted: &str, why: &[&str], refused: Option<&str>) -> Program {
    let differs = (predicted == "met") == refused.is_some();
    Program {
        program: name.to_owned(),
        section: format!("kprobe/{name}"),
        predicted: predicted.to_owned(),
        enabled: predicted == "met",
        why: why.iter().map(|why| (*why).to_owned()).collect(),
        refused: refused.map(str::to_owned),
        silently: false,
        differs,
    }
}

fn object(outcome: &str, btf: Option<&str>, programs: Vec<Program>) -> Verified {
    let (object, places) = ("tcprt.o".to_owned(), vec!["the kernel's own BTF: taken".to_owned()]);
    Verified { object, outcome: outcome.to_owned(), btf: btf.map(str::to_owned), places, programs }
}

fn test(name: &str, outcome: Outcome, said: &str) -> Test {
    Test { program: "agent".to_owned(), test: name.to_owned(), outcome, seconds: 1.25, said: said.to_owned() }
}

/// One entry that passed, one that did not in every way, one that was not booted.
fn results() -> Results {
    let good = EntryResult {
        name: "6.1-cloud".to_owned(),
        package: "linux-image-6.1.0-56-cloud-amd64".to_owned(),
        version: "6.1.192-2".to_owned(),
        release: "6.1.0-56-cloud-amd64".to_owned(),
        booted: true,
        accelerator: Some(Accelerator::Tcg),
        boot_seconds: Some(3.75),
        seconds: 75.5,
        end: Some(End::Done),
        facts: serde_json::json!({ "own_btf": "yes", "features": { "kprobe": "yes", "fentry": { "no": "refused" } } }),
        objects: vec![object(
            "works",
            Some("the kernel's own BTF"),
            vec![
                program("a", "met", &[], None),
                program("b", "unmet", &["kprobes: no <such> thing"], Some("load: -EINVAL")),
            ],
        )],
        tests: vec![
            test("root_events_come", Outcome::Passed, ""),
            test("root_pings", Outcome::Skipped, "no veth: not supported"),
        ],
        ..EntryResult::default()
    };
    let bad = EntryResult {
        name: "6.1-686-pae+packed".to_owned(),
        about: "BTF from the shipped pack".to_owned(),
        architecture: Architecture::I386,
        btf: Some(Btf::Pack),
        seconds: 3725.0,
        end: Some(End::Hung("test agent".to_owned())),
        facts: serde_json::json!({ "own_btf": { "no": "it is not there" } }),
        objects: vec![object(
            "fails",
            None,
            vec![program("a", "met", &[], Some("attach: a | b")), program("b", "unmet", &["types: none"], None)],
        )],
        tests: vec![test("root_events_come", Outcome::Failed, "thread panicked\nleft: 1\nright: 2")],
        warnings: vec!["linux-modules-6.1 cannot be had".to_owned()],
        failures: vec!["it hung in test agent; the console is in x.log".to_owned()],
        ..good.clone()
    };
    let planned = EntryResult {
        name: "6.1-armmp".to_owned(),
        architecture: Architecture::Armhf,
        booted: false,
        btf: Some(Btf::Debug),
        objects: vec![object(
            "degraded",
            None,
            vec![program("a", "met", &[], None), program("b", "unmet", &["own types"], Some("never shown"))],
        )],
        ..EntryResult::default()
    };
    Results {
        date: "2026-11-22".to_owned(),
        emulator: "QEMU emulator version 7.2.22".to_owned(),
        processors: 2,
        jobs: 2,
        build_seconds: 61.0,
        seconds: 1234.5,
        about: [("tcprt.o".to_owned(), "What <it> is.".to_owned())].into(),
        entries: vec![good, bad, planned],
    }
}

/// UPDATE_GOLDEN=1 writes the files anew.
#[test]
fn pages_are_as_they_were() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let results = results();
    for (name, text) in
        [("report.md", markdown(&results)), ("report.html", page(&results)), ("junit.xml", junit(&results))]
    {
        let path = folder.join(name);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let expected = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(text == expected, "{} is another one; UPDATE_GOLDEN=1 writes it:\n{text}", path.display());
    }
}

#[test]
fn shards_results_are_one_machines() {
    let whole = results();
    let entry = |name: &str| whole.entries.iter().find(|entry| entry.name == name).cloned().unwrap();
    let mut asked = crate::catalogue::read(crate::catalogue::KERNELS).unwrap();
    asked.retain(|one| whole.entries.iter().any(|entry| entry.name == one.name));
    let part = |names: &[&str]| Results { entries: names.iter().map(|name| entry(name)).collect(), ..whole.clone() };
    let merged = Results::merge(vec![part(&["6.1-armmp", "6.1-686-pae+packed"]), part(&["6.1-cloud"])], &asked);
    assert_eq!(merged.entries, whole.entries);
    assert_eq!((merged.jobs, merged.seconds), (4, whole.seconds));
    assert!(!merged.passed() && merged.entries[0].passed() && merged.entries[2].passed());
    // one machine's are not there
    let merged = Results::merge(vec![part(&["6.1-armmp", "6.1-686-pae+packed"])], &asked);
    assert_eq!(merged.entries[0].name, "6.1-cloud");
    assert_eq!(merged.entries[0].failures, ["none of the merged results has it"]);
    assert!(!merged.passed());
}

#[test]
fn times_are_rounded_as_a_whole() {
    let texts = [9.94, 9.96, 119.4, 119.6, 179.7].map(duration);
    assert_eq!(texts, ["9.9 s", "10 s", "119 s", "2 min 0 s", "3 min 0 s"]);
}
