//! What a vmlinux says of chosen functions, read by gimli and object: the facts that a difference must be explained by.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use gimli::{
    AttributeValue, DebuggingInformationEntry, Dwarf, EndianSlice, Operation, RunTimeEndian, Unit, UnitOffset,
};
use object::{Object, ObjectSection, ObjectSymbol};

type Reader<'d> = EndianSlice<'d, RunTimeEndian>;

/// One STT_FUNC symbol.
#[derive(Clone, Debug)]
pub(crate) struct Symbol {
    pub(crate) name: String,
    pub(crate) address: u64,
    size: u64,
}

impl Symbol {
    /// Is it a piece of a function?
    pub(crate) fn is_piece(&self) -> bool {
        self.has(".part") || self.is_cold()
    }

    /// Is it what a function seldom comes to?
    pub(crate) fn is_cold(&self) -> bool {
        self.has(".cold")
    }

    /// Did the compiler change the parameters?
    pub(crate) fn is_transformed(&self) -> bool {
        self.has(".constprop") || self.has(".isra")
    }

    fn has(&self, suffix: &str) -> bool {
        self.name.find('.').is_some_and(|dot| self.name[dot..].contains(suffix))
    }
}

/// One parameter of an entry.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parameter {
    name: String,
    /// Its type in words, in which const is of no account.
    pub(crate) ty: String,
    /// Its type in words as it is written.
    written: String,
    pub(crate) has_location: bool,
    /// The register that its first location is, or that it was in when the function was entered.
    pub(crate) register: Option<u16>,
    /// It stands in another place than the parameter that it is an instance of.
    pub(crate) is_moved: bool,
}

/// One DW_TAG_subprogram.
#[derive(Clone, Debug, Default)]
pub(crate) struct Entry {
    pub(crate) low_pc: Option<u64>,
    /// The beginning of the first of DW_AT_ranges.
    pub(crate) first_range: Option<u64>,
    pub(crate) is_external: bool,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) result: String,
    /// The parameters of the entry that it is an instance of.
    declared: Vec<UnitOffset>,
}

impl Entry {
    pub(crate) fn address(&self) -> Option<u64> {
        self.low_pc.or(self.first_range)
    }

    /// The parameters' names; `...` has none.
    pub(crate) fn names(&self) -> Vec<String> {
        self.parameters.iter().map(|parameter| parameter.name.clone()).collect()
    }

    /// The parameters with const where it is written.
    pub(crate) fn written(&self) -> Vec<(&str, &str)> {
        self.parameters.iter().map(|parameter| (&*parameter.name, &*parameter.written)).collect()
    }

    fn prototype(&self) -> String {
        let parameters: Vec<&str> = self.parameters.iter().map(|parameter| parameter.ty.as_str()).collect();
        format!("({}) -> {}", parameters.join(", "), self.result)
    }
}

/// All that is known of one name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Evidence {
    pub(crate) symbols: Vec<Symbol>,
    /// Entries that have code or an instance somewhere; no declarations.
    pub(crate) entries: Vec<Entry>,
    /// A symbol has this name behind one of [`PREFIXES`].
    pub(crate) renamed: bool,
    /// ftrace has a call site at one of the symbols; unknown where the sites come from relocations only.
    pub(crate) traceable: Option<bool>,
}

impl Evidence {
    /// Distinct addresses of the symbols that are functions.
    pub(crate) fn addresses(&self) -> BTreeSet<u64> {
        self.symbols.iter().filter(|symbol| !symbol.is_piece()).map(|symbol| symbol.address).collect()
    }

    /// Is the code of this entry that of one of the functions? (Its address may be behind what
    /// `-fpatchable-function-entry` puts at the symbol.)
    pub(crate) fn is_at_symbol(&self, entry: &Entry) -> bool {
        let functions = || self.symbols.iter().filter(|symbol| !symbol.is_piece());
        entry.address().is_some_and(|at| functions().any(|symbol| at.wrapping_sub(symbol.address) < symbol.size))
    }

