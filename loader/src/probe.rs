//! What the running kernel is and can do: read where it says so, tried out where it does not.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;

use btf::object_file::ObjectFile;
use btf::{Btf, Kind};
use plan::{Answer, Attach, Feature, KernelFacts, Lockdown, SectionKind, Security};

use crate::{attach, attempt, cause, types};

/// What is known of the running kernel: all that can be found out of it. `root` is `/`, but in tests; attempts are made on the
/// real kernel in any case.
pub fn probe(root: &Path) -> KernelFacts {
    let mut facts = said(root);
    facts.config = config(root, facts.release.as_deref().unwrap_or_default());
    facts.tracepoints = tracepoints(root);
    if facts.feature(Feature::Kprobe) == Answer::Yes {
        facts.kprobe_functions = kprobe_functions(root, |_| true);
    }
    let global_data = tried(&facts, attempt::global_data());
    facts.features.insert(Feature::GlobalData, global_data);
    // BPF_MAP_TYPE_RINGBUF
    let ring_buffer = tried(&facts, attempt::map_type(27));
    facts.features.insert(Feature::RingBuffer, ring_buffer);
    typed_helpers(&mut facts);
    let types = types::own(root);
    fentry(&mut facts, types.as_deref());
    if let Ok(own) = &types {
        of_types(&mut facts, own);
        let answer = lsm(root, &facts, types.as_deref());
        facts.features.insert(Feature::BpfLsm, answer);
    }
    facts
}

/// As [`probe`], as far as it matters to an object, with all that it calls tried out: what loading it begins with. The symbols
/// of a kernel are not read for functions that its types have.
pub fn probe_for(root: &Path, object: &ObjectFile<'_>) -> KernelFacts {
    let mut facts = said(root);
    let kinds: Vec<SectionKind<'_>> = kinds(object).collect();
    let has = |attach: Attach| kinds.iter().any(|kind| kind.attach == attach);
    let has_externs = object.btf().find(".kconfig", Kind::Datasec).next().is_some();
    if has_externs || has(Attach::Lsm) {
        facts.config = config(root, facts.release.as_deref().unwrap_or_default());
    }
    if has(Attach::Tracepoint) {
        facts.tracepoints = tracepoints(root);
    }
    let global_data = tried(&facts, attempt::global_data());
    facts.features.insert(Feature::GlobalData, global_data);
    typed_helpers(&mut facts);
    let types = types::own(root);
    if has(Attach::Function) {
        fentry(&mut facts, types.as_deref());
    }
    if has(Attach::Lsm) && types.is_ok() {
        let answer = lsm(root, &facts, types.as_deref());
        facts.features.insert(Feature::BpfLsm, answer);
    }
    if has(Attach::Kprobe) && facts.feature(Feature::Kprobe) == Answer::Yes {
        let targets = kinds.iter().filter(|kind| kind.attach == Attach::Kprobe).filter_map(|kind| kind.target);
        // an offset may follow
        let targets: BTreeSet<&str> = targets.map(|target| target.split('+').next().unwrap_or(target)).collect();
        asked_functions(root, &mut facts, &targets, types.as_deref());
    }
    helpers(&mut facts, object);
    facts
}

/// Features that the kernel's own types tell of: what is named after them is there where they are.
fn of_types(facts: &mut KernelFacts, types: &Btf<'_>) {
    let structures = [
        // 5.7, 70ed506c3bbc ("bpf: Introduce pinnable bpf_link abstraction")
        (Feature::BpfLink, Kind::Struct, "bpf_link"),
        // 5.15, 82e6b1eee6a8 ("bpf: Allow to specify user-provided bpf_cookie for BPF perf links")
        (Feature::BpfCookie, Kind::Struct, "bpf_trace_run_ctx"),
        // 5.18, 0dcac2725406 ("bpf: Add multi kprobe link")
        (Feature::KprobeMulti, Kind::Struct, "bpf_kprobe_multi_link"),
        // 6.6, 89ae89f53d20 ("bpf: Add multi uprobe link")
        (Feature::UprobeMulti, Kind::Struct, "bpf_uprobe_multi_link"),
        // 5.11, 8e4597c627fb ("bpf: Allow using bpf_sk_storage in FENTRY/FEXIT/RAW_TP")
        (Feature::SkStorageInTracing, Kind::Func, "bpf_sk_storage_tracing_allowed"),
    ];
    for (feature, kind, name) in structures {
        let answer = match types.find(name, kind).next() {
            Some(_) => Answer::Yes,
            None => Answer::No(format!("the kernel's types have no {name}")),
        };
        facts.features.entry(feature).or_insert(answer);
    }
}

