//! Layouts of structs from DWARF, in linked files and in objects.
#![no_main]

use image::Image;
use libfuzzer_sys::fuzz_target;
use symbols::{Sources, layouts_of};

fuzz_target!(|data: &[u8]| {
    let Ok(image) = Image::parse(data) else { return };
    let Ok(dwarf) = Sources::of(&image).dwarf() else { return };
    let names = ["everything", "list", "word", "u64", "space::Derived", "Derived", "", "::", "<"];
    for found in layouts_of(&dwarf, &names).into_iter().flatten().flatten() {
        assert!(found.layout.fields.is_sorted_by_key(|field| field.offset_bits));
    }
});
