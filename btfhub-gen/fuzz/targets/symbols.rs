//! All labels of a file: tables, versions, DWARF's subprograms; its links to debug files; names that compilers made.
#![no_main]

use image::Image;
use libfuzzer_sys::fuzz_target;
use symbols::{Sources, functions};

fuzz_target!(|data: &[u8]| {
    if let Ok(name) = std::str::from_utf8(&data[..data.len().min(256)]) {
        let _ = symbols::qualified(name);
        let (stem, _) = symbols::split(name);
        assert!(name.starts_with(stem));
    }
    let Ok(image) = Image::parse(data) else { return };
    let _ = symbols::debug_link(&image);
    let _ = symbols::alternate_link(&image);
    let _ = symbols::belongs(&image, &image);
    let sources = Sources {
        debug_file: symbols::belongs(&image, &image).is_ok().then_some(&image),
        dwarf: true,
        ..Sources::of(&image)
    };
    let Ok(found) = functions(&sources) else { return };
    assert!(found.functions.windows(2).all(|pair| pair[0].address < pair[1].address));
    for function in &found.functions {
        let name = &function.names[0];
        assert!(found.find(&name.text).contains(&function), "{name:?}");
        assert!(image.is_code(function.address));
    }
});