    pub(crate) fn prototypes(&self) -> BTreeSet<String> {
        self.entries.iter().map(Entry::prototype).collect()
    }
}

/// DWARF numbers of the parameter registers.
pub(crate) fn registers(elf: &[u8]) -> &'static [u16] {
    match object::File::parse(elf).unwrap().architecture() {
        object::Architecture::X86_64 => &[5, 4, 1, 2, 8, 9],
        object::Architecture::Aarch64 => &[0, 1, 2, 3, 4, 5, 6, 7],
        object::Architecture::S390x => &[2, 3, 4, 5, 6],
        other => panic!("{other:?}"),
    }
}

/// What arm64's build puts before the symbols of its hypervisor and of what runs before the kernel.
const PREFIXES: [&str; 2] = ["__kvm_nvhe_", "__efistub_"];

/// The evidence about these functions.
pub(crate) fn gather(elf: &[u8], wanted: &HashSet<String>) -> BTreeMap<String, Evidence> {
    let mut all: BTreeMap<String, Evidence> = wanted.iter().map(|name| (name.clone(), Evidence::default())).collect();
    let file = object::File::parse(elf).unwrap();
    let mut marks = HashMap::new();
    for symbol in file.symbols() {
        let Ok(name) = symbol.name() else { continue };
        if name.starts_with("__st") && name.contains("mcount_loc") {
            marks.insert(name.to_owned(), symbol.address());
        }
        if symbol.kind() != object::SymbolKind::Text {
            continue;
        }
        for unprefixed in PREFIXES.iter().filter_map(|prefix| name.strip_prefix(prefix)) {
            if let Some(evidence) = all.get_mut(unprefixed) {
                evidence.renamed = true;
            }
        }
        if let Some(evidence) = all.get_mut(name.split('.').next().unwrap()) {
            evidence.symbols.push(Symbol { name: name.to_owned(), address: symbol.address(), size: symbol.size() });
        }
    }
    let sites = call_sites(&file, &marks);
    for evidence in all.values_mut() {
        evidence.traceable = sites.as_ref().map(|sites| {
            evidence.symbols.iter().filter(|symbol| !symbol.is_piece()).any(|symbol| {
                let next = sites.partition_point(|&site| site < symbol.address);
                sites.get(next).is_some_and(|&site| site - symbol.address < symbol.size)
            })
        });
    }
    read_entries(&file, &mut all);
    all
}

/// Where ftrace can trace, sorted.
fn call_sites(file: &object::File<'_>, marks: &HashMap<String, u64>) -> Option<Vec<u64>> {
    let (&start, &end) = (marks.get("__start_mcount_loc")?, marks.get("__stop_mcount_loc")?);
    let section =
        file.sections().find(|section| (section.address()..section.address() + section.size()).contains(&start));
    let data = section?.data_range(start, end - start).ok()??;
    let little = file.is_little_endian();
    let word = |bytes: &[u8]| {
        let bytes = bytes.try_into().unwrap();
        if little { u64::from_le_bytes(bytes) } else { u64::from_be_bytes(bytes) }
    };
    let mut sites: Vec<u64> = data.chunks_exact(8).map(word).collect();
    sites.sort_unstable();
    sites.last().is_some_and(|&last| last != 0).then_some(sites)
}

