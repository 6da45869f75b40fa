//! Packed symbols: they are unpacked, and read as a file of their own.
#![no_main]

use image::Image;
use libfuzzer_sys::fuzz_target;
use symbols::{Compression, Sources, decompress, functions, mini_debug_info};

/// Of a bomb, as much as is needed to see that it is stopped.
const LIMIT: usize = 16 << 20;

fuzz_target!(|data: &[u8]| {
    let limited =
        |compression: Compression, packed: &[u8], limit: usize| decompress(compression, packed, limit.min(LIMIT));
    for compression in [Compression::Xz, Compression::Zlib, Compression::Zstd] {
        if let Ok(unpacked) = limited(compression, data, LIMIT) {
            assert!(unpacked.len() <= LIMIT);
        }
    }
    let Ok(image) = Image::parse(data) else { return };
    if let Ok(Some(unpacked)) = mini_debug_info(&image, &limited) {
        let _ = Image::parse(&unpacked).map(|mini| mini.functions().count());
    }
    let _ = functions(&Sources { decompress: &limited, ..Sources::of(&image) });
});
