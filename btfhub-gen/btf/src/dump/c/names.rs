//! Names that are unique where C wants them so: `name`, `name___2`, `name___3`, …

use std::borrow::Cow;

use rustc_hash::FxHashMap;

use crate::raw::TypeId;

/// C has two name spaces that matter here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Space {
    /// Struct, union and enum tags.
    Tag,
    /// Typedefs and enumerators.
    Identifier,
}

/// How often each name was given, and what each type got.
#[derive(Debug, Default)]
pub(super) struct Names<'b> {
    given: FxHashMap<(Space, &'b str), u32>,
    of: FxHashMap<TypeId, String>,
}

impl<'b> Names<'b> {
    /// The name of a type, the same at every call.
    pub(super) fn of(&mut self, id: TypeId, space: Space, name: &'b str) -> String {
        if let Some(known) = self.of.get(&id) {
            return known.clone();
        }
        let unique = self.next(space, name);
        self.of.insert(id, unique.clone());
        unique
    }

    /// The name that a type got, if it got one.
    pub(super) fn known(&self, id: TypeId) -> Option<&str> {
        self.of.get(&id).map(String::as_str)
    }

    /// A name not given before.
    pub(super) fn next(&mut self, space: Space, name: &'b str) -> String {
        if name.is_empty() {
            return String::new();
        }
        let count = self.given.entry((space, name)).or_insert(0);
        *count += 1;
        let name = identifier(name);
        if *count == 1 { name.into_owned() } else { format!("{name}___{count}") }
    }
}

/// The name itself where C takes it, else with underscores for what C does not take.
pub(crate) fn identifier(name: &str) -> Cow<'_, str> {
    let fits =
        |(at, c): (usize, char)| c == '_' || c == '$' || c.is_ascii_alphabetic() || (at > 0 && c.is_ascii_digit());
    if name.char_indices().all(fits) {
        return Cow::Borrowed(name);
    }
    let replaced = name.char_indices().map(|at| if fits(at) { at.1 } else { '_' }).collect();
    Cow::Owned(replaced)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_given_twice_gets_a_number() {
        let mut names = Names::default();
        assert_eq!(names.of(TypeId(1), Space::Tag, "a"), "a");
        assert_eq!(names.of(TypeId(2), Space::Tag, "a"), "a___2");
        assert_eq!(names.of(TypeId(1), Space::Tag, "a"), "a");
        assert_eq!(names.next(Space::Identifier, "a"), "a");
        assert_eq!(names.next(Space::Identifier, "a"), "a___2");
        assert_eq!(names.next(Space::Identifier, ""), "");
    }

    #[test]
    fn what_c_does_not_take_is_replaced() {
        assert_eq!(identifier("a1_$"), "a1_$");
        assert_eq!(identifier("Option<u8>; x"), "Option_u8___x");
        assert_eq!(identifier("1a"), "_a");
    }
}
