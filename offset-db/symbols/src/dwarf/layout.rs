//! Where the fields of structs, classes and unions are.

use super::types::Types;
use super::{Dwarf, Place, Slice, Units, at};
use crate::error::{Error, Result};
use gimli::{AttributeValue, DwTag, Unit, constants};
use rayon::prelude::*;
use rustc_hash::FxHashMap;

/// A field, with those of the structs in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Field {
    /// From the type itself, with dots: `stats.outgoing.data_bytes`. What has no name adds nothing.
    pub path: String,
    /// Bits from the begin of the type to that of the field. Of bit fields in big-endian files, from the most significant one.
    pub offset_bits: u64,
    /// Its bits; 0 where its type is not known, or an array without a length.
    pub size_bits: u64,
    /// It is declared with a number of bits.
    pub is_bit_field: bool,
    /// Its type, as the source has it.
    pub type_name: String,
    /// How many named fields it is inside of.
    pub depth: u32,
    /// The base class that it is of, where it is inherited.
    pub base: Option<String>,
}

/// The layout of a type.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Layout {
    /// With its namespaces and classes.
    pub name: String,
    /// `struct`, `class` or `union`.
    pub kind: &'static str,
    /// Its bytes.
    pub size: u64,
    /// In order of offset.
    pub fields: Vec<Field>,
    /// Base classes whose place is known when the program runs only: their fields are left out.
    pub virtual_bases: Vec<String>,
    /// There are more fields than are told.
    pub is_cut: bool,
}

impl Layout {
    /// A field by its path.
    #[must_use]
    pub fn field(&self, path: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.path == path)
    }
}

/// A layout and how often a file has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defined {
    /// The layout.
    pub layout: Layout,
    /// The units that define it so.
    pub units: usize,
}

/// The layouts of types of a name, that of most units first. There is more than one where units differ, or several types are
/// meant by the name.
///
/// The name is a struct's, class's, union's or a typedef of one: with its namespaces, some of them, or none; of a Go type, with
/// the package's whole path or its last part (`transport.http2Server`). Types inside functions are not found.
///
/// # Errors
/// No type has the name, or it is only declared.
pub fn layouts(dwarf: &Dwarf<'_>, name: &str) -> Result<Vec<Defined>> {
    let mut all = layouts_of(dwarf, &[name]);
    all.pop().unwrap_or_else(|| Err(Error::NoType(name.to_owned())))
}

/// As [`layouts`], of several names, in one pass over all units.
#[must_use]
pub fn layouts_of(dwarf: &Dwarf<'_>, names: &[&str]) -> Vec<Result<Vec<Defined>>> {
    let units = Units::of(dwarf);
    let asked: Vec<Asked<'_>> = names.iter().map(|name| Asked::new(name)).collect();
    let parts: Vec<Vec<Hit>> = (0..units.count()).into_par_iter().map(|index| scan(&units, index, &asked)).collect();
    let mut defined: Vec<FxHashMap<Layout, usize>> = vec![FxHashMap::default(); names.len()];
    let mut declared = vec![false; names.len()];
    for hit in parts.into_iter().flatten() {
        match hit.layout {
            Some(layout) => *defined[hit.asked].entry(layout).or_default() += 1,
            None => declared[hit.asked] = true,
        }
    }
    let finish = |((found, declared), name): ((FxHashMap<Layout, usize>, bool), &&str)| {
        let mut found: Vec<Defined> = found.into_iter().map(|(layout, units)| Defined { layout, units }).collect();
        found.sort_by(|a, b| b.units.cmp(&a.units).then_with(|| a.layout.cmp(&b.layout)));
        match found.is_empty() {
            false => Ok(found),
            true if declared => Err(Error::OnlyDeclared((*name).to_owned())),
            true => Err(Error::NoType((*name).to_owned())),
        }
    };
    defined.into_iter().zip(declared).zip(names).map(finish).collect()
}

/// A name that is looked for.
struct Asked<'n> {
    whole: &'n str,
    /// Behind the last `::` that is not inside of `<>`.
    last: &'n str,
}

impl<'n> Asked<'n> {
    fn new(whole: &'n str) -> Asked<'n> {
        let (mut depth, mut last) = (0i32, 0);
        for (at, byte) in whole.bytes().enumerate() {
            match byte {
                b'<' => depth += 1,
                b'>' => depth -= 1,
                b':' if depth == 0 => last = at + 1,
                _ => {}
            }
        }
        Asked { whole, last: &whole[last..] }
    }

    /// Whether a type's own name may be it.
    fn may_be(&self, name: &[u8]) -> bool {
        let is_go = || name.strip_suffix(self.whole.as_bytes()).is_some_and(|before| before.ends_with(b"/"));
        name == self.last.as_bytes() || name == self.whole.as_bytes() || is_go()
    }

    /// Whether it is, by its name with scopes.
    fn is(&self, qualified: &str) -> bool {
        qualified
            .strip_suffix(self.whole)
            .is_some_and(|before| before.is_empty() || before.ends_with("::") || before.ends_with('/'))
    }
}

/// A type of a name; without a layout, a declaration.
struct Hit {
    asked: usize,
    layout: Option<Layout>,
}

struct Scope<'a> {
    parent: Option<u32>,
    name: Option<Slice<'a>>,
}

/// What a type's entry says.
#[derive(Clone, Copy, Default)]
struct Head<'a> {
    name: Option<Slice<'a>>,
    is_declaration: bool,
    specification: Option<Place>,
    scope: Option<u32>,
}

