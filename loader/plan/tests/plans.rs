//! Plans of programs that clang compiled, on kernels whose types it compiled too. `UPDATE_GOLDEN=1` rewrites the goldens.

use std::path::{Path, PathBuf};

use btf::Btf;
use btf::core_relo::Target;
use btf::object_file::ObjectFile;
use plan::{Answer, Choice, Feature, Hints, Kernel, KernelFacts, Lockdown, Outcome, Plan};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// Compiles a fixture for BPF. `None` where there is no clang, which is a failure where `CI=true`.
fn compiled(source: &str, arguments: &[&str]) -> Option<Vec<u8>> {
    compile::for_test(&fixtures(), Path::new(source), &[&["-I", "../../../../bpf"], arguments].concat())
}

fn plan_with(kernel: &[&str], facts: &KernelFacts, hints: &Hints) -> Option<Plan> {
    let (object, kernel) = (compiled("programs.bpf.c", &[])?, compiled("kernel.c", kernel)?);
    let object = ObjectFile::parse("programs.bpf.o", &object).unwrap();
    let types = btf::elf::btf_section(&kernel).unwrap().unwrap();
    let types = Btf::parse(types.btf).unwrap();
    Some(plan::plan(&object, &Kernel::new(facts, Some(Target::kernel(&types)), None), hints))
}

fn facts(release: &str) -> KernelFacts {
    let mut facts = KernelFacts::unknown();
    facts.release = Some(release.to_owned());
    facts.arch = Some("x86_64".to_owned());
    facts
}

#[track_caller]
fn check_golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(expected == text, "{}: not as expected (UPDATE_GOLDEN=1 accepts it)\n{text}", path.display());
}

/// The plan's text, with the source's name as it was given to clang.
fn text(plan: &Plan) -> String {
    plan::text::lines(plan, false).replace("./programs.bpf.c", "programs.bpf.c")
}

#[test]
fn a_new_kernel() {
    let mut facts = facts("6.12.0");
    facts.own_btf = Answer::Yes;
    let Some(plan) = plan_with(&[], &facts, &Hints::default()) else { return };
    check_golden("new.txt", &text(&plan));
    assert_eq!(plan.outcome, Outcome::Degraded);
}

#[test]
fn an_old_kernel() {
    let Some(plan) = plan_with(&["-DOLD"], &facts("4.18.0"), &Hints::default()) else { return };
    check_golden("old.txt", &text(&plan));
}

#[test]
fn what_was_tried_out_counts_more_than_what_types_tell() {
    let mut facts = facts("6.12.0");
    facts.own_btf = Answer::Yes;
    facts.features.insert(Feature::Fentry, Answer::No("EPERM when it was tried".to_owned()));
    facts.features.insert(Feature::Kprobe, Answer::No("CONFIG_KPROBES is not set".to_owned()));
    facts.helpers.entry("KPROBE".to_owned()).or_default().insert(113, Answer::No("EINVAL".to_owned()));
    facts.security.lockdown = Some(Lockdown::Confidentiality);
    facts.security.capabilities = Some(vec!["CAP_BPF".to_owned()]);
    let Some(plan) = plan_with(&[], &facts, &Hints::default()) else { return };
    check_golden("tried.txt", &text(&plan));
    assert_eq!(plan.outcome, Outcome::Fails);
}

#[test]
fn without_types_nothing_is_refused() {
    let Some(object) = compiled("programs.bpf.c", &[]) else { return };
    let object = ObjectFile::parse("programs.bpf.o", &object).unwrap();
    let facts = KernelFacts::unknown();
    let plan = plan::plan(&object, &Kernel::new(&facts, None, None), &Hints::default());
    let refused: Vec<&str> =
        plan.programs.iter().filter(|p| p.reason == plan::Reason::Unmet).map(|p| p.name.as_str()).collect();
    assert_eq!(refused, ["section"], "its section is libbpf's to know, not the kernel's");
}

#[test]
fn a_choice_by_name_goes_before_the_tags() {
    let choices: Vec<(String, Choice)> =
        ["unguarded", "helper"].map(|name| (name.to_owned(), Choice { group: None, optional: false })).to_vec();
    let hints = Hints { choices, ..Hints::default() };
    let Some(plan) = plan_with(&["-DOLD"], &facts("4.18.0"), &hints) else { return };
    assert_eq!(plan.outcome, Outcome::Fails);
}

#[test]
fn the_same_question_has_the_same_answer() {
    let facts = facts("6.12.0");
    let (Some(one), Some(other)) =
        (plan_with(&[], &facts, &Hints::default()), plan_with(&[], &facts, &Hints::default()))
    else {
        return;
    };
    assert_eq!(serde_json::to_string(&one).unwrap(), serde_json::to_string(&other).unwrap());
}

#[test]
fn what_the_kernel_refused_is_not_asked_for_again() {
    let mut facts = facts("6.12.0");
    facts.own_btf = Answer::Yes;
    let refused = vec![plan::Refused::new("send_fexit", "load", "R0 !read_ok")];
    let Some(plan) = plan_with(&[], &facts, &Hints { refused, ..Hints::default() }) else { return };
    let group = plan.groups.iter().find(|group| group.name == "send").unwrap();
    assert_eq!(group.taken, Some(3), "the tracepoint of rank 2 has another signature");
    let of = |name: &str| plan.programs.iter().find(|program| program.name == name).unwrap();
    assert_eq!(of("send_fexit").requirements[0].evidence, "R0 !read_ok");
    assert!(!of("send_fentry").enabled && of("send_kprobe").enabled);
}

#[test]
fn what_the_verifier_stopped_at_is_told_by_source_and_relocation() {
    let Some(bytes) = compiled("programs.bpf.c", &[]) else { return };
    let object = ObjectFile::parse("programs.bpf.o", &bytes).unwrap();
    let good = object.functions().iter().position(|function| function.name == "good").unwrap();
    let relocation = object.relocations().iter().find(|relocation| relocation.function == Some(good)).unwrap();
    let insn = Some(relocation.insn - object.functions()[good].start);
    let refused = plan::Refused { insn, ..plan::Refused::new("good", "load", "R1 invalid mem access") };
    let facts = facts("6.12.0");
    let kernel = Kernel::new(&facts, None, None);
    let found = plan::plan(&object, &kernel, &Hints { refused: vec![refused], ..Hints::default() });
    let text = plan::text::lines(&found, false);
    let after = text.split("unmet the kernel's consent to load it: R1 invalid mem access\n").nth(1).unwrap();
    let lines: Vec<&str> = after.lines().map(str::trim).take(2).collect();
    assert!(lines[0].starts_with("at ") && lines[0].contains("programs.bpf.c:"), "{text}");
    assert!(lines[1].starts_with("reading struct "), "{text}");
}

/// As Debian's 6.1.0-50-686-pae says of such ("R6 invalid mem access 'mem_or_null'").
#[test]
fn contexts_of_global_functions_need_the_kernels_own_types() {
    let Some(bytes) = compiled("contexts.bpf.c", &[]) else { return };
    let object = ObjectFile::parse("contexts.bpf.o", &bytes).unwrap();
    let refused = |own_btf: Answer| -> Vec<String> {
        let mut facts = facts("6.1.0");
        facts.own_btf = own_btf;
        let found = plan::plan(&object, &Kernel::new(&facts, None, None), &Hints::default());
        found.programs.iter().filter(|program| !program.enabled).map(|program| program.name.clone()).collect()
    };
    assert_eq!(refused(Answer::No("/sys/kernel/btf/vmlinux is not there".to_owned())), ["calls_global"]);
    assert!(refused(Answer::Yes).is_empty());
}
