//! Whether instructions whose relocation failed are guarded: against the kernel's verifier.

mod support;

use std::process::Command;

use btf::Btf;
use btf::core_relo::{Fate, Target, relocate, report, resolve_all, search_candidates};
use btf::object_file::ObjectFile;
use btf::reach::reachable;

#[test]
fn root_the_verifier_agrees_on_what_is_guarded() {
    let Some(oracle) = support::oracle() else { return };
    let kernels = support::kernels();
    let Some(kernel) = kernels.iter().find(|kernel| kernel.name == "running") else {
        return support::skip("the running kernel has no BTF");
    };
    let path = support::object("guards");
    let data = std::fs::read(&path).unwrap();
    let object = ObjectFile::parse("guards", &data).unwrap();
    let types = kernel.btf();
    let btf = Btf::parse(&types).unwrap();
    let target = Target::kernel(&btf);
    let candidates = search_candidates(&target, [&object]);
    let code = relocate(&object, &resolve_all(&object, &target, &candidates));
    let mut programs = 0;
    for (number, function) in object.functions().iter().enumerate().filter(|(_, function)| object.is_entry(function)) {
        let (found, accepted) = match function.name.split_once('_').unwrap().0 {
            "guarded" => (false, true),
            "unguarded" => (true, false),
            "opaque" => (true, true),
            other => panic!("{other}"),
        };
        let reached = reachable(&object, &code.sections, [number]);
        let mut relocations = object.relocations().iter().zip(&code.results);
        let unguarded =
            relocations.any(|(relo, result)| *result == Ok(true) && reached.contains(relo.section, relo.insn));
        assert_eq!(unguarded, found, "{}", function.name);
        let output = Command::new(oracle).arg(&path).arg(&kernel.path).arg(&function.name).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let verdict = if accepted { "accepted" } else { "refused: relocation" };
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(text.lines().last(), Some(verdict), "{}\n{errors}", function.name);
        programs += 1;
    }
    assert_eq!(programs, 26);
}

/// What the report says of the relocations that are absent, line by line.
#[test]
fn absent_relocations_are_reported_with_place_and_reason() {
    if !support::has("clang") {
        return support::skip("clang is missing");
    }
    let path = support::object("guards");
    let data = std::fs::read(&path).unwrap();
    let object = ObjectFile::parse("guards", &data).unwrap();
    // A kernel that has nothing but the structure, with one of its members.
    let mut kernel = btf::write::Builder::new(btf::Endian::Little);
    let (task, pid, int) = (kernel.string("task_struct"), kernel.string("pid"), kernel.string("int"));
    let int = kernel.int(int, btf::ByteSize(4), btf::IntEncoding::SIGNED, btf::BitOffset(0), 32);
    let pid = btf::write::MemberDef { name: pid, ty: int, offset: btf::BitOffset(64), bitfield_size: 0 };
    kernel.composite(btf::Kind::Struct, task, btf::ByteSize(16), [pid]);
    let kernel = kernel.finish().unwrap();
    let btf = Btf::parse(&kernel).unwrap();
    let target = Target::kernel(&btf);
    let candidates = search_candidates(&target, [&object]);
    let report = report(&object, &target, &resolve_all(&object, &target, &candidates));
    let line = |relocation: &btf::core_relo::RelocationFate| {
        let (fate, reason) = match &relocation.fate {
            Fate::AbsentGuarded { reason } => ("guarded", reason.clone()),
            Fate::AbsentUnguarded { reason } => ("unguarded", reason.clone()),
            Fate::Resolved { value, exists } => ("resolved", format!("{value}, {exists}")),
            other => panic!("{other:?}"),
        };
        let autoload = if relocation.autoload { "" } else { " (not loaded)" };
        let (function, access) = (relocation.function.as_deref().unwrap(), &relocation.access);
        format!("{function}{autoload}: {} of {access}: {fate}: {reason}", relocation.kind)
    };
    let lines: Vec<String> = report.relocations.iter().map(line).collect();
    for expected in [
        "guarded_exists: field_exists of struct task_struct.absent: resolved: 0, false",
        "guarded_exists: byte_off of struct task_struct.absent: guarded: no member absent",
        "guarded_type_exists: byte_sz of struct absent_struct.x: guarded: no type of that name and kind",
        "guarded_enumerator: enumval_value of enum pid_type::PIDTYPE_ABSENT: guarded: no type of that name and kind",
        "guarded_matches: type_matches of struct list_head___matches: resolved: 0, false",
        "callback: byte_off of struct task_struct.absent: guarded: no member absent",
        "unguarded_plain: byte_off of struct task_struct.absent: unguarded: no member absent",
        "unguarded_wrong_guard: field_exists of struct task_struct.pid: resolved: 1, true",
        "read_absent_too: byte_off of struct task_struct.absent_too: unguarded: no member absent_too",
        "unguarded_not_loaded (not loaded): byte_off of struct task_struct.absent: unguarded: no member absent",
    ] {
        assert!(lines.iter().any(|line| line == expected), "{expected}\nnot in\n{}", lines.join("\n"));
    }
    let text = |name: &str| {
        let mut of_function =
            report.relocations.iter().filter(|relocation| relocation.function.as_deref() == Some(name));
        of_function.next_back().unwrap().line.as_ref().unwrap().text.clone()
    };
    assert_eq!(text("guarded_exists"), "USE(ABSENT);");
    assert_eq!(text("unguarded_plain"), "USE(ABSENT);");
    assert_eq!(text("guarded_by_argument"), "return read_if(ctx, HAS) + read_if(ctx, HAS_TOO);");
    let failing: Vec<&str> = report.failures().map(|relocation| relocation.function.as_deref().unwrap()).collect();
    assert!(!failing.contains(&"unguarded_not_loaded"));
    assert!(failing.contains(&"unguarded_plain"));
}

