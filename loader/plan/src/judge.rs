//! Each need of a program held against a kernel.

use btf::Kind;
use btf::surface::{Verdict, format::Lookup as FunctionLookup};

use crate::callers::{self, may_call};
use crate::facts::{Answer, Feature, Lockdown};
use crate::kernel::{BpfEnum, Kernel, Lookup};
use crate::names;
use crate::needs::{self, MapDefinition, Uses};
use crate::requirement::{Need, Requirement, Status};
use crate::section::{Attach, SectionKind};

impl Requirement {
    /// Found is met, absent is unmet.
    fn of_found<T>(need: Need, found: Lookup<T>, evidence: impl FnOnce(T) -> String) -> Requirement {
        match found {
            Lookup::Found(value) => Requirement::met(need, evidence(value)),
            Lookup::Absent(what) => Requirement::unmet(need, what),
            Lookup::Unknown(why) => Requirement::unknown(need, why),
        }
    }

    fn of_answer(need: Need, answer: Answer, not_asked: &str) -> Requirement {
        match answer {
            Answer::Yes => Requirement::met(need, "tried out"),
            Answer::No(how) => Requirement::unmet(need, how),
            Answer::Unknown(why) => Requirement::unknown(need, why),
            Answer::NotAsked => Requirement::unknown(need, not_asked),
        }
    }
}

/// What the kind of a program needs: its type, its way to attach, and what for that.
pub(crate) fn kind(kernel: &Kernel<'_>, kind: &SectionKind<'_>, out: &mut Vec<Requirement>) {
    let name = format!("BPF_PROG_TYPE_{}", kind.prog_type);
    let found = kernel.enumerator(BpfEnum::ProgType, kind.prog_type);
    out.push(Requirement::of_found(Need::ProgramType { name }, found, |_| String::new()));
    if let Some(short) = attach_type(kind) {
        let found = kernel.enumerator(BpfEnum::AttachType, short);
        let need = Need::AttachType { name: format!("BPF_{short}") };
        out.push(Requirement::of_found(need, found, |_| String::new()));
    }
    let needs_types = matches!(
        kind.attach,
        Attach::BtfTracepoint | Attach::Function | Attach::Lsm | Attach::Iterator | Attach::StructOps
    );
    if needs_types {
        out.push(own_btf(kernel));
    }
    let feature = match kind.attach {
        Attach::Kprobe | Attach::Syscall => Some((Feature::Kprobe, "CONFIG_KPROBE_EVENTS")),
        Attach::KprobeMulti => Some((Feature::KprobeMulti, "CONFIG_FPROBE")),
        Attach::Uprobe | Attach::Usdt => Some((Feature::Uprobe, "CONFIG_UPROBE_EVENTS")),
        Attach::UprobeMulti => Some((Feature::UprobeMulti, "CONFIG_UPROBE_EVENTS")),
        Attach::Function => Some((Feature::Fentry, "CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS")),
        Attach::Lsm => Some((Feature::BpfLsm, "CONFIG_BPF_LSM")),
        _ => None,
    };
    if let Some((feature, option)) = feature {
        out.push(self::feature(kernel, feature, option));
    }
    // elsewhere a system call's function may be another's: on i386 nanosleep is __ia32_sys_nanosleep_time32
    let is_named = matches!(kernel.facts.arch.as_deref(), None | Some("x86_64" | "arm64"));
    if let (Attach::Syscall, false, Some(target)) = (kind.attach, is_named, kind.target) {
        let need = Need::Target { kind: "function", name: format!("of the system call {target}") };
        out.push(Requirement::unknown(need, "what it is called differs from call to call on this architecture"));
    }
    // only a live kernel has it mounted, or not
    let mounted = match kind.attach {
        Attach::Tracepoint => Some((Feature::Tracefs, "mount -t tracefs tracefs /sys/kernel/tracing")),
        Attach::Cgroup => Some((Feature::ControlGroups, "mount -t cgroup2 cgroup2 /sys/fs/cgroup")),
        _ => None,
    };
    if let Some((feature, mount)) = mounted
        && let Answer::No(why) = kernel.facts.feature(feature)
    {
        out.push(Requirement::unmet(Need::Feature { feature }, why).remedy(mount));
    }
    for name in capabilities(kind) {
        let need = Need::Capability { name };
        match &kernel.facts.security.capabilities {
            Some(all) if all.iter().any(|have| have == name || have == "CAP_SYS_ADMIN") => {
                out.push(Requirement::met(need, ""));
            }
            Some(_) if *name == "CAP_BPF" && is_anyones(kernel, kind) => {
                let why = "kernel.unprivileged_bpf_disabled is 0: without it, the verifier allows less";
                out.push(Requirement::unknown(need, why).remedy(format!("run as root, or with {name}")));
            }
            Some(_) => {
                let lacks = format!("the process does not have {name}, nor CAP_SYS_ADMIN");
                out.push(Requirement::unmet(need, lacks).remedy(format!("run as root, or with {name}")));
            }
            // made for a kernel, not for a process
            None => {}
        }
    }
}