fn read_entries(file: &object::File<'_>, all: &mut BTreeMap<String, Evidence>) {
    let endian = if file.is_little_endian() { RunTimeEndian::Little } else { RunTimeEndian::Big };
    let load = |id: gimli::SectionId| -> Result<Reader<'_>, gimli::Error> {
        let data = file.section_by_name(id.name()).and_then(|section| section.data().ok()).unwrap_or_default();
        Ok(EndianSlice::new(data, endian))
    };
    let dwarf = Dwarf::load(load).unwrap();
    let mut headers = dwarf.units();
    while let Some(header) = headers.next().unwrap() {
        let unit = dwarf.unit(header).unwrap();
        let types = Types { dwarf: &dwarf, unit: &unit };
        let mut cursor = unit.entries();
        // the function whose parameters come now, and how deep they lie
        let mut open: Option<(String, Entry, isize)> = None;
        while let Some(entry) = cursor.next_dfs().unwrap() {
            if open.as_ref().is_some_and(|&(_, _, depth)| entry.depth() <= depth) {
                let (name, entry, _) = open.take().unwrap();
                all.get_mut(&name).unwrap().entries.push(entry);
            }
            match entry.tag() {
                gimli::DW_TAG_subprogram if entry.attr(gimli::DW_AT_declaration).is_none() => {
                    if let Some(name) = types.inherited_name(entry).filter(|name| all.contains_key(name)) {
                        open = Some((name, types.function(entry), entry.depth()));
                    }
                }
                gimli::DW_TAG_formal_parameter => {
                    if let Some((_, function, depth)) = &mut open
                        && entry.depth() == *depth + 1
                    {
                        let parameter = types.parameter(entry, function);
                        function.parameters.push(parameter);
                    }
                }
                gimli::DW_TAG_unspecified_parameters => {
                    if let Some((_, function, depth)) = &mut open
                        && entry.depth() == *depth + 1
                    {
                        function.parameters.push(Parameter { ty: "...".to_owned(), ..Parameter::default() });
                    }
                }
                _ => {}
            }
        }
        if let Some((name, entry, _)) = open {
            all.get_mut(&name).unwrap().entries.push(entry);
        }
    }
}

/// What const means for types being the same.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Const {
    Kept,
    Ignored,
}

/// Types of one unit, in words.
struct Types<'u, 'd> {
    dwarf: &'u Dwarf<Reader<'d>>,
    unit: &'u Unit<Reader<'d>>,
}

type Die<'d> = DebuggingInformationEntry<Reader<'d>>;

