//! Separate debug files: which one is meant, and whether a file is that one.

use crate::error::{Error, Result};
use crate::unpack::{Compression, Decompress};
use image::Image;

/// What `.gnu_debuglink` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DebugLink<'d> {
    /// The debug file's name, without a folder: anything else is not to be opened.
    pub name: &'d [u8],
    /// CRC-32 of the debug file, as zlib has it.
    pub checksum: u32,
}

/// What `.gnu_debugaltlink` of a debug file says: where what it shares with others is (`dwz -m`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlternateLink<'d> {
    /// The file's path, from the debug file's folder or from the root.
    pub path: &'d [u8],
    /// Its build-id.
    pub build_id: &'d [u8],
}

/// Where a file's separate debug file is, by `.gnu_debuglink`.
#[must_use]
pub fn debug_link<'d>(image: &Image<'d>) -> Option<DebugLink<'d>> {
    let data = image.section(".gnu_debuglink")?.data;
    let name = data.split(|byte| *byte == 0).next().filter(|name| !name.is_empty())?;
    let at = (name.len() + 1).next_multiple_of(4);
    let checksum = image.number(data.get(at..at + 4)?) as u32;
    Some(DebugLink { name, checksum })
}

/// Where what a debug file shares with others is, by `.gnu_debugaltlink`.
#[must_use]
pub fn alternate_link<'d>(image: &Image<'d>) -> Option<AlternateLink<'d>> {
    let data = image.section(".gnu_debugaltlink")?.data;
    let path = data.split(|byte| *byte == 0).next().filter(|path| !path.is_empty())?;
    let build_id = data.get(path.len() + 1..).filter(|id| !id.is_empty())?;
    Some(AlternateLink { path, build_id })
}

/// Whether a debug file is of the same build as the file: by build-ids, else by `.gnu_debuglink`'s checksum.
///
/// # Errors
/// It is of another build, or nothing says that it is of this one.
pub fn belongs(image: &Image<'_>, debug: &Image<'_>) -> Result<()> {
    match (image.build_ids().gnu, debug.build_ids().gnu) {
        (Some(file), Some(debug)) if file == debug => return Ok(()),
        (Some(file), Some(debug)) => return Err(Error::OtherBuild { file: hex(file), debug: hex(debug) }),
        _ => {}
    }
    let Some(link) = debug_link(image) else { return Err(Error::NoProof) };
    match crc32fast::hash(debug.data()) {
        checksum if checksum == link.checksum => Ok(()),
        checksum => Err(Error::OtherChecksum { file: link.checksum, debug: checksum }),
    }
}

/// Whether a file is what a debug file shares with others, by the build-id that `.gnu_debugaltlink` says.
///
/// # Errors
/// It is another one, or nothing says that it is this one.
pub fn is_alternate(debug: &Image<'_>, alternate: &Image<'_>) -> Result<()> {
    match (alternate_link(debug), alternate.build_ids().gnu) {
        (Some(link), Some(id)) if link.build_id == id => Ok(()),
        (Some(link), Some(id)) => Err(Error::OtherBuild { file: hex(link.build_id), debug: hex(id) }),
        _ => Err(Error::NoProof),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// No distribution's `.gnu_debugdata` unpacks to more: it is a table of symbols.
const LARGEST_PACKED: usize = 512 << 20;

/// What `.gnu_debugdata` holds: an ELF file with the symbols that `.dynsym` does not have ("MiniDebugInfo" of GDB's manual).
/// `None`: the file has none.
///
/// # Errors
/// It cannot be unpacked.
pub fn mini_debug_info(image: &Image<'_>, unpack: &Decompress<'_>) -> Result<Option<Vec<u8>>> {
    const SECTION: &str = ".gnu_debugdata";
    let Some(section) = image.section(SECTION).filter(|section| !section.data.is_empty()) else { return Ok(None) };
    let failed = |reason| Error::Unpack { section: SECTION.to_owned(), reason };
    unpack(Compression::Xz, section.data, LARGEST_PACKED).map(Some).map_err(failed)
}