/// The attach type that the kernel must know. One that it is told only since it has some other is none: SCHED_CLS without is as good.
pub(crate) fn attach_type(kind: &SectionKind<'_>) -> Option<&'static str> {
    kind.attach_type.filter(|short| !short.starts_with("TCX_"))
}

/// `Documentation/bpf` and `kernel/bpf/syscall.c`, `is_net_admin_prog_type` and `is_perfmon_prog_type`.
fn capabilities(kind: &SectionKind<'_>) -> &'static [&'static str] {
    match kind.prog_type {
        "KPROBE"
        | "TRACEPOINT"
        | "PERF_EVENT"
        | "RAW_TRACEPOINT"
        | "RAW_TRACEPOINT_WRITABLE"
        | "TRACING"
        | "LSM"
        | "STRUCT_OPS"
        | "EXT" => &["CAP_BPF", "CAP_PERFMON"],
        "SOCKET_FILTER" | "SYSCALL" => &["CAP_BPF"],
        _ => &["CAP_BPF", "CAP_NET_ADMIN"],
    }
}

/// Whether programs of this type may be anyone's, as far as they pass the verifier (`bpf_prog_load` of kernel/bpf/syscall.c).
fn is_anyones(kernel: &Kernel<'_>, kind: &SectionKind<'_>) -> bool {
    let is_allowed = kernel.facts.security.unprivileged_bpf_disabled == Some(0);
    is_allowed && matches!(kind.prog_type, "SOCKET_FILTER" | "CGROUP_SKB")
}

fn own_btf(kernel: &Kernel<'_>) -> Requirement {
    let answer = has_own_btf(kernel);
    if answer == Answer::Yes {
        return Requirement::met(Need::OwnBtf, "");
    }
    Requirement::of_answer(Need::OwnBtf, answer, "whether the kernel has BTF of its own is not known")
        .remedy("BTF from elsewhere serves relocations, not this kind of program: use a kprobe or tracepoint instead")
}

fn has_own_btf(kernel: &Kernel<'_>) -> Answer {
    kernel.facts.own_btf.clone().or(|| match kernel.facts.config("CONFIG_DEBUG_INFO_BTF") {
        Some(Some(_)) => Answer::Yes,
        Some(None) => Answer::No("CONFIG_DEBUG_INFO_BTF is not set".to_owned()),
        // 5.5, 8580ac9404f6 ("bpf: Process in-kernel BTF"), and vendors' older kernels that have taken it over
        None => match READ_ITS_TYPES.map(|name| kernel.prototype(name)) {
            [Lookup::Absent(what), Lookup::Absent(_)] => {
                Answer::No(format!("{what}: the kernel reads no BTF of its own"))
            }
            _ => Answer::NotAsked,
        },
    })
}

/// Whether the verifier has the kernel's own types: also where there is no file that shows them.
fn knows_its_types(kernel: &Kernel<'_>) -> Answer {
    match kernel.facts.feature(Feature::TypedHelpers) {
        known @ (Answer::Yes | Answer::Unknown(_)) => known,
        Answer::No(_) | Answer::NotAsked => has_own_btf(kernel),
    }
}

/// The functions by which a kernel reads its own BTF; and the structure that programs at functions have.
pub(crate) const READ_ITS_TYPES: [&str; 2] = ["btf_parse_vmlinux", "bpf_get_btf_vmlinux"];
pub(crate) const TRAMPOLINE: &str = "bpf_trampoline";
/// The structures of attachments to many functions at once.
pub(crate) const KPROBE_MULTI: &str = "bpf_kprobe_multi_link";
pub(crate) const UPROBE_MULTI: &str = "bpf_uprobe_multi_link";
/// The command that the kernel has since it has global variables.
pub(crate) const GLOBAL_DATA_CAME_WITH: &str = "MAP_FREEZE";

fn feature(kernel: &Kernel<'_>, feature: Feature, option: &str) -> Requirement {
    let need = Need::Feature { feature };
    let answer = kernel.facts.feature(feature).or(|| match kernel.facts.config(option) {
        Some(Some(_)) => Answer::Yes,
        Some(None) => Answer::No(format!("{option} is not set")),
        None => Answer::NotAsked,
    });
    // the structures are there only where the kernel is built with it (kernel/trace/bpf_trace.c)
    let of_types = match feature {
        Feature::KprobeMulti => Some(KPROBE_MULTI),
        Feature::UprobeMulti => Some(UPROBE_MULTI),
        _ => None,
    };
    if let (Answer::NotAsked, Some(structure)) = (&answer, of_types) {
        let found = kernel.has_type(structure, Kind::Struct);
        return Requirement::of_found(need, found, |_| format!("this BTF has struct {structure}"));
    }
    match (answer, feature) {
        // what nearly all kernels have is not worth a doubt
        (Answer::NotAsked, Feature::Kprobe | Feature::Uprobe) => {
            Requirement::met(need, format!("supposed: {option} is not known"))
        }
        (Answer::NotAsked, Feature::Fentry) => {
            let need_arch = kernel.facts.arch.as_deref();
            // 5.5, fec56f5890d9 ("bpf: Introduce BPF trampoline"), and vendors' older kernels that have taken it over
            if let Lookup::Absent(what) = kernel.has_type(TRAMPOLINE, Kind::Struct) {
                return Requirement::unmet(need, what);
            }
            match (need_arch, kernel.facts.kernel_version()) {
                (Some("x86_64"), Some(version)) if version >= (5, 5) => {
                    Requirement::met(need, "x86-64 has it since Linux 5.5")
                }
                (Some("x86_64" | "arm64"), Some(version)) if version < (5, 5) && kernel.types.is_none() => {
                    Requirement::unmet(need, "Linux has it since 5.5")
                }
                // 6.0 brought trampolines, 6.11 the direct calls that stock configurations can have
                (Some("arm64"), Some(version)) if version < (6, 0) => {
                    Requirement::unmet(need, "arm64 has it since Linux 6.0")
                }
                _ => Requirement::unknown(need, format!("{option} is not known")),
            }
        }
        (answer, _) => Requirement::of_answer(need, answer, &format!("{option} is not known")),
    }
}

/// What a program is attached to.
pub(crate) fn target(kernel: &Kernel<'_>, kind: &SectionKind<'_>, out: &mut Vec<Requirement>) {
    let Some(name) = kind.target else { return };
    match kind.attach {
        Attach::Kprobe => {
            // an offset into the function may follow
            let name = name.split('+').next().unwrap_or(name);
            out.push(kprobe_target(kernel, name));
        }
        Attach::Function => {
            out.push(function_target(kernel, name));
            // kernel/bpf/verifier.c, check_attach_modify_return()
            if kind.attach_type == Some("MODIFY_RETURN") && !name.starts_with("security_") {
                let need = Need::Target { kind: "modifiable function", name: name.to_owned() };
                let why = "it must be on the kernel's list for error injection, which is not known";
                out.push(Requirement::unknown(need, why));
            }
        }
        Attach::Tracepoint => {
            let need = Need::Target { kind: "tracepoint", name: name.to_owned() };
            if let Some(all) = &kernel.facts.tracepoints {
                out.push(match all.contains(name) {
                    true => Requirement::met(need, "tracefs has it"),
                    false => Requirement::unmet(need, "tracefs does not have it"),
                });
                return;
            }
            let event = name.rsplit('/').next().unwrap_or(name);
            out.push(Requirement::of_found(need, tracepoint(kernel, event), |evidence| evidence));
        }
        Attach::RawTracepoint | Attach::BtfTracepoint => {
            let need = Need::Target { kind: "tracepoint", name: name.to_owned() };
            out.push(Requirement::of_found(need, tracepoint(kernel, name), |evidence| evidence));
        }
        Attach::Lsm => {
            let need = Need::Target { kind: "security hook", name: name.to_owned() };
            let found = kernel.prototype(&format!("bpf_lsm_{name}"));
            out.push(Requirement::of_found(need, found, |_| format!("function bpf_lsm_{name}")));
        }
        Attach::Iterator => {
            let need = Need::Target { kind: "iterator", name: name.to_owned() };
            let found = kernel.prototype(&format!("bpf_iter_{name}"));
            out.push(Requirement::of_found(need, found, |_| format!("function bpf_iter_{name}")));
        }
        _ => {}
    }
}

/// A tracepoint by its name: its typedef since Linux 5.5; before, what its class leaves in the types.
fn tracepoint(kernel: &Kernel<'_>, name: &str) -> Lookup<String> {
    match kernel.tracepoint(name) {
        Lookup::Found(_) => Lookup::Found(format!("typedef btf_trace_{name}")),
        Lookup::Absent(what) => Lookup::Absent(what),
        Lookup::Unknown(why) => {
            for record in needs::tracepoint_records(name) {
                if let Lookup::Found(_) = kernel.has_type(&record, Kind::Struct) {
                    return Lookup::Found(format!("struct {record}"));
                }
            }
            // the inline function that callers use
            match kernel.function_facts(&format!("trace_{name}")) {
                Some(FunctionLookup::Found(_)) => Lookup::Found(format!("function trace_{name}")),
                Some(FunctionLookup::Absent) => Lookup::Absent(format!("nothing is left of a function trace_{name}")),
                _ => Lookup::Unknown(why),
            }
        }
    }
}

fn kprobe_target(kernel: &Kernel<'_>, name: &str) -> Requirement {
    let need = Need::Target { kind: "function", name: name.to_owned() };
    if let Some(is_listed) = kernel.facts.kprobe_function(name) {
        return match is_listed {
            true => Requirement::met(need, "the kernel lists it"),
            false => Requirement::unmet(need, "the kernel does not list it among the functions that can be probed"),
        };
    }
    match kernel.function_facts(name) {
        Some(FunctionLookup::Found(facts)) => {
            let sources = kernel.surface.map(|surface| surface.sources()).unwrap_or_default();
            let inlined = if facts.inlined { "; inlined at some call sites, which the probe misses" } else { "" };
            match facts.kprobe(sources) {
                Verdict::Yes => Requirement::met(need, format!("it has a symbol{inlined}")),
                Verdict::No(reason) => Requirement::unmet(need, reason.to_string()),
                Verdict::Unknown(reason) => Requirement::unknown(need, reason.to_string()),
            }
        }
        Some(FunctionLookup::Absent) => Requirement::unmet(need, "the kernel has no such function"),
        _ => match kernel.prototype(name) {
            Lookup::Found(_) => Requirement::met(need, "this BTF has the function"),
            Lookup::Absent(what) => Requirement::unknown(
                need,
                format!("{what}, which may be because of its parameters; its symbols are not known"),
            ),
            Lookup::Unknown(why) => Requirement::unknown(need, why),
        },
    }
}

fn function_target(kernel: &Kernel<'_>, name: &str) -> Requirement {
    let need = Need::Target { kind: "function", name: name.to_owned() };
    let remedy = "use a kprobe, which needs no prototype, or a function that is not inlined";
    match kernel.function_facts(name) {
        Some(FunctionLookup::Found(facts)) => {
            let sources = kernel.surface.map(|surface| surface.sources()).unwrap_or_default();
            let inlined = if facts.inlined { "; inlined at some call sites, which the program misses" } else { "" };
            match facts.fentry(sources) {
                Verdict::Yes => Requirement::met(need, format!("BTF and ftrace have it{inlined}")),
                Verdict::No(reason) => Requirement::unmet(need, reason.to_string()).remedy(remedy),
                Verdict::Unknown(reason) => Requirement::unknown(need, reason.to_string()),
            }
        }
        Some(FunctionLookup::Absent) => Requirement::unmet(need, "the kernel has no such function").remedy(remedy),
        _ => Requirement::of_found(need, kernel.prototype(name), |_| "this BTF has the function".to_owned())
            .remedy(remedy),
    }
}

/// Helpers, kernel functions, maps, variables: what the instructions use.
pub(crate) fn uses(
    kernel: &Kernel<'_>,
    kind: &SectionKind<'_>,
    uses: &Uses,
    maps: &[MapDefinition],
    out: &mut Vec<Requirement>,
) {
    let tried = kernel.facts.helpers.get(kind.prog_type);
    for &number in &uses.helpers {
        let answer = tried.and_then(|tried| tried.get(&number)).cloned().unwrap_or_default();
        let reads_kernel = matches!(number, READ | READ_STR | READ_KERNEL | READ_KERNEL_STR);
        out.push(match kernel.facts.security.lockdown {
            Some(Lockdown::Confidentiality) if reads_kernel => {
                let need = Need::Helper { number, name: names::helper(number) };
                let what = "the kernel is locked down (confidentiality): reading its memory gives nothing";
                Requirement::unmet(need, what)
            }
            _ => helper(kernel, kind.prog_type, number, answer),
        });
    }
    // btf_get_prog_ctx_type() of kernel/bpf/btf.c: without types of its own, the kernel takes a context for memory
    if let Some(function) = uses.given_context.first() {
        let told = |why: String| {
            format!(
                "{function}() is verified by itself, and what it is given is known by the kernel's own types: {why}"
            )
        };
        let requirement = match knows_its_types(kernel) {
            Answer::No(why) => Some(Requirement::unmet(Need::OwnBtf, told(why))),
            Answer::Unknown(why) => Some(Requirement::unknown(Need::OwnBtf, told(why))),
            Answer::Yes | Answer::NotAsked => None,
        };
        out.extend(requirement.map(|requirement| requirement.remedy("make the function static, or hidden")));
    }
    for (name, &weak) in &uses.kfuncs {
        let need = Need::Kfunc { name: name.clone() };
        let found = match has_own_btf(kernel) {
            // nobody finds its number but in these
            Answer::No(why) => Lookup::Absent(format!("it is called by the kernel's own types, and {why}")),
            _ => kernel.prototype(name),
        };
        out.push(optional(weak, Requirement::of_found(need, found, |_| "this BTF has it".to_owned())));
    }
    for name in &uses.maps {
        let Some(map) = maps.iter().find(|map| map.name == *name) else { continue };
        out.push(map_type(kernel, map));
    }
    if !uses.globals.is_empty() {
        out.push(global_data(kernel));
    }
}

// enum bpf_func_id: BPF_FUNC_probe_read and those that came of it
const READ: u32 = 4;
const READ_STR: u32 = 45;
const READ_USER: u32 = 112;
const READ_KERNEL: u32 = 113;
const READ_USER_STR: u32 = 114;
const READ_KERNEL_STR: u32 = 115;

/// The older helper that libbpf puts in the place of one that the kernel does not have (bpf_object__sanitize_prog).
fn older(number: u32) -> Option<u32> {
    match number {
        READ_USER | READ_KERNEL => Some(READ),
        READ_USER_STR | READ_KERNEL_STR => Some(READ_STR),
        _ => None,
    }
}

/// The helpers that tell of another one whether programs may call it.
pub(crate) fn stands_for(number: u32) -> impl IntoIterator<Item = u32> {
    older(number).into_iter().chain(callers::came_with(number))
}

fn helper(kernel: &Kernel<'_>, prog_type: &str, number: u32, tried: Answer) -> Requirement {
    let need = Need::Helper { number, name: names::helper(number) };
    // the verifier knows what they give by the kernel's own types ("invalid return type", check_helper_call of kernel/bpf/verifier.c); that
    // it knows the helper is no proof
    if callers::GIVES_TYPED.contains(&number) {
        let told = |why: String| format!("what it gives is of the kernel's own types, and {why}");
        match knows_its_types(kernel) {
            Answer::No(why) => return Requirement::unmet(need, told(why)),
            Answer::Unknown(why) => return Requirement::unknown(need, told(why)),
            Answer::Yes | Answer::NotAsked => {}
        }
    }
    if let Answer::Yes | Answer::No(_) = tried {
        return Requirement::of_answer(need, tried, "");
    }
    let found = kernel.enumerator_at(BpfEnum::Helper, number.into());
    let older = older(number);
    if let (Lookup::Absent(_), Some(older)) = (&found, older)
        && let Lookup::Found(_) = kernel.enumerator_at(BpfEnum::Helper, older.into())
    {
        let older = names::helper(older).unwrap_or_default();
        return Requirement::met(need, format!("libbpf takes {older}, which came before"));
    }
    let later = callers::allowed_with(prog_type, number).filter(|_| matches!(found, Lookup::Found(_)));
    if let Some(later) = later {
        let later = kernel.enumerator_at(BpfEnum::Helper, later.into());
        return Requirement::of_found(need, later, |with| {
            format!("programs of type {prog_type} may call it since there is {with}, which this BTF has")
        });
    }
    match found {
        Lookup::Found(_) if !may_call(prog_type, number) => {
            let why = format!("the kernel has it; whether programs of type {prog_type} may call it is not known");
            Requirement::unknown(need, why)
        }
        found => Requirement::of_found(need, found, |_| String::new()),
    }
}

/// A map's type.
pub(crate) fn map_type(kernel: &Kernel<'_>, map: &MapDefinition) -> Requirement {
    let found = kernel.enumerator_at(BpfEnum::MapType, map.map_type.into());
    let need = Need::MapType { map: map.name.clone(), number: map.map_type, name: names::map_type(map.map_type) };
    Requirement::of_found(need, found, |_| String::new())
}

/// Global variables came with the command that freezes their map.
fn global_data(kernel: &Kernel<'_>) -> Requirement {
    let need = Need::Feature { feature: Feature::GlobalData };
    let remedy = "give the program its configuration by a map";
    match kernel.facts.feature(Feature::GlobalData) {
        Answer::Yes => return Requirement::met(need, "tried out"),
        Answer::No(how) => return Requirement::unmet(need, how).remedy(remedy),
        _ => {}
    }
    Requirement::of_found(need, kernel.enumerator(BpfEnum::Command, GLOBAL_DATA_CAME_WITH), |_| {
        "came with BPF_MAP_FREEZE, which this BTF has".to_owned()
    })
    .remedy(remedy)
}

/// Externs of `.ksyms` and `.kconfig`.
pub(crate) fn extern_(kernel: &Kernel<'_>, name: &str, is_config: bool, weak: bool) -> Requirement {
    let found = match (is_config, name) {
        // libbpf answers these itself
        (true, name) if name.starts_with("LINUX_") => {
            return Requirement::met(Need::Config { name: name.to_owned() }, "the loader knows it");
        }
        (true, name) => match kernel.facts.config(name) {
            Some(Some(value)) => return Requirement::met(Need::Config { name: name.to_owned() }, value),
            Some(None) => Lookup::Absent(format!("{name} is not set")),
            None => Lookup::Unknown("the kernel's configuration is not known".to_owned()),
        },
        (false, name) => kernel.has_variable(name),
    };
    let need = match is_config {
        true => Need::Config { name: name.to_owned() },
        false => Need::Variable { name: name.to_owned() },
    };
    // a kernel's BTF has per-CPU variables only; others are found among its symbols
    let found = match found {
        Lookup::Absent(what) if !is_config => Lookup::Unknown(format!("{what}; it may be among the kernel's symbols")),
        found => found,
    };
    optional(weak, Requirement::of_found(need, found, |_| String::new()))
}

/// What the object does without is met either way.
fn optional(weak: bool, mut requirement: Requirement) -> Requirement {
    if weak && requirement.status != Status::Met {
        requirement.status = Status::Met;
        requirement.evidence = format!("{}; the program does without it", requirement.evidence);
    }
    requirement
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    use crate::facts::KernelFacts;

    #[test]
    fn some_programs_are_anyones_where_the_kernel_lets_anyone() {
        let check = |disabled: u8, section: &str, expected: &[(&str, Status)]| {
            let mut facts = KernelFacts::unknown();
            facts.security.capabilities = Some(Vec::new());
            facts.security.unprivileged_bpf_disabled = Some(disabled);
            let mut out = Vec::new();
            super::kind(&Kernel::new(&facts, None, None), &SectionKind::of(section).unwrap(), &mut out);
            let found: Vec<(&str, Status)> = out
                .iter()
                .filter_map(|one| match one.need {
                    Need::Capability { name } => Some((name, one.status)),
                    _ => None,
                })
                .collect();
            assert_eq!(found, expected, "{section}, {disabled}");
        };
        check(2, "socket", &[("CAP_BPF", Status::Unmet)]);
        check(0, "socket", &[("CAP_BPF", Status::Unknown)]);
        check(0, "cgroup_skb/egress", &[("CAP_BPF", Status::Unknown), ("CAP_NET_ADMIN", Status::Unmet)]);
        check(0, "xdp", &[("CAP_BPF", Status::Unmet), ("CAP_NET_ADMIN", Status::Unmet)]);
    }

    /// Debian's 6.1.0-50-686-pae refused a probe of nanosleep.
    #[test]
    fn a_system_calls_function_is_not_known_everywhere() {
        let check = |arch: &str, expected: usize| {
            let facts = KernelFacts { arch: Some(arch.to_owned()), ..KernelFacts::unknown() };
            let mut out = Vec::new();
            super::kind(&Kernel::new(&facts, None, None), &SectionKind::of("ksyscall/nanosleep").unwrap(), &mut out);
            let targets = out.iter().filter(|one| matches!(one.need, Need::Target { .. }));
            assert_eq!(targets.filter(|one| one.status == Status::Unknown).count(), expected, "{arch}");
        };
        check("x86_64", 0);
        check("arm64", 0);
        check("i386", 1);
    }

    /// As Debian's 6.1.0-50-686-pae is, which knows the helper and cannot use it.
    #[test]
    fn what_gives_the_kernels_types_needs_them() {
        let check = |own_btf: Answer, number: u32, status: Status| {
            let facts = KernelFacts { own_btf, ..KernelFacts::default() };
            let requirement = helper(&Kernel::new(&facts, None, None), "CGROUP_SKB", number, Answer::Yes);
            assert_eq!(requirement.status, status, "{requirement:?}");
        };
        let missing = || Answer::No("/sys/kernel/btf/vmlinux is not there".to_owned());
        // bpf_skc_to_tcp_sock(), bpf_map_lookup_elem()
        check(missing(), 137, Status::Unmet);
        check(missing(), 1, Status::Met);
        check(Answer::Yes, 137, Status::Met);
        check(Answer::NotAsked, 137, Status::Met);
    }

    /// As Debian's 6.1.0-56-amd64 is with an empty mount over /sys/kernel/btf: its types are in its image, and it was taken for 686-pae.
    #[test]
    fn a_kernel_whose_types_are_hidden_gives_them_by_helpers() {
        let own_btf = Answer::No("/sys/kernel/btf/vmlinux is not there".to_owned());
        let features = BTreeMap::from([(Feature::TypedHelpers, Answer::Yes)]);
        let facts = KernelFacts { own_btf, features, ..KernelFacts::default() };
        let kernel = Kernel::new(&facts, None, None);
        assert_eq!(helper(&kernel, "CGROUP_SKB", 137, Answer::Yes).status, Status::Met);
        // programs at functions name these by the file
        assert_eq!(super::own_btf(&kernel).status, Status::Unmet);
        // a user without rights cannot try it
        let features = BTreeMap::from([(Feature::TypedHelpers, Answer::Unknown("not permitted".to_owned()))]);
        let facts = KernelFacts { features, ..facts };
        let requirement = helper(&Kernel::new(&facts, None, None), "CGROUP_SKB", 137, Answer::NotAsked);
        assert_eq!(requirement.status, Status::Unknown);
    }
}
