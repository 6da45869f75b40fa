//! What each program of an object asks of a kernel, inferred from the object itself.

use std::collections::{BTreeMap, BTreeSet};

use btf::insn::Insn;
use btf::object_file::{Function, ObjectFile, Reference};
use btf::reach::Reachable;
use btf::{Btf, Kind, Type, strip_modifiers};

use crate::section::{Attach, SectionKind};

/// A map's definition in `.maps`, as far as it is read off the types (libbpf's `parse_btf_map_def`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MapDefinition {
    /// Its name.
    pub name: String,
    /// Value of `enum bpf_map_type`.
    pub map_type: u32,
    /// Its `max_entries`; of a ring buffer its bytes. 0 where it has none.
    pub max_entries: u32,
    /// Its tags, of `btf_decl_tag`.
    pub tags: Vec<String>,
}

/// `BPF_MAP_TYPE_PERF_EVENT_ARRAY` and `BPF_MAP_TYPE_RINGBUF`.
pub(crate) const PERF_EVENT_ARRAY: u32 = 4;
/// See [`PERF_EVENT_ARRAY`].
pub(crate) const RING_BUFFER: u32 = 27;

impl MapDefinition {
    /// What follows a tag's first words, `lcc:stream:`.
    fn tagged(&self, begin: &str) -> Option<&str> {
        self.tags.iter().find_map(|tag| tag.strip_prefix(begin))
    }

    /// For a stream of events (`LCC_STREAM`): the name of the struct that it carries.
    pub fn stream(&self) -> Option<&str> {
        self.tagged("lcc:stream:")
    }

    /// For the slots of a log of events (`LCC_LOG`): the name of the struct that they carry.
    pub fn log(&self) -> Option<&str> {
        self.tagged("lcc:log:")
    }

    /// For the heads of a log: the log's name.
    pub fn heads_of(&self) -> Option<&str> {
        self.tagged("lcc:heads:")
    }

    /// For a map that counts what did not get into a stream: the stream's name.
    pub fn lost_of(&self) -> Option<&str> {
        self.tagged("lcc:lost:")
    }

    /// Whether it has the configuration where there are no global variables (`LCC_CONFIG`).
    pub fn is_config(&self) -> bool {
        self.tagged("lcc:config") == Some("")
    }
}

/// What a program uses, of the instructions that can be reached on the kernel in question.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Uses {
    /// Helpers, by number.
    pub(crate) helpers: BTreeSet<u32>,
    /// Kernel functions that it calls; whether it does without.
    pub(crate) kfuncs: BTreeMap<String, bool>,
    /// Kernel variables and configuration values; whether it does without.
    pub(crate) externs: BTreeMap<String, bool>,
    /// Maps.
    pub(crate) maps: BTreeSet<String>,
    /// Global variables, by section.
    pub(crate) globals: BTreeSet<String>,
    /// Global functions that take the program's context, which the verifier tells from other memory by the kernel's own types.
    pub(crate) given_context: BTreeSet<String>,
}

/// The structs that programs are given, as `include/linux/bpf_types.h` has them for programs ("prog_ctx_type").
const CONTEXTS: [&str; 17] = [
    "__sk_buff",
    "xdp_md",
    "bpf_sock",
    "bpf_sock_addr",
    "bpf_sock_ops",
    "sk_msg_md",
    "bpf_flow_keys",
    "bpf_user_pt_regs_t",
    "pt_regs",
    "user_pt_regs",
    "bpf_perf_event_data",
    "bpf_raw_tracepoint_args",
    "bpf_cgroup_dev_ctx",
    "bpf_sysctl",
    "bpf_sockopt",
    "sk_reuseport_md",
    "bpf_sk_lookup",
];

/// Whether a function of the object takes a context.
fn takes_context(btf: &Btf<'_>, function: &str) -> bool {
    let is_context = |ty| {
        let Ok(Type::Ptr(to)) = btf.ty(ty) else { return false };
        btf.name_of(to).is_ok_and(|name| CONTEXTS.contains(&name))
    };
    btf.find(function, Kind::Func).any(|id| {
        let Ok(Type::Func { proto, .. }) = btf.ty(id) else { return false };
        let Ok(Type::FuncProto(proto)) = btf.ty(proto) else { return false };
        proto.params().flatten().any(|param| is_context(param.ty))
    })
}

