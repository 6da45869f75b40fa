//! BTF from anywhere as text: listing, JSON, C header, layouts, and the differences from itself, of which there are none.
#![no_main]

use btf::{Btf, diff, dump, layout};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(btf) = Btf::parse(data) else { return };
    let _ = dump::raw::listing(&btf);
    let _ = dump::json::document(&btf);
    let _ = dump::c::header(&btf);
    for id in btf.ids() {
        if let Ok(layout) = layout::of(&btf, id) {
            layout::gdb::listing(&layout);
            layout::pahole::listing(&layout, 64);
        }
    }
    // A copy, so that the bytes are compared too.
    let copy = [data, b"\0"].concat();
    if let (Ok(copy), Ok(None)) = (Btf::parse(&copy), diff::diff(&btf, &btf).map(|d| d.entries.first().cloned())) {
        if let Ok(differences) = diff::diff(&btf, &copy) {
            assert!(differences.is_empty(), "{differences}");
        }
    }
});
