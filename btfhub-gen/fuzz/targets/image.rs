//! An ELF file of either class and byte order: segments, sections, notes, symbols, imports, pointers.
#![no_main]

use image::{Image, VirtualAddress};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = image::header_tables(data);
    let Ok(image) = Image::parse(data) else { return };
    for (offset, size) in image.tables() {
        assert!(offset.0.checked_add(size).is_some_and(|end| end <= data.len() as u64));
    }
    let _ = (image.machine().name(), image.is_loaded(), image.is_64(), image.is_little_endian());
    assert!(image.segments().is_sorted_by_key(|segment| segment.address));
    let ends = [0, u64::MAX].map(VirtualAddress);
    let begins = image.segments().iter().map(|segment| segment.address);
    let lasts = image.segments().iter().map(|one| VirtualAddress(one.address.0.wrapping_add(one.size.wrapping_sub(1))));
    let places: Vec<VirtualAddress> = ends.into_iter().chain(begins).chain(lasts).collect();
    for place in places {
        let from = image.bytes_from(place);
        if !from.is_empty() {
            let offset = image.file_offset(place).expect("bytes have an offset").0 as usize;
            assert_eq!(from, &data[offset..offset + from.len()]);
        }
        assert_eq!(image.bytes_at(place, from.len() as u64), Some(from));
        assert_eq!(image.bytes_at(place, from.len() as u64 + 1), None);
        let _ = (image.word_at(place), image.is_code(place));
    }
    for section in image.sections() {
        assert!(section.data.is_empty() || section.data.len() as u64 == section.size);
    }
    let ids = image.build_ids();
    assert!([ids.gnu, ids.go].into_iter().flatten().all(|id| !id.is_empty()));
    for symbol in image.symbols() {
        assert!(!symbol.name.contains(&0));
    }
    assert!(image.functions().count() <= image.symbols().count());
    assert!(image.imports().is_sorted());
    assert!(image.pointers().is_sorted());
    // what a file is told by
    let fingerprint = offset_db::Fingerprint::of(&image);
    assert_eq!(fingerprint.size, data.len() as u64);
    assert_eq!(fingerprint.build_id.is_some(), fingerprint.key().starts_with("gnu:"));
});
