//! A kernel that is asked: its facts, its types, and what became of its functions.

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeSet;

use btf::core_relo::{Candidates, Target};
use btf::coverage::Coverage;
use btf::minimize::Enumerator;
use btf::surface::{Surface, format::Lookup as FunctionLookup};
use btf::{Btf, Kind, Type, TypeId, strip_modifiers_typedefs};
use rustc_hash::FxHashMap;

use crate::facts::KernelFacts;
use crate::judge;

/// A kernel: what is known of it from all sources at hand.
pub struct Kernel<'k> {
    /// What is known besides its types.
    pub facts: &'k KernelFacts,
    /// Its types, and those of its modules.
    pub types: Option<Target<'k>>,
    /// What became of its functions, where its DWARF told.
    pub surface: Option<&'k Surface<'k>>,
    /// Of types that are cut to what some objects need, what was looked for: else what is not there may well be in the kernel.
    minimal: Option<Coverage>,
    /// Names that were looked for, all at once, and the types that have them.
    known: RefCell<FxHashMap<(String, Kind), Vec<TypeId>>>,
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

impl BpfEnum {
    pub(crate) fn name(self) -> &'static str {
        ENUMS[self as usize].0
    }

    /// An enumerator's name with the prefix that all of the enum have.
    pub(crate) fn whole_name(self, short: &str) -> String {
        format!("{}{short}", ENUMS[self as usize].1)
    }
}

/// Functions of which every kernel has one.
pub(crate) const EVERY_KERNEL_HAS: [&str; 3] = ["schedule", "vfs_read", "kfree"];

/// The type of a tracepoint that every kernel has whose types tell of tracepoints.
pub(crate) const A_TRACEPOINT: &str = "btf_trace_sched_switch";

