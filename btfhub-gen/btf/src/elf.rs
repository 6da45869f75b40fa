//! BTF in ELF files: the sections `.BTF`, `.BTF.base` and `.BTF.ext`.

use object::{Object, ObjectSection};

use crate::error::{Error, Result};

/// The BTF sections of an ELF file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ElfBtf<'a> {
    /// `.BTF`.
    pub btf: &'a [u8],
    /// `.BTF.base`: the distilled base of a module built outside the kernel's tree.
    pub base: Option<&'a [u8]>,
    /// `.BTF.ext`: function, line and CO-RE relocation records of a BPF object.
    pub ext: Option<&'a [u8]>,
}

/// Whether these bytes are an ELF file.
pub fn is_elf(data: &[u8]) -> bool {
    data.starts_with(b"\x7fELF")
}

/// Finds the BTF sections of an ELF file; `None` where it has no `.BTF`.
///
/// # Errors
/// [`Error::Elf`] where the file cannot be read, or a section is compressed or cut off.
pub fn btf_section(elf: &[u8]) -> Result<Option<ElfBtf<'_>>> {
    let failed = |reason: String| Error::Elf { reason };
    let file = object::File::parse(elf).map_err(|e| failed(e.to_string()))?;
    let section = |name: &str| -> Result<Option<&[u8]>> {
        let Some(section) = file.section_by_name(name) else { return Ok(None) };
        let range = section.compressed_file_range().map_err(|e| failed(format!("section {name}: {e}")))?;
        if range.format != object::CompressionFormat::None {
            return Err(failed(format!("section {name} is compressed")));
        }
        let data = section.data().map_err(|e| failed(format!("section {name}: {e}")))?;
        Ok(if data.is_empty() { None } else { Some(data) })
    };
    let Some(btf) = section(".BTF")? else { return Ok(None) };
    Ok(Some(ElfBtf { btf, base: section(".BTF.base")?, ext: section(".BTF.ext")? }))
}
