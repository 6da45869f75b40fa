//! Types by their entries: sizes, names, members.

use super::layout::{Field, Layout, is_aggregate};
use super::{Place, Slice, Units};
use gimli::{AttributeValue, DebuggingInformationEntry, DwAt, DwTag, Unit, constants};
use rustc_hash::FxHashMap;
use std::rc::Rc;

type Die<'a> = DebuggingInformationEntry<Slice<'a>>;

/// Reads types, of any unit.
pub(super) struct Types<'u, 'a> {
    units: &'u Units<'a>,
    /// Those that were needed, with their abbreviations.
    opened: FxHashMap<usize, Option<Rc<Unit<Slice<'a>>>>>,
    /// Entries of the layout that were looked at.
    steps: usize,
}

/// An entry, its unit, and where the unit begins.
struct Entry<'a> {
    die: Die<'a>,
    unit: Rc<Unit<Slice<'a>>>,
    begin: Place,
}

/// Typedefs of typedefs, arrays of arrays: nothing real is deeper.
const DEEPEST: u32 = 24;
/// Structs in structs and classes of classes: tuples and tables made of templates have a level for each element.
const DEEPEST_MEMBERS: u32 = 128;
/// Fields of a type that are told.
const MOST_FIELDS: usize = 8192;

/// Entries that are looked at for them: structs without a name that hold each other are no fields.
const MOST_STEPS: usize = 1 << 16;

/// Where a field is put.
#[derive(Clone)]
struct Within {
    prefix: String,
    bits: u64,
    depth: u32,
    base: Option<String>,
    /// Types passed through, named or not.
    level: u32,
}

impl<'u, 'a> Types<'u, 'a> {
    pub(super) fn new(units: &'u Units<'a>) -> Types<'u, 'a> {
        Types { units, opened: FxHashMap::default(), steps: 0 }
    }

    /// The layout of a type, or of what a typedef names. `None`: it is no struct, class or union.
    pub(super) fn layout(&mut self, place: Place, tag: DwTag, name: &str) -> Option<Layout> {
        let place = if tag == constants::DW_TAG_typedef { self.resolved(place)? } else { place };
        let entry = self.entry(place)?;
        let kind = match entry.die.tag() {
            constants::DW_TAG_structure_type => "struct",
            constants::DW_TAG_class_type | constants::DW_TAG_interface_type => "class",
            constants::DW_TAG_union_type => "union",
            _ => return None,
        };
        let size = number(&entry.die, constants::DW_AT_byte_size)?;
        let mut layout =
            Layout { name: name.to_owned(), kind, size, fields: Vec::new(), virtual_bases: Vec::new(), is_cut: false };
        let within = Within { prefix: String::new(), bits: 0, depth: 0, base: None, level: 0 };
        self.steps = 0;
        self.members(&entry, &within, &mut layout);
        // a struct is before its own first field
        layout.fields.sort_by_key(|field| (field.offset_bits, field.depth));
        Some(layout)
    }