/// Programs of other objects, on the types of every kernel: where nothing absent can be reached, the verifier finds nothing.
#[test]
fn root_the_verifier_reaches_nothing_that_is_called_guarded() {
    let Some(oracle) = support::oracle() else { return };
    let paths = ["flavours", "tcplife"].map(support::object).into_iter().chain(support::more_objects());
    let mut guarded = 0;
    for path in paths {
        let data = std::fs::read(&path).unwrap();
        let object = ObjectFile::parse(path.to_str().unwrap(), &data).unwrap();
        for kernel in support::kernels() {
            let types = kernel.btf();
            let btf = Btf::parse(&types).unwrap();
            let target = Target::kernel(&btf);
            let candidates = search_candidates(&target, [&object]);
            let code = relocate(&object, &resolve_all(&object, &target, &candidates));
            for (number, function) in object.functions().iter().enumerate() {
                let of_function = |relo: &btf::object_file::CoreRelo| relo.function == Some(number);
                let mut relocations = object.relocations().iter().zip(&code.results);
                let is_poisoned = relocations.any(|(relo, result)| of_function(relo) && *result == Ok(true));
                if !object.is_entry(function) || !is_poisoned {
                    continue;
                }
                let reached = reachable(&object, &code.sections, [number]);
                let mut relocations = object.relocations().iter().zip(&code.results);
                if relocations.any(|(relo, result)| *result == Ok(true) && reached.contains(relo.section, relo.insn)) {
                    continue;
                }
                let output = Command::new(oracle).arg(&path).arg(&kernel.path).arg(&function.name).output().unwrap();
                let text = String::from_utf8_lossy(&output.stdout).into_owned();
                let what = format!("{} of {} on {}", function.name, object.name(), kernel.name);
                assert_ne!(text.lines().last(), Some("refused: relocation"), "{what}");
                guarded += usize::from(text.lines().last() == Some("accepted"));
            }
        }
    }
    assert!(guarded > 0);
    eprintln!("{guarded} programs with an absent but guarded relocation are accepted");
}
