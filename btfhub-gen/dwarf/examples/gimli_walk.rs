//! The least that reading a kernel's DWARF with gimli costs: `gimli_walk FILE [THREADS]` visits every entry of every
//! unit, reads all attributes of those that types, functions and variables are made of, and skips the others'.
//!
//! `cargo xtask bench` holds the encoder against it. Sections must not be compressed.

use gimli::{AttributeSpecification, DwTag, Dwarf, EndianSlice, RunTimeEndian};
use object::{Object, ObjectSection};
use std::sync::atomic::{AtomicUsize, Ordering};

type Reader<'d> = EndianSlice<'d, RunTimeEndian>;

/// What a walk saw.
#[derive(Default)]
struct Seen {
    entries: u64,
    /// Of those, the ones whose attributes were read.
    relevant: u64,
    attributes: u64,
    /// Names read, so that no read is optimised away.
    names: u64,
}

fn is_relevant(tag: DwTag) -> bool {
    !matches!(
        tag,
        gimli::DW_TAG_call_site
            | gimli::DW_TAG_call_site_parameter
            | gimli::DW_TAG_GNU_call_site
            | gimli::DW_TAG_GNU_call_site_parameter
            | gimli::DW_TAG_inlined_subroutine
            | gimli::DW_TAG_label
            | gimli::DW_TAG_lexical_block
    )
}

fn walk(dwarf: &Dwarf<Reader<'_>>, header: gimli::UnitHeader<Reader<'_>>, seen: &mut Seen) -> gimli::Result<()> {
    let unit = dwarf.unit(header)?;
    let mut entries = unit.entries_raw(None)?;
    while !entries.is_empty() {
        let Some(abbreviation) = entries.read_abbreviation()? else { continue };
        seen.entries += 1;
        let specifications: &[AttributeSpecification] = abbreviation.attributes();
        if !is_relevant(abbreviation.tag()) {
            entries.skip_attributes(specifications)?;
            continue;
        }
        seen.relevant += 1;
        for specification in specifications {
            let attribute = entries.read_attribute(*specification)?;
            seen.attributes += 1;
            seen.names += u64::from(attribute.name() == gimli::DW_AT_name);
        }
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    let path = args.get(1).ok_or("usage: gimli_walk FILE [THREADS]")?;
    let threads: usize = args.get(2).map_or(Ok(2), |threads| threads.parse())?;
    let file = std::fs::File::open(path)?;
    // SAFETY: the file is not written to while this runs.
    let map = unsafe { memmap2::Mmap::map(&file)? };
    let elf = object::File::parse(&*map)?;
    let endian = if elf.is_little_endian() { RunTimeEndian::Little } else { RunTimeEndian::Big };
    let dwarf = Dwarf::load(|id| -> object::Result<Reader<'_>> {
        let data = elf.section_by_name(id.name()).map_or(Ok(&[][..]), |section| section.data())?;
        Ok(EndianSlice::new(data, endian))
    })?;
    let mut headers = Vec::new();
    let mut units = dwarf.units();
    while let Some(header) = units.next()? {
        headers.push(header);
    }
    let next = AtomicUsize::new(0);
    let work = || -> gimli::Result<Seen> {
        let mut seen = Seen::default();
        while let Some(header) = headers.get(next.fetch_add(1, Ordering::Relaxed)) {
            walk(&dwarf, *header, &mut seen)?;
        }
        Ok(seen)
    };
    let results = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        handles.into_iter().map(|handle| handle.join().expect("the walk does not panic")).collect::<Vec<_>>()
    });
    let mut all = Seen::default();
    for seen in results {
        let seen = seen?;
        all.entries += seen.entries;
        all.relevant += seen.relevant;
        all.attributes += seen.attributes;
        all.names += seen.names;
    }
    println!(
        "{} units, {} entries, {} read, {} attributes, {} names",
        headers.len(),
        all.entries,
        all.relevant,
        all.attributes,
        all.names
    );
    Ok(())
}