    fn unit(&mut self, index: usize) -> Option<Rc<Unit<Slice<'a>>>> {
        let units = self.units;
        self.opened.entry(index).or_insert_with(|| units.unit(index).ok().map(Rc::new)).clone()
    }

    fn entry(&mut self, place: Place) -> Option<Entry<'a>> {
        let index = self.units.index_of(place)?;
        let begin = self.units.place(index);
        let unit = self.unit(index)?;
        let die = unit.entry(gimli::UnitOffset(place.offset - begin.offset)).ok()?;
        Some(Entry { die, unit, begin })
    }

    fn target(&self, entry: &Entry<'a>, attribute: DwAt) -> Option<Place> {
        match entry.die.attr_value(attribute)? {
            AttributeValue::DebugTypesRef(signature) => self.units.signed(signature),
            value => self.units.target(entry.begin, &value),
        }
    }

    fn name(&self, entry: &Entry<'a>) -> Option<String> {
        let value = entry.die.attr_value(constants::DW_AT_name)?;
        let name = self.units.text(&entry.unit, entry.begin, value)?;
        Some(String::from_utf8_lossy(name.slice()).into_owned())
    }

    /// The type behind typedefs and qualifiers; a declaration's definition, where its signature says which.
    fn resolved(&mut self, mut place: Place) -> Option<Place> {
        for _ in 0..DEEPEST {
            let entry = self.entry(place)?;
            let next = match entry.die.tag() {
                constants::DW_TAG_typedef
                | constants::DW_TAG_const_type
                | constants::DW_TAG_volatile_type
                | constants::DW_TAG_restrict_type
                | constants::DW_TAG_atomic_type
                | constants::DW_TAG_packed_type
                | constants::DW_TAG_immutable_type => self.target(&entry, constants::DW_AT_type)?,
                _ => match self.target(&entry, constants::DW_AT_signature) {
                    Some(definition) => definition,
                    None => return Some(place),
                },
            };
            place = next;
        }
        None
    }

    /// Bytes of a value of a type.
    fn size(&mut self, place: Place, level: u32) -> Option<u64> {
        if level > DEEPEST {
            return None;
        }
        let place = self.resolved(place)?;
        let entry = self.entry(place)?;
        if let Some(size) = number(&entry.die, constants::DW_AT_byte_size) {
            return Some(size);
        }
        let address = u64::from(entry.unit.encoding().address_size);
        match entry.die.tag() {
            constants::DW_TAG_pointer_type
            | constants::DW_TAG_reference_type
            | constants::DW_TAG_rvalue_reference_type => Some(address),
            constants::DW_TAG_ptr_to_member_type => {
                // a member function's is an address and what to add to `this`
                let to = self.target(&entry, constants::DW_AT_type)?;
                let is_function = self.entry(to)?.die.tag() == constants::DW_TAG_subroutine_type;
                Some(if is_function { address * 2 } else { address })
            }
            constants::DW_TAG_array_type => {
                let element = self.target(&entry, constants::DW_AT_type)?;
                let element = self.size(element, level + 1)?;
                lengths(&entry).into_iter().try_fold(element, |size, length| size.checked_mul(length?))
            }
            constants::DW_TAG_enumeration_type => {
                let of = self.target(&entry, constants::DW_AT_type)?;
                self.size(of, level + 1)
            }
            _ => None,
        }
    }

    /// A type's name, as the source has it.
    fn type_name(&mut self, place: Option<Place>, level: u32) -> String {
        let Some(entry) = place.filter(|_| level <= DEEPEST).and_then(|place| self.entry(place)) else {
            return "void".to_owned();
        };
        if let Some(name) = self.name(&entry) {
            return name;
        }
        let to = self.target(&entry, constants::DW_AT_type);
        let tag = entry.die.tag();
        match tag {
            constants::DW_TAG_pointer_type => format!("{} *", self.type_name(to, level + 1)),
            constants::DW_TAG_reference_type => format!("{} &", self.type_name(to, level + 1)),
            constants::DW_TAG_rvalue_reference_type => format!("{} &&", self.type_name(to, level + 1)),
            constants::DW_TAG_const_type => format!("const {}", self.type_name(to, level + 1)),
            constants::DW_TAG_volatile_type => format!("volatile {}", self.type_name(to, level + 1)),
            constants::DW_TAG_restrict_type | constants::DW_TAG_atomic_type => self.type_name(to, level + 1),
            constants::DW_TAG_array_type => {
                let lengths = lengths(&entry).into_iter();
                let lengths: String =
                    lengths.map(|length| length.map_or("[]".to_owned(), |length| format!("[{length}]"))).collect();
                format!("{}{lengths}", self.type_name(to, level + 1))
            }
            constants::DW_TAG_subroutine_type => "function".to_owned(),
            constants::DW_TAG_ptr_to_member_type => format!("{} ::*", self.type_name(to, level + 1)),
            constants::DW_TAG_structure_type => "(anonymous struct)".to_owned(),
            constants::DW_TAG_class_type => "(anonymous class)".to_owned(),
            constants::DW_TAG_union_type => "(anonymous union)".to_owned(),
            constants::DW_TAG_enumeration_type => "(anonymous enum)".to_owned(),
            other => other.static_string().unwrap_or("unknown").to_owned(),
        }
    }

    /// Adds the members of a struct, class or union.
    fn members(&mut self, of: &Entry<'a>, within: &Within, layout: &mut Layout) {
        if within.level > DEEPEST_MEMBERS {
            layout.is_cut = true;
            return;
        }
        let children = children(of);
        self.steps += children.len() + 1;
        if self.steps > MOST_STEPS {
            layout.is_cut = true;
            return;
        }
        for die in children {
            if layout.fields.len() >= MOST_FIELDS {
                layout.is_cut = true;
                return;
            }
            let entry = Entry { die, unit: Rc::clone(&of.unit), begin: of.begin };
            match entry.die.tag() {
                constants::DW_TAG_member => self.member(&entry, within, layout),
                constants::DW_TAG_inheritance => self.base(&entry, within, layout),
                _ => {}
            }
        }
    }

    fn member(&mut self, entry: &Entry<'a>, within: &Within, layout: &mut Layout) {
        let is_set = |attribute| matches!(entry.die.attr_value(attribute), Some(AttributeValue::Flag(true)));
        if is_set(constants::DW_AT_external) || is_set(constants::DW_AT_declaration) {
            // static: not in the object
            return;
        }
        let to = self.target(entry, constants::DW_AT_type);
        let size = to.and_then(|to| self.size(to, 0));
        let bit_size = number(&entry.die, constants::DW_AT_bit_size);
        let Some(bits) = self.place_in(entry, size, bit_size) else { return };
        let Some(offset_bits) = within.bits.checked_add(bits) else { return };
        let name = self.name(entry).filter(|name| !name.is_empty());
        let inner = to.and_then(|to| self.resolved(to)).and_then(|to| self.entry(to));
        let inner = inner.filter(|inner| is_aggregate(inner.die.tag()));
        let mut deeper = Within { bits: offset_bits, level: within.level + 1, ..within.clone() };
        if let Some(name) = name {
            let path = format!("{}{name}", within.prefix);
            deeper.prefix = format!("{path}.");
            deeper.depth += 1;
            layout.fields.push(Field {
                path,
                offset_bits,
                size_bits: bit_size.or(size.and_then(|size| size.checked_mul(8))).unwrap_or_default(),
                is_bit_field: bit_size.is_some(),
                type_name: self.type_name(to, 0),
                depth: within.depth,
                base: within.base.clone(),
            });
        }
        if let Some(inner) = inner {
            self.members(&inner, &deeper, layout);
        }
    }

    fn base(&mut self, entry: &Entry<'a>, within: &Within, layout: &mut Layout) {
        let Some(to) = self.target(entry, constants::DW_AT_type) else { return };
        let name = self.type_name(Some(to), 0);
        let is_virtual = !matches!(
            entry.die.attr_value(constants::DW_AT_virtuality),
            None | Some(AttributeValue::Virtuality(constants::DW_VIRTUALITY_none))
        );
        let place = self.place_in(entry, None, None).and_then(|bits| within.bits.checked_add(bits));
        let (Some(bits), false) = (place, is_virtual) else {
            layout.virtual_bases.push(name);
            return;
        };
        let Some(inner) = self.resolved(to).and_then(|to| self.entry(to)) else { return };
        let deeper = Within { bits, base: Some(name), level: within.level + 1, ..within.clone() };
        self.members(&inner, &deeper, layout);
    }

    /// Bits from the begin of what a member is in.
    fn place_in(&self, entry: &Entry<'a>, size: Option<u64>, bit_size: Option<u64>) -> Option<u64> {
        if let Some(bits) = number(&entry.die, constants::DW_AT_data_bit_offset) {
            // DWARF 5; some compilers tell the storage unit's place besides
            let storage = number(&entry.die, constants::DW_AT_data_member_location).unwrap_or_default();
            return storage.checked_mul(8)?.checked_add(bits);
        }
        let bytes = match entry.die.attr_value(constants::DW_AT_data_member_location) {
            // of unions
            None => 0,
            Some(AttributeValue::Exprloc(expression)) => {
                // DWARF 2: add a number to the begin
                let mut operations = expression.operations(entry.unit.encoding());
                match (operations.next().ok()??, operations.next()) {
                    (gimli::Operation::PlusConstant { value }, Ok(None)) => value,
                    _ => return None,
                }
            }
            Some(value) => value.udata_value()?,
        };
        let begin = bytes.checked_mul(8)?;
        let (Some(offset), Some(bit_size)) = (number(&entry.die, constants::DW_AT_bit_offset), bit_size) else {
            return Some(begin);
        };
        // DWARF 2 and 3: from the most significant bit of the storage unit
        let storage = number(&entry.die, constants::DW_AT_byte_size).or(size)?.checked_mul(8)?;
        match self.units.is_little_endian() {
            true => begin.checked_add(storage)?.checked_sub(offset.checked_add(bit_size)?),
            false => begin.checked_add(offset),
        }
    }
}

fn number(die: &Die<'_>, attribute: DwAt) -> Option<u64> {
    die.attr_value(attribute)?.udata_value()
}

/// The entries inside of an entry.
fn children<'a>(of: &Entry<'a>) -> Vec<Die<'a>> {
    let mut found = Vec::new();
    let Ok(mut tree) = of.unit.entries_tree(Some(of.die.offset())) else { return found };
    let Ok(root) = tree.root() else { return found };
    let mut children = root.children();
    while let Ok(Some(child)) = children.next() {
        found.push(child.entry().clone());
    }
    found
}

/// The lengths of an array's dimensions; `None`: of no length.
fn lengths(array: &Entry<'_>) -> Vec<Option<u64>> {
    let dimensions = children(array).into_iter().filter(|die| die.tag() == constants::DW_TAG_subrange_type);
    let length = |die: Die<'_>| {
        number(&die, constants::DW_AT_count)
            .or_else(|| number(&die, constants::DW_AT_upper_bound)?.checked_add(1))
            // the length of an array of none, in some compilers: -1
            .filter(|length| *length < u64::from(u32::MAX))
    };
    dimensions.map(length).collect()
}