/// The helpers that instructions call, whether they can be reached or not.
pub(crate) fn helpers(object: &ObjectFile<'_>) -> BTreeSet<u32> {
    let insns = object.sections().iter().flat_map(|section| &section.insns);
    insns.filter(|insn| insn.is_call() && insn.src == 0 && insn.imm > 0).map(|insn| insn.imm as u32).collect()
}

/// What the reached instructions use.
pub(crate) fn uses(object: &ObjectFile<'_>, code: &[Vec<Insn>], reached: &Reachable) -> Uses {
    let mut uses = Uses::default();
    let subprograms = object.functions().iter().filter(|function| function.global && !object.is_entry(function));
    let reached_ones = subprograms.filter(|function| reached.contains(function.section, function.start));
    let given = reached_ones.filter(|function| takes_context(object.btf(), &function.name));
    uses.given_context.extend(given.map(|function| function.name.clone()));
    for (section, insns) in code.iter().enumerate() {
        for (at, insn) in insns.iter().enumerate() {
            if !reached.contains(section, at) {
                continue;
            }
            match object.reference(section, at) {
                Some(Reference::External { symbol, weak }) => {
                    let all = if insn.is_call() { &mut uses.kfuncs } else { &mut uses.externs };
                    all.insert(symbol.to_owned(), weak);
                }
                Some(Reference::Data { section: ".maps" | "maps", symbol }) => {
                    uses.maps.insert(symbol.to_owned());
                }
                Some(Reference::Data { section, .. }) => {
                    uses.globals.insert(section.to_owned());
                }
                None if insn.is_call() && insn.src == 0 && insn.imm > 0 && *insn != Insn::poison() => {
                    uses.helpers.insert(insn.imm as u32);
                }
                None => {}
            }
        }
    }
    uses
}

/// What all instructions name in a section of data, whether they can be reached or not.
pub(crate) fn named<'o>(object: &'o ObjectFile<'_>, data: &str) -> BTreeSet<&'o str> {
    let references = object
        .sections()
        .iter()
        .enumerate()
        .flat_map(|(number, section)| (0..section.insns.len()).filter_map(move |at| object.reference(number, at)));
    let of_data = references.filter_map(|reference| match reference {
        Reference::Data { section, symbol } if section == data => Some(symbol),
        _ => None,
    });
    of_data.collect()
}

/// The names that an object asks the kernel's types for, with those of its relocations.
pub(crate) fn names(object: &ObjectFile<'_>) -> Vec<(String, Kind)> {
    let mut names = declarations(object);
    names.extend(roots(object));
    names
}

/// What relocations begin at, and what a program may take an argument for.
pub(crate) fn roots(object: &ObjectFile<'_>) -> Vec<(String, Kind)> {
    let local = object.btf();
    let roots: BTreeSet<_> = object.relocations().iter().map(|relocation| relocation.root).collect();
    let named = |root| Some((local.name_of(root).ok()?, local.kind_of(root).ok()??));
    let named = roots.into_iter().filter_map(named).filter(|(name, _)| !name.is_empty());
    named.map(|(name, kind)| (btf::essential_name(name).to_owned(), kind)).collect()
}

/// Functions, tracepoints and variables.
pub(crate) fn declarations(object: &ObjectFile<'_>) -> Vec<(String, Kind)> {
    let mut names = Vec::new();
    for kind in object.sections().iter().filter_map(|section| SectionKind::of(&section.name)) {
        let Some(target) = kind.target else { continue };
        let event = target.rsplit('/').next().unwrap_or(target);
        match kind.attach {
            Attach::Kprobe | Attach::Function => {
                names.push((target.split('+').next().unwrap_or(target).to_owned(), Kind::Func));
            }
            Attach::Lsm => names.push((format!("bpf_lsm_{target}"), Kind::Func)),
            Attach::Iterator => names.push((format!("bpf_iter_{target}"), Kind::Func)),
            Attach::Tracepoint | Attach::RawTracepoint | Attach::BtfTracepoint => {
                names.push((format!("btf_trace_{event}"), Kind::Typedef));
                names.extend(tracepoint_records(event).map(|record| (record, Kind::Struct)));
            }
            _ => {}
        }
    }
    for (section, kind) in [(".ksyms", Kind::Func), (".ksyms", Kind::Var)] {
        names.extend(extern_section(object, section).into_iter().map(|name| (name, kind)));
    }
    names
}