/// Finds the types of the names in a unit. What is behind an entry that cannot be read is not found.
fn scan<'a>(units: &Units<'a>, index: usize, asked: &[Asked<'_>]) -> Vec<Hit> {
    let mut hits = Vec::new();
    let place = units.place(index);
    if let Ok(unit) = units.unit(index) {
        let mut scopes = Vec::new();
        let found = candidates(units, place, &unit, &mut scopes, asked).unwrap_or_else(|(found, _)| found);
        let mut types = Types::new(units);
        for (offset, tag, head, name) in found {
            let mut qualified = name;
            let mut at = head.scope;
            while let Some(scope) = at.and_then(|index| scopes.get(index as usize)) {
                let scope: &Scope<'_> = scope;
                let outer = scope.name.map_or("(anonymous namespace)".into(), |name| text(name));
                qualified = format!("{outer}::{qualified}");
                at = scope.parent;
            }
            for (asked, _) in asked.iter().enumerate().filter(|(_, asked)| asked.is(&qualified)) {
                if head.is_declaration {
                    hits.push(Hit { asked, layout: None });
                    continue;
                }
                let entry = Place { offset: place.offset + offset, ..place };
                let layout = types.layout(entry, tag, &qualified);
                // a typedef of something else is no hit
                hits.extend(layout.map(|layout| Hit { asked, layout: Some(layout) }));
            }
        }
    }
    hits
}

fn text(slice: Slice<'_>) -> String {
    String::from_utf8_lossy(slice.slice()).into_owned()
}

type Candidates<'a> = Vec<(usize, DwTag, Head<'a>, String)>;

/// Entries of a unit that may be of a name: offset in the unit, tag, head, own name. The error has what was found before it.
fn candidates<'a>(
    units: &Units<'a>,
    place: Place,
    unit: &Unit<Slice<'a>>,
    scopes: &mut Vec<Scope<'a>>,
    asked: &[Asked<'_>],
) -> std::result::Result<Candidates<'a>, (Candidates<'a>, Error)> {
    let mut found = Candidates::new();
    match collect(units, place, unit, scopes, asked, &mut found) {
        Ok(()) => Ok(found),
        Err(error) => Err((found, at(place, error))),
    }
}

fn collect<'a>(
    units: &Units<'a>,
    place: Place,
    unit: &Unit<Slice<'a>>,
    scopes: &mut Vec<Scope<'a>>,
    asked: &[Asked<'_>],
    found: &mut Candidates<'a>,
) -> gimli::Result<()> {
    let mut raw = unit.entries_raw(None)?;
    // declarations, for definitions that are elsewhere than where the type is declared
    let mut heads: FxHashMap<usize, Head<'a>> = FxHashMap::default();
    // of the children of the entry at each depth: their scope, and whether they are in a function
    let mut inside: Vec<(Option<u32>, bool)> = Vec::new();
    while !raw.is_empty() {
        let depth = usize::try_from(raw.next_depth()).unwrap_or_default();
        let offset = raw.next_offset().0;
        let Some(abbreviation) = raw.read_abbreviation()? else { continue };
        inside.truncate(depth);
        let (outer, mut is_local) = inside.last().copied().unwrap_or_default();
        let mut scope = outer;
        let tag = abbreviation.tag();
        let is_scope = matches!(tag, constants::DW_TAG_namespace | constants::DW_TAG_module);
        if !is_local && (is_scope || is_aggregate(tag) || tag == constants::DW_TAG_typedef) {
            let mut head = Head { scope: outer, ..Head::default() };
            for specification in abbreviation.attributes() {
                let attribute = raw.read_attribute(*specification)?;
                match attribute.name() {
                    constants::DW_AT_name => head.name = units.text(unit, place, attribute.value()),
                    constants::DW_AT_declaration => {
                        head.is_declaration = matches!(attribute.value(), AttributeValue::Flag(true));
                    }
                    constants::DW_AT_specification => {
                        head.specification = units.target(place, &attribute.value());
                    }
                    _ => {}
                }
            }
            if head.is_declaration && is_aggregate(tag) {
                heads.insert(offset, head);
            }
            // defined outside of where it is declared: the declaration has the name
            if let Some(target) = head.specification
                && let Some(declared) = target.offset.checked_sub(place.offset).and_then(|at| heads.get(&at))
            {
                head = Head { is_declaration: false, ..*declared };
            }
            if !is_scope
                && let Some(name) = head.name
                && asked.iter().any(|asked| asked.may_be(name.slice()))
            {
                found.push((offset, tag, head, text(name)));
            }
            if abbreviation.has_children() {
                scope = u32::try_from(scopes.len()).ok();
                scopes.push(Scope { parent: head.scope, name: head.name });
            }
        } else {
            is_local |= tag == constants::DW_TAG_subprogram;
            raw.skip_attributes(abbreviation.attributes())?;
        }
        if abbreviation.has_children() {
            inside.resize(depth, (outer, is_local));
            inside.push((scope, is_local));
        }
    }
    Ok(())
}

pub(super) fn is_aggregate(tag: DwTag) -> bool {
    matches!(
        tag,
        constants::DW_TAG_structure_type
            | constants::DW_TAG_class_type
            | constants::DW_TAG_union_type
            | constants::DW_TAG_interface_type
    )
}