/// What is asked of a kernel, whatever the object is.
pub(crate) fn always_asked() -> impl Iterator<Item = (String, Kind)> {
    let enums = ENUMS.iter().map(|(name, _)| ((*name).to_owned(), Kind::Enum));
    let functions = EVERY_KERNEL_HAS.iter().map(|name| ((*name).to_owned(), Kind::Func));
    let of_features = [
        (A_TRACEPOINT, Kind::Typedef),
        (judge::READ_ITS_TYPES[0], Kind::Func),
        (judge::READ_ITS_TYPES[1], Kind::Func),
        (judge::TRAMPOLINE, Kind::Struct),
    ];
    enums.chain(functions).chain(of_features.map(|(name, kind)| (name.to_owned(), kind)))
}

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
    /// A kernel. Types that are cut to what objects need are known as such: they say so ([`Coverage`]), or they are too few.
    pub fn new(facts: &'k KernelFacts, types: Option<Target<'k>>, surface: Option<&'k Surface<'k>>) -> Kernel<'k> {
        let minimal = types.and_then(|target| {
            Coverage::read(target.vmlinux).or_else(|| is_cut(target.vmlinux).then(Coverage::default))
        });
        Kernel { facts, types, surface, minimal, known: RefCell::default(), enums: Default::default() }
    }

    /// Looks names up that will be asked for, in one way through the types: each alone would take as long.
    pub(crate) fn look_up(&self, names: impl IntoIterator<Item = (String, Kind)>) {
        let Some(target) = self.types else { return };
        let mut known = self.known.borrow_mut();
        let new: BTreeSet<(String, Kind)> = names.into_iter().filter(|name| !known.contains_key(name)).collect();
        if new.is_empty() {
            return;
        }
        let vmlinux = Target::kernel(target.vmlinux);
        let found = Candidates::search(&vmlinux, new.iter().map(|(name, kind)| (name.as_bytes(), *kind)));
        for (name, kind) in new {
            let of_kind = |wanted: Kind| {
                let ids = found.of(name.as_bytes(), wanted).map(|candidate| candidate.id);
                // candidates may have a flavour in their names, and an enum's be of either width
                let is_it = |id: &TypeId| {
                    target.vmlinux.name_of(*id) == Ok(name.as_str()) && target.vmlinux.kind_of(*id) == Ok(Some(wanted))
                };
                ids.filter(is_it).collect::<Vec<TypeId>>()
            };
            if kind.is_enum() {
                known.insert((name.clone(), Kind::Enum), of_kind(Kind::Enum));
                known.insert((name.clone(), Kind::Enum64), of_kind(Kind::Enum64));
            } else {
                let ids = of_kind(kind);
                known.insert((name, kind), ids);
            }
        }
    }

    /// The types of this name and kind in the kernel itself.
    pub(crate) fn find(&self, name: &str, kind: Kind) -> Vec<TypeId> {
        let Some(target) = self.types else { return Vec::new() };
        match self.known.borrow().get(&(name.to_owned(), kind)) {
            Some(known) => known.clone(),
            None => target.vmlinux.find(name, kind).collect(),
        }
    }

    /// The kernel's own types, where they are whole or what is looked for was kept of them; else why they do not tell.
    fn types_that_tell(&self, covers: impl FnOnce(&Coverage) -> bool) -> Result<Target<'k>, String> {
        match (self.types, &self.minimal) {
            (None, _) => Err("the kernel's types (BTF) are not known".to_owned()),
            (_, Some(coverage)) if !covers(coverage) => {
                Err("this BTF is cut to what objects need, and does not tell".to_owned())
            }
            (Some(target), _) => Ok(target),
        }
    }

    fn enumerators(&self, which: BpfEnum, of: &Enumerator) -> Result<&Enumerators, Lookup<u64>> {
        let name = which.name();
        let target = self.types_that_tell(|coverage| coverage.has_enumerator(name, of)).map_err(Lookup::Unknown)?;
        let found = self.enums[which as usize].get_or_init(|| {
            // of one that is cut nothing may be left
            self.read_enum(target.vmlinux, name).or_else(|| self.minimal.is_some().then(Enumerators::default))
        });
        found
            .as_ref()
            .ok_or_else(|| Lookup::Absent(format!("no enum {name} in this BTF: the kernel has no such part of BPF")))
    }

    /// An enumerator by its name without prefix, and its value.
    pub(crate) fn enumerator(&self, which: BpfEnum, short: &str) -> Lookup<u64> {
        let (of, name) = (which.name(), which.whole_name(short));
        let enumerators = match self.enumerators(which, &Enumerator::Named(name.clone())) {
            Ok(found) => found,
            Err(answer) => return answer,
        };
        match enumerators.by_name.get(&name) {
            Some(&value) => Lookup::Found(value),
            None => Lookup::Absent(format!("enum {of} has no {name} in this BTF")),
        }
    }

    /// An enumerator by its value: its whole name.
    pub(crate) fn enumerator_at(&self, which: BpfEnum, value: u64) -> Lookup<String> {
        let (name, prefix) = ENUMS[which as usize];
        let enumerators = match self.enumerators(which, &Enumerator::Valued(value)) {
            Ok(found) => found,
            Err(Lookup::Unknown(why)) => return Lookup::Unknown(why),
            Err(Lookup::Absent(why)) => return Lookup::Absent(why),
            Err(Lookup::Found(_)) => return Lookup::Unknown(String::new()),
        };
        match enumerators.by_value.get(&value) {
            Some(found) if found.starts_with(prefix) => Lookup::Found(found.clone()),
            _ if self.minimal.is_some() => Lookup::Absent(format!("enum {name} has no {value} in this BTF")),
            _ => {
                let last = enumerators.by_value.keys().max().unwrap_or(&0);
                Lookup::Absent(format!("enum {name} ends at {last} in this BTF"))
            }
        }
    }

    /// A function's prototype, of the kernel or one of its modules.
    pub(crate) fn prototype(&self, name: &str) -> Lookup<Prototype<'k>> {
        let target = match self.types_that_tell(|coverage| coverage.has_name(name, Kind::Func)) {
            Ok(target) => target,
            Err(why) => return Lookup::Unknown(why),
        };
        let of_modules = target.modules.iter();
        let of_modules = of_modules.filter_map(|module| Some((module.btf, module.btf.find(name, Kind::Func).next()?)));
        let own = self.find(name, Kind::Func).into_iter().map(|id| (target.vmlinux, id));
        for (btf, id) in own.chain(of_modules) {
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

    /// Whether the BTF has functions: encoders before pahole 1.16 wrote none.
    fn has_functions(&self) -> bool {
        // every kernel has it; the cheapest question that tells
        EVERY_KERNEL_HAS.iter().any(|name| !self.find(name, Kind::Func).is_empty())
    }

    fn read_enum(&self, btf: &Btf<'_>, name: &str) -> Option<Enumerators> {
        let mut found = Enumerators::default();
        for id in [Kind::Enum, Kind::Enum64].into_iter().flat_map(|kind| self.find(name, kind)) {
            let Ok(Type::Enum(definition) | Type::Enum64(definition)) = btf.ty(id) else { continue };
            // __BPF_FUNC_MAX_ID and the like, and masks, are no values of their own
            let is_one = |name: &str, value: i128| !name.contains("MAX") && (0..1 << 16).contains(&value);
            let values = definition.values().flatten();
            for value in values.filter(|value| is_one(value.name, value.value)) {
                found.by_name.insert(value.name.to_owned(), value.value as u64);
                found.by_value.entry(value.value as u64).or_insert_with(|| value.name.to_owned());
            }
        }
        (!found.by_name.is_empty()).then_some(found)
    }

    /// What became of a function, where that is known.
    pub(crate) fn function_facts(&self, name: &str) -> Option<FunctionLookup<'k>> {
        self.surface?.lookup(name).ok()
    }

    /// A type by name and kind.
    pub(crate) fn has_type(&self, name: &str, kind: Kind) -> Lookup<TypeId> {
        if let Err(why) = self.types_that_tell(|coverage| coverage.has_name(name, kind)) {
            return Lookup::Unknown(why);
        }
        match self.find(name, kind).first() {
            Some(&id) => Lookup::Found(id),
            None => Lookup::Absent(format!("this BTF has no {} {name}", kind_word(kind))),
        }
    }

    /// A variable, such as a per-CPU one.
    pub(crate) fn has_variable(&self, name: &str) -> Lookup<TypeId> {
        self.has_type(name, Kind::Var)
    }

    /// The prototype of a tracepoint's handler, whose first parameter is not the program's: `btf_trace_NAME`.
    pub(crate) fn tracepoint(&self, name: &str) -> Lookup<Prototype<'k>> {
        let typedef = format!("btf_trace_{name}");
        let btf = match self.types_that_tell(|coverage| coverage.has_name(&typedef, Kind::Typedef)) {
            Ok(target) => target.vmlinux,
            Err(why) => return Lookup::Unknown(why),
        };
        if let Some(&id) = self.find(&typedef, Kind::Typedef).first()
            && let Ok(pointer) = strip_modifiers_typedefs(btf, id)
            && let Ok(Type::Ptr(proto)) = btf.ty(pointer)
        {
            return Lookup::Found(Prototype { btf, proto });
        }
        // since Linux 5.5, e8c423fb31fa ("bpf: Add typecast to raw_tracepoints to help BTF generation")
        match self.find(A_TRACEPOINT, Kind::Typedef).is_empty() {
            false => Lookup::Absent(format!("this BTF has no typedef {typedef}")),
            true => Lookup::Unknown("this kernel's BTF does not list tracepoints (before Linux 5.5)".to_owned()),
        }
    }
}

/// Whether these types are what a tool left that does not say so, as `bpftool gen min_core_btf` does: no function, and fewer than any
/// kernel has (CentOS 7's 3.10, without functions: 76,033).
fn is_cut(types: &Btf<'_>) -> bool {
    types.len() < 4096 && !types.ids().any(|id| types.kind_of(id) == Ok(Some(Kind::Func)))
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