/// What the record of an event that has a class of its own is called; 3.10 calls it `ftrace_raw_`.
const RECORDS: [&str; 2] = ["trace_event_raw_", "ftrace_raw_"];

pub(crate) fn tracepoint_records(event: &str) -> impl Iterator<Item = String> {
    RECORDS.into_iter().map(move |prefix| format!("{prefix}{event}"))
}

pub(crate) fn is_tracepoint_record(name: &str) -> bool {
    RECORDS.iter().any(|prefix| name.starts_with(prefix))
}

/// The maps that an object defines, in the order of its types.
pub fn maps(object: &ObjectFile<'_>) -> Vec<MapDefinition> {
    let btf = object.btf();
    let tags = tags(btf);
    let mut maps = Vec::new();
    for id in btf.find(".maps", Kind::Datasec) {
        let Ok(Type::Datasec(section)) = btf.ty(id) else { continue };
        for variable in section.vars().flatten() {
            let Ok(Type::Var { name, ty, .. }) = btf.ty(variable.ty) else { continue };
            let tags = tags.iter().filter(|tag| tag.0 == variable.ty.0).map(|tag| tag.1.to_owned()).collect();
            maps.push(MapDefinition {
                name: name.to_owned(),
                map_type: number(btf, ty, "type"),
                max_entries: number(btf, ty, "max_entries"),
                tags,
            });
        }
    }
    maps
}

/// The number that `__uint(NAME, N)` hides: the length of an array that the member points to; 0 where there is none.
fn number(btf: &Btf<'_>, definition: btf::TypeId, name: &str) -> u32 {
    let hidden = || {
        let definition = strip_modifiers(btf, definition).ok()?;
        let Ok(Type::Struct(definition)) = btf.ty(definition) else { return None };
        let member = definition.members().flatten().find(|member| member.name == name)?;
        let Ok(Type::Ptr(array)) = btf.ty(member.ty) else { return None };
        match btf.ty(array) {
            Ok(Type::Array { len, .. }) => Some(len),
            _ => None,
        }
    };
    hidden().unwrap_or(0)
}

/// The tags of functions and variables: id and text.
fn tags<'b>(btf: &'b Btf<'_>) -> Vec<(u32, &'b str)> {
    let whole = |id| match btf.ty(id) {
        Ok(Type::DeclTag { name, target, component_idx: None, .. }) => Some((target.0, name)),
        _ => None,
    };
    btf.ids().filter(|&id| btf.kind_of(id) == Ok(Some(Kind::DeclTag))).filter_map(whole).collect()
}

/// The tags of an object's functions, by name.
pub(crate) fn function_tags(object: &ObjectFile<'_>) -> BTreeMap<String, Vec<String>> {
    let btf = object.btf();
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (target, text) in tags(btf) {
        if let Ok(Type::Func { name, .. }) = btf.ty(btf::TypeId(target)) {
            all.entry(name.to_owned()).or_default().push(text.to_owned());
        }
    }
    all
}

/// The names of a section of externs: `.kconfig`, `.ksyms`.
pub(crate) fn extern_section(object: &ObjectFile<'_>, section: &str) -> BTreeSet<String> {
    let btf = object.btf();
    let mut names = BTreeSet::new();
    for id in btf.find(section, Kind::Datasec) {
        let Ok(Type::Datasec(section)) = btf.ty(id) else { continue };
        names.extend(section.vars().flatten().filter_map(|var| btf.name_of(var.ty).ok()).map(str::to_owned));
    }
    names
}

/// The programs of an object: its functions that are loaded by themselves, in the order of the file.
pub(crate) fn programs<'o>(object: &'o ObjectFile<'_>) -> impl Iterator<Item = (usize, &'o Function)> {
    object.functions().iter().enumerate().filter(|(_, function)| object.is_entry(function))
}
