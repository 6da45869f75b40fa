//! A kernel that is asked: its facts, its types, and what became of its functions.

use std::cell::OnceCell;

use btf::core_relo::Target;
use btf::coverage::Coverage;
use btf::surface::{Surface, format::Lookup as FunctionLookup};
use btf::{Btf, Kind, Type, TypeId, strip_modifiers_typedefs};
use rustc_hash::FxHashMap;

use crate::facts::KernelFacts;

/// A kernel: what is known of it from all sources at hand.
pub struct Kernel<'k> {
    /// What is known besides its types.
    pub facts: &'k KernelFacts,
    /// Its types, and those of its modules.
    pub types: Option<Target<'k>>,
    /// What became of its functions, where its DWARF told.
    pub surface: Option<&'k Surface<'k>>,
    /// The types are cut to what some objects need: what is not there may well be in the kernel.
    minimal: bool,
    enums: [OnceCell<Option<Enumerators>>; ENUMS.len()],
}

/// An enum's values, by name and by number.
#[derive(Debug, Default)]
struct Enumerators {
    by_name: FxHashMap<String, u64>,
    by_value: FxHashMap<u64, String>,
}

/// The enums that tell what a kernel has (`include/uapi/linux/bpf.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum BpfEnum {
    Helper,
    MapType,
    ProgType,
    AttachType,
    Command,
}

const ENUMS: [(&str, &str); 5] = [
    ("bpf_func_id", "BPF_FUNC_"),
    ("bpf_map_type", "BPF_MAP_TYPE_"),
    ("bpf_prog_type", "BPF_PROG_TYPE_"),
    ("bpf_attach_type", "BPF_"),
    ("bpf_cmd", "BPF_"),
];

/// What a look-up among the kernel's types finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Lookup<T> {
    Found(T),
    /// It is not there, in these words.
    Absent(String),
    /// The types do not tell, in these words.
    Unknown(String),
}