impl<'d> Types<'_, 'd> {
    fn at(&self, entry: &Die<'d>, name: gimli::DwAt) -> Option<UnitOffset> {
        match entry.attr_value(name)? {
            AttributeValue::UnitRef(offset) => Some(offset),
            _ => None,
        }
    }

    fn name(&self, entry: &Die<'d>) -> Option<String> {
        let value = entry.attr_value(gimli::DW_AT_name)?;
        Some(self.dwarf.attr_string(self.unit, value).unwrap().to_string_lossy().into_owned())
    }

    /// The entry that this one is an instance of, or completes.
    fn origin(&self, entry: &Die<'d>) -> Option<Die<'d>> {
        let at = self.at(entry, gimli::DW_AT_abstract_origin).or_else(|| self.at(entry, gimli::DW_AT_specification))?;
        Some(self.unit.entry(at).unwrap())
    }

    fn inherited_name(&self, entry: &Die<'d>) -> Option<String> {
        self.name(entry).or_else(|| self.inherited_name(&self.origin(entry)?))
    }

    fn function(&self, entry: &Die<'d>) -> Entry {
        let address = |value| self.dwarf.attr_address(self.unit, value).unwrap();
        let low_pc = entry.attr_value(gimli::DW_AT_low_pc).and_then(address);
        let ranges =
            entry.attr_value(gimli::DW_AT_ranges).and_then(|value| self.dwarf.attr_ranges(self.unit, value).unwrap());
        let first_range = ranges.and_then(|mut ranges| ranges.next().unwrap()).map(|range| range.begin);
        let origin = self.origin(entry);
        let says_external = |entry: &Die<'d>| entry.attr(gimli::DW_AT_external).is_some();
        let is_external = says_external(entry) || origin.as_ref().is_some_and(says_external);
        let declared = origin.map_or_else(Vec::new, |origin| self.parameters(origin.offset()));
        let result = self.described(entry, Const::Ignored);
        Entry { low_pc, first_range, is_external, parameters: Vec::new(), result, declared }
    }

    fn parameters(&self, function: UnitOffset) -> Vec<UnitOffset> {
        let mut tree = self.unit.entries_tree(Some(function)).unwrap();
        let mut children = tree.root().unwrap().children();
        let mut parameters = Vec::new();
        while let Some(child) = children.next().unwrap() {
            if child.entry().tag() == gimli::DW_TAG_formal_parameter {
                parameters.push(child.entry().offset());
            }
        }
        parameters
    }

    /// The words for an entry's DW_AT_type, its own or that of its origin.
    fn described(&self, entry: &Die<'d>, constness: Const) -> String {
        match (self.at(entry, gimli::DW_AT_type), self.origin(entry)) {
            (Some(ty), _) => self.words(ty, constness, 0),
            (None, Some(origin)) => self.described(&origin, constness),
            (None, None) => "void".to_owned(),
        }
    }

    fn parameter(&self, entry: &Die<'d>, function: &Entry) -> Parameter {
        let origin = self.at(entry, gimli::DW_AT_abstract_origin);
        let place = origin.map(|origin| function.declared.iter().position(|&declared| declared == origin));
        let is_moved = place.is_some_and(|place| place != Some(function.parameters.len()));
        let location = entry.attr_value(gimli::DW_AT_location);
        let first = match location {
            Some(AttributeValue::Exprloc(expression)) => Some(expression),
            Some(list) => {
                let mut list = self.dwarf.attr_locations(self.unit, list).unwrap();
                list.as_mut().and_then(|list| list.next().unwrap()).map(|first| first.data)
            }
            None => None,
        };
        let register =
            first.and_then(|expression| match Operation::parse(&mut { expression.0 }, self.unit.encoding()) {
                Ok(Operation::Register { register }) => Some(register.0),
                Ok(Operation::EntryValue { expression }) => {
                    match Operation::parse(&mut { expression }, self.unit.encoding()) {
                        Ok(Operation::Register { register }) => Some(register.0),
                        _ => None,
                    }
                }
                _ => None,
            });
        let name = self.inherited_name(entry).unwrap_or_default();
        Parameter {
            name,
            ty: self.described(entry, Const::Ignored),
            written: self.described(entry, Const::Kept),
            has_location: location.is_some(),
            register,
            is_moved,
        }
    }

    fn words(&self, ty: UnitOffset, constness: Const, depth: u32) -> String {
        if depth > 30 {
            return "…".to_owned();
        }
        let entry = self.unit.entry(ty).unwrap();
        let beneath = || match self.at(&entry, gimli::DW_AT_type) {
            Some(ty) => self.words(ty, constness, depth + 1),
            None => "void".to_owned(),
        };
        let named = || self.name(&entry).unwrap_or_default();
        match entry.tag() {
            // dwarves' rule (types__match): const is of no account, but for `const void` and `void` being two
            gimli::DW_TAG_const_type => match beneath() {
                other if constness == Const::Ignored && other != "void" => other,
                other => format!("const {other}"),
            },
            gimli::DW_TAG_volatile_type => format!("volatile {}", beneath()),
            gimli::DW_TAG_restrict_type => format!("restrict {}", beneath()),
            gimli::DW_TAG_pointer_type => format!("*{}", beneath()),
            gimli::DW_TAG_structure_type => format!("struct {}", named()),
            gimli::DW_TAG_union_type => format!("union {}", named()),
            gimli::DW_TAG_enumeration_type => format!("enum {}", named()),
            gimli::DW_TAG_array_type => format!("[]{}", beneath()),
            gimli::DW_TAG_subroutine_type => {
                let mut tree = self.unit.entries_tree(Some(ty)).unwrap();
                let mut children = tree.root().unwrap().children();
                let mut parameters = Vec::new();
                while let Some(child) = children.next().unwrap() {
                    parameters.push(self.described(child.entry(), constness));
                }
                format!("fn({}) -> {}", parameters.join(", "), beneath())
            }
            _ => named(),
        }
    }
}
