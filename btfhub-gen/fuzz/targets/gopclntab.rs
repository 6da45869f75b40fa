//! Go's table of functions and what Go says of the build, in whatever file; and the table alone, as all that a file has loaded.
#![no_main]

use image::Image;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(image) = Image::parse(data) else { return };
    if let Ok(Some(table)) = symbols::go_table(&image) {
        for function in &table.functions {
            assert!(function.address < function.end);
            assert!(!function.name.is_empty());
        }
        assert!(table.functions.is_sorted_by_key(|function| function.address));
    }
    let _ = symbols::build_info(&image);
});
