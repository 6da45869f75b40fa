//! `lcc-load` as a user without rights: it says that they are missing, not that the kernel cannot, and what it predicts is what the kernel
//! does, whatever `kernel.unprivileged_bpf_disabled` is.
//!
//! As root, which becomes that user. Where the machine is there for tests alone (`cargo xtask matrix`), by each value that can be
//! taken back; `LCC_AGENTS` names the folder that `lcc-load` is in there.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use lcc_tests::{compile, is_emulated, may_load};
use serde_json::Value;
use tempfile::TempDir;

/// Debian's user `nobody`, and its group.
const NOBODY: u32 = 65534;

const SETTING: &str = "/proc/sys/kernel/unprivileged_bpf_disabled";

/// What everybody may read: the program, and objects.
struct Place {
    folder: TempDir,
}

const OBJECTS: [(&str, &str); 2] =
    [("tcprt.o", "bpf/tcprt/tcprt.bpf.c"), ("zoo.o", "loader/lcc-load/tests/fixtures/zoo.bpf.c")];

impl Place {
    /// `None`, said, where there is no compiler.
    fn new() -> Option<Place> {
        let folder = tempfile::tempdir().unwrap();
        let set = |path: &Path| std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
        let program = match std::env::var_os("LCC_AGENTS") {
            Some(folder) => PathBuf::from(folder).join("lcc-load"),
            None => env!("CARGO_BIN_EXE_lcc-load").into(),
        };
        std::fs::copy(program, folder.path().join("lcc-load")).unwrap();
        set(&folder.path().join("lcc-load"));
        for (name, source) in OBJECTS {
            std::fs::write(folder.path().join(name), compile(source)?).unwrap();
        }
        set(folder.path());
        Some(Place { folder })
    }

    /// Runs it; exits of a program that ends by itself, with no panic.
    #[track_caller]
    fn run(&self, user: u32, arguments: &[&str]) -> (i32, String, String) {
        let mut command = Command::new(self.folder.path().join("lcc-load"));
        command.args(arguments).current_dir(self.folder.path()).uid(user).gid(user);
        let Output { status, stdout, stderr } = command.output().unwrap();
        let (out, errors) = (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
        let code = status.code().unwrap_or_else(|| panic!("{arguments:?}: {status}: {errors}"));
        assert!(code <= 2 && !errors.contains("panicked"), "{arguments:?}: {status}: {errors}");
        (code, out, errors)
    }
}

#[test]
fn root_who_has_no_rights_is_told_so() {
    if !may_load() {
        return;
    }
    let Some(place) = Place::new() else { return };
    let read = || std::fs::read_to_string(SETTING).unwrap().trim().parse::<u8>().unwrap();
    // 1 is as 2, and stays
    let settings: &[u8] = if is_emulated() && read() != 1 { &[2, 0] } else { &[read()] };
    for &setting in settings {
        // before Linux 5.13 (08389d888287, "bpf: Add kconfig knob for disabling unpriv bpf by default"), and what took it over, no 2
        if read() != setting && std::fs::write(SETTING, setting.to_string()).is_err() {
            eprintln!("unprivileged_bpf_disabled cannot be {setting}");
            continue;
        }
        assert_eq!(read(), setting);
        eprintln!("unprivileged_bpf_disabled is {setting}");
        check_facts(&place, setting);
        for (object, _) in OBJECTS {
            check_plan(&place, object);
            check_verify(&place, object, setting);
            check_run(&place, object, setting);
        }
    }
}

fn check_facts(place: &Place, setting: u8) {
    let (code, out, errors) = place.run(NOBODY, &["facts"]);
    assert_eq!(code, 0, "{errors}");
    let facts: Value = serde_json::from_str(&out).unwrap();
    let security = &facts["security"];
    assert_eq!(security["capabilities"].as_array().map(Vec::len), Some(0), "{security}");
    assert_eq!(security["unprivileged_bpf_disabled"], setting);
    for (feature, answer) in facts["features"].as_object().unwrap() {
        let no = answer["no"].as_str().unwrap_or_default();
        let is_rights = ["not permitted", "denied", "refuses"].iter().any(|word| no.contains(word));
        assert!(!is_rights, "{feature}: that it may not be tried says nothing of the kernel: {no}");
    }
}

/// What a plan has that is not met: the program, and the need.
fn unmet(plan: &Value) -> BTreeSet<(String, String)> {
    let mut all = BTreeSet::new();
    for program in plan["programs"].as_array().unwrap() {
        for requirement in program["requirements"].as_array().unwrap() {
            if requirement["status"] != "unmet" {
                continue;
            }
            let mut need = requirement.clone();
            for key in ["status", "evidence", "remedy"] {
                need.as_object_mut().unwrap().remove(key);
            }
            all.insert((program["name"].as_str().unwrap().to_owned(), need.to_string()));
        }
    }
    all
}

fn check_plan(place: &Place, object: &str) {
    let (code, out, errors) = place.run(NOBODY, &["plan", "--json", object]);
    let plan: Value = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {errors}"));
    assert_eq!((code, &plan["outcome"]), (1, &"fails".into()), "{errors}");
    let roots: Value = serde_json::from_str(&place.run(0, &["plan", "--json", object]).1).unwrap();
    let (unmet, roots) = (unmet(&plan), unmet(&roots));
    let added: Vec<_> = unmet.difference(&roots).filter(|(_, need)| !need.contains(r#""what":"capability""#)).collect();
    assert!(added.is_empty(), "{object}: it is the rights that are missing, not: {added:#?}");
    for program in plan["programs"].as_array().unwrap().iter().filter(|program| program["enabled"] == true) {
        // as far as is known, it may be anyone's
        assert_eq!(program["reason"], "nothing_unmet", "{program}");
    }
}

fn check_verify(place: &Place, object: &str, setting: u8) {
    let (code, out, errors) = place.run(NOBODY, &["verify", object]);
    assert_eq!(code, 0, "{object}: the kernel did otherwise than predicted:\n{out}{errors}");
    let lines = || out.lines().skip(1);
    assert!(lines().count() > 0, "{out}");
    let works = lines().filter(|line| line.ends_with("  works")).count();
    eprintln!("{object}: {works} of {} programs may be anyone's", lines().count());
    for line in lines().filter(|_| setting > 0) {
        assert!(line.contains("predicted unmet") && line.contains("the process may not load BPF programs"), "{line}");
    }
}

fn check_run(place: &Place, object: &str, setting: u8) {
    let (code, out, errors) = place.run(NOBODY, &["run", "--seconds", "0", object]);
    eprintln!("{object}: run exits with {code}: {}", errors.trim());
    assert!(out.contains("the process does not have CAP_BPF") || setting == 0, "{out}");
    if setting > 0 {
        let said = "the process may not load BPF programs: run as root, or with CAP_BPF and CAP_PERFMON";
        assert!(code == 2 && errors.contains(said), "{code}: {errors}");
    } else {
        assert!(code == 1 || code == 2 && errors.contains("the process may not"), "{code}: {errors}");
    }
}
