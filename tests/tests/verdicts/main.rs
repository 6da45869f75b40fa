//! What `lcc-btf check` says of tcprt and pingtrace on real kernels, every requirement of every program, held against what
//! bpftool reads in the same kernel's types: what is unmet is not there, and what is met is.
//!
//! Needs clang, bpftool, and kernels: Debian's in the cache (`cargo xtask kernels`), and BTFHub's archives. `cargo xtask test --kernels` runs it; `LCC_KERNELS="6.1-amd64 btfhub"` restricts it.

mod dump;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use btf::object_file::ObjectFile;
use dump::Dump;
use lcc_btf::check::{Settings, check};
use lcc_btf::generate::kernel::Source;
use lcc_btf::generate::run::Silent;
use lcc_tests::kernels;
use plan::{Feature, Need, Requirement, Status};

/// BTFHub's archives, and Debian's kernels that have the objects' byte order.
fn kernels() -> Vec<PathBuf> {
    let mut found = kernels::btfhub();
    if found.is_empty() {
        eprintln!("skipped: no archives of BTFHub");
    }
    found.extend(kernels::debian());
    found.retain(|path| {
        let mut start = [0; 6];
        let read = std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut start));
        let big = read.is_ok() && start.starts_with(b"\x7fELF") && start[5] == 2;
        if big {
            eprintln!("skipped: {} is big-endian, the objects are not", path.display());
        }
        !big
    });
    found.sort();
    found
}

/// bpftool's text of a kernel's types.
fn dump(kernel: &Path, scratch: &Path) -> Dump {
    let file = match kernel.extension().is_some_and(|extension| extension == "xz") {
        true => {
            let file = scratch.join("types.btf");
            std::fs::write(&file, kernels::unpack(kernel)).expect("writing");
            file
        }
        false => kernel.to_owned(),
    };
    let text = Command::new("bpftool").args(["btf", "dump", "file"]).arg(&file).output().expect("running bpftool");
    assert!(text.status.success(), "bpftool: {}: {}", kernel.display(), String::from_utf8_lossy(&text.stderr));
    Dump::read(&String::from_utf8_lossy(&text.stdout))
}

/// Whether what is needed is there.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Clone, Copy)]
enum Seen {
    There,
    NotThere,
    /// These types do not tell, and why.
    CannotTell(&'static str),
}

fn seen(there: bool) -> Seen {
    if there { Seen::There } else { Seen::NotThere }
}

/// What the types say of a requirement of a program with this section.
fn look(dump: &Dump, section: &str, requirement: &Requirement) -> Seen {
    match &requirement.need {
        Need::ProgramType { name } => seen(dump.has_enumerator("bpf_prog_type", name)),
        Need::AttachType { name } => seen(dump.has_enumerator("bpf_attach_type", name)),
        Need::Helper { .. } if requirement.evidence.starts_with("libbpf takes ") => {
            Seen::CannotTell("libbpf puts an older one in its place")
        }
        Need::Helper { number, name } => match dump.enumerator_at("bpf_func_id", "BPF_FUNC_", (*number).into()) {
            // our name of the number is the kernel's
            Some(found) => {
                seen(name.as_deref() == found.strip_prefix("BPF_FUNC_").map(|n| format!("bpf_{n}")).as_deref())
            }
            None => Seen::NotThere,
        },
        Need::MapType { number, .. } => {
            seen(dump.enumerator_at("bpf_map_type", "BPF_MAP_TYPE_", (*number).into()).is_some())
        }
        Need::Feature { feature: Feature::GlobalData } => seen(dump.has_enumerator("bpf_cmd", "BPF_MAP_FREEZE")),
        Need::Feature { feature: Feature::Fentry } => match dump.has("STRUCT", "bpf_trampoline") {
            false => Seen::NotThere,
            true => Seen::CannotTell("by architecture and version: trampolines alone are not enough"),
        },
        Need::Feature { .. } => Seen::CannotTell("by configuration, which is not known"),
        Need::OwnBtf if !dump.has_functions() => Seen::CannotTell("no functions"),
        Need::OwnBtf => match ["btf_parse_vmlinux", "bpf_get_btf_vmlinux"].iter().any(|name| dump.has("FUNC", name)) {
            false => Seen::NotThere,
            true if requirement.status == Status::Met => Seen::There,
            true => Seen::CannotTell("the kernel can read it; whether it has it is its file's matter"),
        },
        Need::Target { kind: "tracepoint", name } => match dump.has_typedef_like("btf_trace_") {
            true => seen(dump.has("TYPEDEF", &format!("btf_trace_{name}"))),
            false => {
                let records = [format!("trace_event_raw_{name}"), format!("ftrace_raw_{name}")];
                match records.iter().any(|record| dump.has("STRUCT", record)) {
                    true => Seen::There,
                    false => Seen::CannotTell("tracepoints before 5.5: by DWARF"),
                }
            }
        },
        Need::Target { kind: "function", name } => match dump.has("FUNC", name) {
            true if requirement.status == Status::Met => Seen::There,
            true => Seen::CannotTell("functions that the types have: by DWARF"),
            false if requirement.status == Status::Met => Seen::CannotTell("functions without a type: by symbol"),
            false => Seen::NotThere,
        },
        Need::Argument { function, number, structure } => {
            let at_function = ["kprobe", "kretprobe", "fentry", "fexit"].iter().any(|kind| section.starts_with(kind));
            let prototypes = match at_function {
                true => dump.parameters_of_function(function),
                false => dump.parameters_of_tracepoint(function).into_iter().collect(),
            };
            let answers = prototypes.iter().map(|parameters| match parameters.get(number - 1) {
                None => Some(false),
                Some(_) if structure.is_empty() => Some(true),
                Some(&parameter) => dump.points_to(parameter, structure),
            });
            match answers.collect::<Option<Vec<bool>>>() {
                Some(answers) if !answers.is_empty() => seen(answers.contains(&true)),
                _ => Seen::CannotTell("no prototype, or void *"),
            }
        }
        Need::Relocation { access, .. } => seen(dump.has_access(access)),
        Need::Relocations { .. } => Seen::CannotTell("a sum"),
        Need::Kfunc { name } => seen(dump.has("FUNC", name)),
        Need::Variable { name } => seen(dump.has("VAR", name)),
        _ => Seen::CannotTell("no matter of types"),
    }
}

/// The field `what` of the report.
fn kind(need: &Need) -> &'static str {
    match need {
        Need::ProgramType { .. } => "program type",
        Need::AttachType { .. } => "attach type",
        Need::Helper { .. } => "helper",
        Need::MapType { .. } => "map type",
        Need::Feature { .. } => "feature",
        Need::OwnBtf => "own BTF",
        Need::Target { kind, .. } => kind,
        Need::Argument { .. } => "argument",
        Need::Relocation { .. } => "relocation",
        Need::Relocations { .. } => "relocations",
        _ => "other",
    }
}