/// What each program's section says.
fn kinds<'o>(object: &'o ObjectFile<'_>) -> impl Iterator<Item = SectionKind<'o>> {
    object.sections().iter().filter_map(|section| SectionKind::of(&section.name))
}

/// Which of these functions can be a kprobe's target.
fn asked_functions(root: &Path, facts: &mut KernelFacts, targets: &BTreeSet<&str>, types: Result<&Btf<'_>, &String>) {
    let Some(forbidden) = kprobe_blacklist(root) else { return };
    let in_types = |name: &str| types.is_ok_and(|types| types.find(name, Kind::Func).next().is_some());
    let mut found: BTreeSet<String> = targets
        .iter()
        .filter(|name| in_types(name) && !forbidden.contains(**name))
        .map(|&name| name.to_owned())
        .collect();
    if targets.iter().any(|&name| !forbidden.contains(name) && !found.contains(name)) {
        match kprobe_functions(root, |name| targets.contains(name)) {
            Some(more) => found.extend(more),
            None => return,
        }
    }
    facts.kprobe_functions = Some(found);
    facts.kprobe_functions_asked = Some(targets.iter().map(|&name| name.to_owned()).collect());
}

/// What the kernel says of itself, and what it takes nothing to find out.
fn said(root: &Path) -> KernelFacts {
    let mut facts = KernelFacts::unknown();
    let uname = rustix::system::uname();
    facts.release = Some(uname.release().to_string_lossy().into_owned());
    facts.arch = Some(pack::arch_of_name(&uname.machine().to_string_lossy()).to_owned());
    facts.distribution = distribution(root);
    facts.own_btf = match root.join("sys/kernel/btf/vmlinux").exists() {
        true => Answer::Yes,
        false => Answer::No("/sys/kernel/btf/vmlinux is not there".to_owned()),
    };
    facts.security = security(root);
    let source = |name: &str| match root.join(format!("sys/bus/event_source/devices/{name}/type")).exists() {
        true => Answer::Yes,
        false => Answer::No(format!("/sys/bus/event_source/devices/{name} is not there")),
    };
    let kprobe = source("kprobe");
    if let Answer::No(why) = &kprobe {
        facts.features.insert(Feature::KprobeMulti, Answer::No(why.clone()));
    }
    // security_locked_down(LOCKDOWN_KPROBES) of kernel/trace/trace_kprobe.c (5.4): those of perf_event_open, not many at once
    let confidential = facts.security.lockdown == Some(Lockdown::Confidentiality);
    let locked = |what: &str| Answer::No(format!("the kernel is locked down (confidentiality): {what}"));
    facts.features.insert(Feature::Kprobe, if confidential { locked("it makes no kprobes") } else { kprobe });
    facts.features.insert(Feature::Uprobe, source("uprobe"));
    let mounted =
        ["sys/kernel/tracing/events", "sys/kernel/debug/tracing/events"].map(|path| root.join(path).try_exists());
    let tracefs = match mounted {
        [Ok(true), _] | [_, Ok(true)] => Answer::Yes,
        // both are root's alone
        [Err(error), _] | [_, Err(error)] => Answer::Unknown(format!("its folder cannot be looked into: {error}")),
        // LOCKDOWN_TRACEFS of fs/tracefs/inode.c (5.4)
        _ if confidential => locked("there is nothing in it"),
        _ => Answer::No("it is not mounted".to_owned()),
    };
    facts.features.insert(Feature::Tracefs, tracefs);
    let groups = match attach::cgroup_root(root) {
        Some(_) => Answer::Yes,
        None => Answer::No("they are not mounted".to_owned()),
    };
    facts.features.insert(Feature::ControlGroups, groups);
    facts
}

/// Whether helpers can give what is of the kernel's own types: where these are to be read it goes without saying.
fn typed_helpers(facts: &mut KernelFacts) {
    if let Answer::No(_) = facts.own_btf {
        let answer = tried(facts, attempt::typed_helpers());
        facts.features.insert(Feature::TypedHelpers, answer);
    }
}

