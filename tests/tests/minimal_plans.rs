//! Of minimal BTF that is made for plans (`lcc-btf gen --plan`), a plan is what it is of the kernel's whole types: on the running
//! kernel, on BTFHub's kernels (`../shared/btfhub`), and on Debian's that are in the cache.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use btf::core_relo::Target;
use btf::coverage::PREFIX;
use btf::minimize::{ByName, minimize_merged};
use btf::object_file::ObjectFile;
use btf::{Btf, Endian};
use lcc_tests::kernels;
use plan::{Hints, Kernel, KernelFacts, Need, Plan, Status, lookups, plan};

/// A plan's decisions: what they rest on, without its words, which have the names of types that are cut.
fn decisions(plan: &Plan) -> Vec<String> {
    let mut all = vec![format!("{:?} {:?}", plan.outcome, plan.groups)];
    for map in &plan.maps {
        all.push(format!("map {} {} {} {:?}", map.name, map.enabled, map.map_type, map.requirement.status));
    }
    for program in &plan.programs {
        all.push(format!("{} {} {:?} {:?}", program.name, program.enabled, program.reason, program.status));
        // what is resolved is counted by relocations, of which the minimal types have all
        let needs = program.requirements.iter().map(|one| format!("  {:?} {}", one.status, one.need));
        all.extend(needs);
    }
    all
}

fn made(facts: &KernelFacts, types: &Btf<'_>, object: &ObjectFile<'_>) -> Plan {
    plan(object, &Kernel::new(facts, Some(Target::kernel(types)), None), &Hints::default())
}

/// What is unknown for want of the rest of the types.
fn cut(plan: &Plan) -> usize {
    let all = plan.programs.iter().flat_map(|program| &program.requirements);
    all.filter(|one| one.status == Status::Unknown && one.evidence.contains("this BTF is cut")).count()
}

/// The types of a kernel, where they are in this machine's byte order.
fn types(kernel: &Path) -> Option<Vec<u8>> {
    let of_elf = |file: &[u8]| Some(btf::elf::btf_section(file).expect("reading a kernel")?.btf.to_vec());
    let bytes = match kernel.extension().and_then(|extension| extension.to_str()) {
        _ if kernel.starts_with("/sys") => std::fs::read(kernel).expect("reading the kernel's types"),
        Some("xz") => {
            let content = kernels::unpack(kernel);
            if content.starts_with(b"\x7fELF") { of_elf(&content)? } else { content }
        }
        _ => of_elf(&kernels::map(kernel))?,
    };
    bytes.starts_with(&Endian::NATIVE.u16_bytes(btf::raw::MAGIC)).then_some(bytes)
}

#[test]
fn a_plan_of_minimal_types_is_that_of_the_whole() {
    let mut files = Vec::new();
    for source in ["bpf/tcprt/tcprt.bpf.c", "bpf/pingtrace/pingtrace.bpf.c", "loader/lcc-load/tests/fixtures/zoo.bpf.c"]
    {
        let Some(object) = lcc_tests::compile(source) else { return };
        files.push((source, object));
    }
    let objects: Vec<ObjectFile<'_>> =
        (files.iter()).map(|(source, bytes)| ObjectFile::parse(source, bytes).expect("reading an object")).collect();
    let running = Some(PathBuf::from("/sys/kernel/btf/vmlinux")).filter(|path| path.exists());
    let mut statuses: BTreeSet<Status> = BTreeSet::new();
    let (mut compared, mut unknown) = (0, 0);
    for kernel in running.into_iter().chain(kernels::btfhub()).chain(kernels::debian()) {
        let name = kernel.display();
        let Some(whole) = types(&kernel) else {
            eprintln!("{name}: no types, or in the other byte order");
            continue;
        };
        let whole = Btf::parse(&whole).expect("reading types");
        // where arguments are depends on it
        let arch = if name.to_string().contains("arm64") { "arm64" } else { "x86_64" };
        let facts = KernelFacts { arch: Some(arch.to_owned()), ..KernelFacts::unknown() };
        let target = Target::kernel(&whole);
        let minimal = minimize_merged(&target, &objects, &lookups(&objects, &target)).expect("cutting");
        let minimal = Btf::parse(&minimal.btf).expect("reading what was made");
        let mut bare = minimize_merged(&target, &objects, &ByName::default()).expect("cutting").btf;
        let stamp = bare.windows(PREFIX.len()).rposition(|bytes| bytes == PREFIX.as_bytes()).expect("a coverage");
        let stamped = bare.clone();
        // as bpftool leaves it
        bare[stamp..].fill(b'x');
        *bare.last_mut().expect("an end") = 0;
        let bare = [stamped, bare].map(|bytes| Btf::parse_owned(bytes).expect("reading what was made"));
        for object in &objects {
            let expected = made(&facts, &whole, object);
            let found = made(&facts, &minimal, object);
            assert_eq!(decisions(&found), decisions(&expected), "{name}, {}", object.name());
            assert_eq!(cut(&found), 0, "{name}, {}", object.name());
            // what is made for libbpf alone does not tell, and says so
            let is_told = |one: &&plan::Requirement| !matches!(one.need, Need::Relocation { .. });
            let unmet = |plan: &Plan| -> Vec<String> {
                let all = plan.programs.iter().flat_map(|program| &program.requirements).filter(is_told);
                all.filter(|one| one.status == Status::Unmet).map(|one| one.need.to_string()).collect()
            };
            let of_whole = unmet(&expected);
            for bare in &bare {
                let without = made(&facts, bare, object);
                assert!(cut(&without) > 0, "{name}, {}", object.name());
                assert!(unmet(&without).iter().all(|need| of_whole.contains(need)), "{name}, {}", object.name());
            }
            statuses.extend(expected.programs.iter().map(|program| program.status));
            compared += expected.programs.len();
            unknown += expected.programs.iter().filter(|program| program.status == Status::Unknown).count();
        }
    }
    eprintln!("{compared} programs of {} objects, {unknown} of which are unknown either way", objects.len());
    assert!(compared > 0 && statuses.len() == 3, "{compared} programs, {statuses:?}");
}