#[test]
#[ignore = "reads gigabytes"]
fn what_is_unmet_is_not_in_the_kernels_types_and_what_is_met_is() {
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let mut compiled = Vec::new();
    for name in ["tcprt", "pingtrace"] {
        let object = lcc_tests::compile(&format!("bpf/{name}/{name}.bpf.c")).expect("clang");
        compiled.push((name, object));
    }
    let objects: Vec<ObjectFile<'_>> =
        compiled.iter().map(|(name, bytes)| ObjectFile::parse(name, bytes).expect("reading an object")).collect();
    let kernels = kernels();
    let settings = Settings { source: Source::Auto, jobs: 2, root: PathBuf::from("/") };
    let mut counts: BTreeMap<(Status, &str, Seen), usize> = BTreeMap::new();
    let mut wrong = Vec::new();
    for path in &kernels {
        let report = check(std::slice::from_ref(path), &objects, &settings, &Silent);
        assert!(report.failures.is_empty(), "{:?}", report.failures);
        let dump = dump(path, scratch.path());
        for (kernel, plan) in
            report.kernels.iter().flat_map(|kernel| kernel.plans.iter().map(move |plan| (kernel, plan)))
        {
            for program in &plan.programs {
                for requirement in &program.requirements {
                    let seen = look(&dump, &program.section, requirement);
                    *counts.entry((requirement.status, kind(&requirement.need), seen)).or_default() += 1;
                    let contradicts = matches!(
                        (requirement.status, seen),
                        (Status::Unmet, Seen::There) | (Status::Met, Seen::NotThere)
                    );
                    if contradicts {
                        let (need, evidence) = (&requirement.need, &requirement.evidence);
                        let status = requirement.status.word();
                        wrong
                            .push(format!("{} {}: {status} {need}: {evidence}: {seen:?}", kernel.kernel, program.name));
                    }
                }
            }
        }
    }
    if kernels.is_empty() {
        eprintln!("skipped: no kernels (cargo xtask kernels)");
        return;
    }
    eprintln!("{} kernels, {} objects", kernels.len(), objects.len());
    for ((status, kind, seen), count) in &counts {
        eprintln!("{:7} {kind:12} {count:5} {seen:?}", status.word());
    }
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
    let confirmed = |status: Status, seen: Seen| {
        let all = counts.iter().filter(|((of, _, what), _)| *of == status && *what == seen);
        all.map(|(_, count)| count).sum::<usize>()
    };
    let (absent, present) = (confirmed(Status::Unmet, Seen::NotThere), confirmed(Status::Met, Seen::There));
    eprintln!("{absent} unmet and {present} met ones are confirmed");
    assert!(present > 0, "nothing was looked at");
}