impl<'k> Kernel<'k> {
    /// A kernel. Types that are cut to what objects need ([`Coverage`]) are known as such.
    pub fn new(facts: &'k KernelFacts, types: Option<Target<'k>>, surface: Option<&'k Surface<'k>>) -> Kernel<'k> {
        let minimal = types.is_some_and(|target| Coverage::read(target.vmlinux).is_some());
        Kernel { facts, types, surface, minimal, enums: Default::default() }
    }

    /// The kernel's own types, where they are whole; else why they do not tell.
    fn whole(&self) -> Result<&'k Btf<'k>, String> {
        match self.types {
            None => Err("the kernel's types (BTF) are not known".to_owned()),
            Some(_) if self.minimal => Err("this BTF is cut to what objects need, and does not tell".to_owned()),
            Some(target) => Ok(target.vmlinux),
        }
    }

    fn enumerators(&self, which: BpfEnum) -> Result<&Enumerators, Lookup<u64>> {
        let btf = self.whole().map_err(Lookup::Unknown)?;
        let name = ENUMS[which as usize].0;
        let found = self.enums[which as usize].get_or_init(|| read_enum(btf, name));
        found
            .as_ref()
            .ok_or_else(|| Lookup::Absent(format!("no enum {name} in this BTF: the kernel has no such part of BPF")))
    }

    /// An enumerator by its name without prefix, and its value.
    pub(crate) fn enumerator(&self, which: BpfEnum, short: &str) -> Lookup<u64> {
        let (name, prefix) = ENUMS[which as usize];
        let enumerators = match self.enumerators(which) {
            Ok(found) => found,
            Err(answer) => return answer,
        };
        match enumerators.by_name.get(&format!("{prefix}{short}")) {
            Some(&value) => Lookup::Found(value),
            None => Lookup::Absent(format!("enum {name} has no {prefix}{short} in this BTF")),
        }
    }

    /// An enumerator by its value: its whole name.
    pub(crate) fn enumerator_at(&self, which: BpfEnum, value: u64) -> Lookup<String> {
        let (name, prefix) = ENUMS[which as usize];
        let enumerators = match self.enumerators(which) {
            Ok(found) => found,
            Err(Lookup::Unknown(why)) => return Lookup::Unknown(why),
            Err(Lookup::Absent(why)) => return Lookup::Absent(why),
            Err(Lookup::Found(_)) => return Lookup::Unknown(String::new()),
        };
        match enumerators.by_value.get(&value) {
            Some(found) if found.starts_with(prefix) => Lookup::Found(found.clone()),
            _ => {
                let last = enumerators.by_value.keys().max().unwrap_or(&0);
                Lookup::Absent(format!("enum {name} ends at {last} in this BTF"))
            }
        }
    }

    /// A function's prototype, of the kernel or one of its modules.
    pub(crate) fn prototype(&self, name: &str) -> Lookup<Prototype<'k>> {
        let target = match self.whole() {
            Ok(_) => self.types.expect("they are known"),
            Err(why) => return Lookup::Unknown(why),
        };
        let all = std::iter::once(target.vmlinux).chain(target.modules.iter().map(|module| module.btf));
        for btf in all {
            let Some(id) = btf.find(name, Kind::Func).next() else { continue };
            if let Ok(Type::Func { proto, .. }) = btf.ty(id) {
                return Lookup::Found(Prototype { btf, proto });
            }
        }
        if self.has_functions() {
            Lookup::Absent(format!("this BTF has no function {name}"))
        } else {
            Lookup::Unknown("this BTF has no functions at all".to_owned())
        }
    }

    /// Whether the BTF has functions: encoders before pahole 1.16 wrote none, and minimal BTF has none.
    fn has_functions(&self) -> bool {
        // every kernel has it; the cheapest question that tells
        self.types.is_some_and(|target| {
            ["schedule", "vfs_read", "kfree"].iter().any(|name| target.vmlinux.find(name, Kind::Func).next().is_some())
        })
    }

    /// What became of a function, where that is known.
    pub(crate) fn function_facts(&self, name: &str) -> Option<FunctionLookup<'k>> {
        self.surface?.lookup(name).ok()
    }

    /// A type by name and kind.
    pub(crate) fn has_type(&self, name: &str, kind: Kind) -> Lookup<TypeId> {
        let btf = match self.whole() {
            Ok(btf) => btf,
            Err(why) => return Lookup::Unknown(why),
        };
        match btf.find(name, kind).next() {
            Some(id) => Lookup::Found(id),
            None => Lookup::Absent(format!("this BTF has no {} {name}", kind_word(kind))),
        }
    }

    /// A variable, such as a per-CPU one.
    pub(crate) fn has_variable(&self, name: &str) -> Lookup<TypeId> {
        self.has_type(name, Kind::Var)
    }

    /// The prototype of a tracepoint's handler, whose first parameter is not the program's: `btf_trace_NAME`.
    pub(crate) fn tracepoint(&self, name: &str) -> Lookup<Prototype<'k>> {
        let btf = match self.whole() {
            Ok(btf) => btf,
            Err(why) => return Lookup::Unknown(why),
        };
        let typedef = format!("btf_trace_{name}");
        if let Some(id) = btf.find(&typedef, Kind::Typedef).next()
            && let Ok(pointer) = strip_modifiers_typedefs(btf, id)
            && let Ok(Type::Ptr(proto)) = btf.ty(pointer)
        {
            return Lookup::Found(Prototype { btf, proto });
        }
        // since Linux 5.5, e8c423fb31fa ("bpf: Add typecast to raw_tracepoints to help BTF generation")
        match btf.find("btf_trace_sched_switch", Kind::Typedef).next() {
            Some(_) => Lookup::Absent(format!("this BTF has no typedef {typedef}")),
            None => Lookup::Unknown("this kernel's BTF does not list tracepoints (before Linux 5.5)".to_owned()),
        }
    }
}

/// A function's parameters, as its kernel's types have them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Prototype<'k> {
    pub(crate) btf: &'k Btf<'k>,
    pub(crate) proto: TypeId,
}

impl PartialEq for Prototype<'_> {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.btf, other.btf) && self.proto == other.proto
    }
}

impl Eq for Prototype<'_> {}

fn kind_word(kind: Kind) -> &'static str {
    match kind {
        Kind::Struct => "struct",
        Kind::Union => "union",
        Kind::Enum | Kind::Enum64 => "enum",
        Kind::Typedef => "typedef",
        Kind::Func => "function",
        Kind::Var => "variable",
        _ => "type",
    }
}

fn read_enum(btf: &Btf<'_>, name: &str) -> Option<Enumerators> {
    let mut found = Enumerators::default();
    for kind in [Kind::Enum, Kind::Enum64] {
        for id in btf.find(name, kind) {
            let Ok(Type::Enum(definition)) = btf.ty(id) else { continue };
            // __BPF_FUNC_MAX_ID and the like, and masks, are no values of their own
            let is_one = |name: &str, value: u64| !name.contains("MAX") && value < 1 << 16;
            let values = definition.values().flatten();
            for value in values.filter(|value| is_one(value.name, value.value as u64)) {
                found.by_name.insert(value.name.to_owned(), value.value as u64);
                found.by_value.entry(value.value as u64).or_insert_with(|| value.name.to_owned());
            }
        }
    }
    (!found.by_name.is_empty()).then_some(found)
}