/// Whether programs can be attached to the entry of kernel functions.
fn fentry(facts: &mut KernelFacts, types: Result<&Btf<'_>, &String>) {
    let answer = tried(facts, types.map_or(Answer::NotAsked, attempt::fentry));
    facts.features.insert(Feature::Fentry, answer);
}

/// Whether programs on security hooks can be loaded, and would be run: on a kernel where `bpf` is not among the modules that
/// are on, they are loaded and attached, and never called.
fn lsm(root: &Path, facts: &KernelFacts, types: Result<&Btf<'_>, &String>) -> Answer {
    match tried(facts, types.map_or(Answer::NotAsked, attempt::lsm)) {
        Answer::Yes => {}
        other => return other,
    }
    let of_command_line = || {
        let line = read(root, "proc/cmdline")?;
        line.split_whitespace().find_map(|word| word.strip_prefix("lsm=")).map(str::to_owned)
    };
    let configured = || facts.config("CONFIG_LSM").flatten().map(str::to_owned);
    let modules = read(root, "sys/kernel/security/lsm").or_else(of_command_line).or_else(configured);
    match modules {
        Some(modules) if modules.trim().split(',').any(|module| module == "bpf") => Answer::Yes,
        Some(modules) => Answer::No(format!(
            "bpf is not among the security modules that are on ({}): it would never run",
            modules.trim()
        )),
        None => Answer::Unknown("which security modules are on cannot be read".to_owned()),
    }
}

/// What was tried out, by a process that may: what fails without the rights says nothing of the kernel.
fn tried(facts: &KernelFacts, answer: Answer) -> Answer {
    let lacks = cause::lacking(facts);
    match answer {
        Answer::No(why) | Answer::Unknown(why) if !lacks.is_empty() => {
            Answer::Unknown(format!("{why}; the process does not have {}", lacks.join(" and ")))
        }
        answer => answer,
    }
}

/// Tries out the helpers that an object may call, for the types of its programs. Without the rights, nobody is told of them: there is
/// no verifier's word.
fn helpers(facts: &mut KernelFacts, object: &ObjectFile<'_>) {
    if !cause::lacking(facts).is_empty() {
        return;
    }
    let mut numbers: BTreeSet<u32> = BTreeSet::new();
    for section in object.sections() {
        let calls = section.insns.iter().filter(|insn| insn.is_call() && insn.src == 0 && insn.imm > 0);
        numbers.extend(calls.map(|insn| insn.imm as u32).filter(|&number| number < 1 << 16));
    }
    let types: BTreeSet<&str> = kinds(object).map(|kind| kind.prog_type).collect();
    for name in types {
        let Some(prog_type) = attempt::prog_type(name) else { continue };
        let known = facts.helpers.entry(name.to_owned()).or_default();
        for &number in &numbers {
            known.entry(number).or_insert_with(|| attempt::helper(prog_type, number));
        }
    }
}

fn read(root: &Path, path: &str) -> Option<String> {
    std::fs::read_to_string(root.join(path)).ok()
}

/// `ID` and `VERSION_ID` of `os-release(5)`: the host's where it can be seen, since the kernel is the host's.
fn distribution(root: &Path) -> Option<(String, String)> {
    let host = root.join("proc/1/root");
    let files = [(host.as_path(), "etc/os-release"), (root, "etc/os-release"), (root, "usr/lib/os-release")];
    let text = files.iter().find_map(|(root, path)| read(root, path))?;
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
        Some(line.trim().trim_matches(['"', '\'']).to_owned())
    };
    Some((field("ID")?, field("VERSION_ID").unwrap_or_default()))
}

/// `/proc/config.gz`, or `/boot/config-RELEASE`.
fn config(root: &Path, release: &str) -> Option<BTreeMap<String, String>> {
    let text = match std::fs::File::open(root.join("proc/config.gz")) {
        Ok(file) => {
            let mut text = String::new();
            // a configuration has some hundred kilobytes
            flate2::read::GzDecoder::new(file).take(16 << 20).read_to_string(&mut text).ok()?;
            text
        }
        Err(_) => read(root, &format!("boot/config-{release}"))?,
    };
    let set =
        |line: &str| line.split_once('=').map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned()));
    Some(text.lines().filter(|line| line.starts_with("CONFIG_")).filter_map(set).collect())
}

