//! Wheels, zips and APKs: what is unpacked of them is bounded, and where something is stored is where it is.
#![no_main]

use image::Image;
use libfuzzer_sys::fuzz_target;

/// Of a bomb, as much as is needed to see that it is stopped.
const MOST: u64 = 16 << 20;

fuzz_target!(|data: &[u8]| {
    for module in ["", "lib"] {
        let Ok(found) = archive::libraries(data, module, MOST) else { continue };
        let mut unpacked = 0;
        for library in &found {
            assert!(library.bytes.starts_with(b"\x7fELF"));
            assert!(library.path.rsplit('/').next().is_some_and(|name| name.starts_with(module)));
            match library.offset {
                Some(at) => assert_eq!(library.bytes[..], data[at as usize..at as usize + library.bytes.len()]),
                None => unpacked += library.bytes.len() as u64,
            }
            let _ = Image::parse(&library.bytes);
        }
        assert!(unpacked <= MOST);
    }
});