/// The folder of tracefs: of its own, or in debugfs.
fn tracefs(root: &Path, file: &str) -> Option<String> {
    read(root, &format!("sys/kernel/tracing/{file}"))
        .or_else(|| read(root, &format!("sys/kernel/debug/tracing/{file}")))
}

fn tracepoints(root: &Path) -> Option<BTreeSet<String>> {
    let text = tracefs(root, "available_events")?;
    Some(
        text.lines()
            .filter_map(|line| line.split_once(':'))
            .map(|(category, name)| format!("{category}/{name}"))
            .collect(),
    )
}

/// The functions of `/proc/kallsyms` that are asked for, less the kprobe blacklist. `None` where either cannot be read.
fn kprobe_functions(root: &Path, is_asked: impl Fn(&str) -> bool) -> Option<BTreeSet<String>> {
    let forbidden = kprobe_blacklist(root)?;
    let symbols = read(root, "proc/kallsyms")?;
    let function = |line: &str| {
        let mut parts = line.split_ascii_whitespace();
        let (kind, name) = (parts.nth(1)?, parts.next()?);
        let is_function = matches!(kind, "t" | "T" | "w" | "W") && is_asked(name) && !forbidden.contains(name);
        is_function.then(|| name.to_owned())
    };
    Some(symbols.lines().filter_map(function).collect())
}

/// The functions that may be no kprobe's target. `None` where that cannot be read.
fn kprobe_blacklist(root: &Path) -> Option<BTreeSet<String>> {
    let blacklist = read(root, "sys/kernel/debug/kprobes/blacklist")?;
    Some(blacklist.lines().filter_map(|line| line.split_whitespace().nth(1)).map(str::to_owned).collect())
}

/// `include/uapi/linux/capability.h`
const CAPABILITIES: [(&str, u32); 5] =
    [("CAP_NET_ADMIN", 12), ("CAP_SYS_ADMIN", 21), ("CAP_SYS_RESOURCE", 24), ("CAP_PERFMON", 38), ("CAP_BPF", 39)];

fn security(root: &Path) -> Security {
    let number = |path: &str| read(root, path)?.trim().parse().ok();
    let capabilities = read(root, "proc/self/status").and_then(|status| {
        let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
        let effective = u64::from_str_radix(line.trim(), 16).ok()?;
        Some(
            CAPABILITIES
                .iter()
                .filter(|(_, bit)| effective >> bit & 1 == 1)
                .map(|(name, _)| (*name).to_owned())
                .collect(),
        )
    });
    let lockdown = read(root, "sys/kernel/security/lockdown").and_then(|levels| {
        // the level in force stands in brackets
        let level = levels.split_once('[')?.1.split_once(']')?.0.to_owned();
        match level.as_str() {
            "none" => Some(Lockdown::None),
            "integrity" => Some(Lockdown::Integrity),
            "confidentiality" => Some(Lockdown::Confidentiality),
            _ => None,
        }
    });
    Security {
        capabilities,
        lockdown,
        kptr_restrict: number("proc/sys/kernel/kptr_restrict"),
        unprivileged_bpf_disabled: number("proc/sys/kernel/unprivileged_bpf_disabled"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Debian's 7.3.4 with `lockdown=confidentiality`: -EPERM for each kprobe, and tracefs without a file.
    #[test]
    fn a_kernel_that_is_locked_down_makes_no_kprobes() {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in [
            ("sys/kernel/security/lockdown", "none integrity [confidentiality]\n"),
            ("sys/bus/event_source/devices/kprobe/type", "8\n"),
            ("sys/bus/event_source/devices/uprobe/type", "9\n"),
        ] {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let facts = said(root.path());
        for feature in [Feature::Kprobe, Feature::Tracefs] {
            let Answer::No(why) = facts.feature(feature) else { panic!("{feature:?}: {:?}", facts.feature(feature)) };
            assert!(why.starts_with("the kernel is locked down (confidentiality)"), "{why}");
        }
        assert_eq!(facts.feature(Feature::Uprobe), Answer::Yes);
        assert_eq!(facts.feature(Feature::KprobeMulti), Answer::NotAsked);
    }
}
