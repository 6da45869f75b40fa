//! What a kernel's ELF file says of itself, without its debug information being read.

use std::ops::Range;

use object::read::elf::{FileHeader, SectionHeader};
use object::{Endianness, elf};

use super::banner::Banner;
use packages::fault::Fault;

/// What an ELF file begins with.
pub const MAGIC: &[u8; 4] = b"\x7fELF";

/// What a kernel's ELF file is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Architecture in BTFHub's spelling; `None` for one that has no spelling here.
    pub arch: Option<&'static str>,
    /// The machine's number, `e_machine`.
    pub machine: u16,
    /// The banner, where the file has one: not in a file of separated debug information, whose `.rodata` is empty.
    pub banner: Option<Banner>,
    /// For a module: its name and the release it was made for.
    pub module: Option<Module>,
    /// Whether there is a `.debug_info`, plain or compressed.
    pub has_dwarf: bool,
    /// Where the `.BTF` section is in the file.
    pub btf: Option<Range<usize>>,
    /// Whether `.BTF` has an address, and so is in the running kernel's memory: the kernel's linker script gives it one. It
    /// has none where a tool has put it into the file.
    pub btf_has_address: bool,
    /// The file that `.gnu_debugaltlink` names (dwz).
    pub alternate: Option<String>,
}

/// What a module's `.modinfo` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// Name with `_`, as `lsmod` prints it.
    pub name: String,
    /// The first word of `vermagic`.
    pub release: Option<String>,
}

/// Reads the facts of an ELF file.
///
/// # Errors
/// Its header or its section headers are damaged or cut off.
pub fn facts(data: &[u8]) -> Result<Facts, Fault> {
    match data {
        [0x7f, b'E', b'L', b'F', 2, ..] => read::<elf::FileHeader64<Endianness>>(data),
        [0x7f, b'E', b'L', b'F', 1, ..] => read::<elf::FileHeader32<Endianness>>(data),
        [0x7f, b'E', b'L', b'F', class, ..] => Err(Fault::malformed("elf header", 4, format!("unknown class {class}"))),
        _ => Err(Fault::malformed("elf header", 0, "no ELF file")),
    }
}

fn read<H: FileHeader<Endian = Endianness>>(data: &[u8]) -> Result<Facts, Fault> {
    let fault = |section: &str, offset: u64| {
        let section = section.to_owned();
        move |e: object::read::Error| Fault::malformed(section, offset, e.to_string().to_lowercase())
    };
    let header = H::parse(data).map_err(fault("elf header", 0))?;
    let endian = header.endian().map_err(fault("elf header", 5))?;
    let table: u64 = header.e_shoff(endian).into();
    let sections = header.sections(endian, data).map_err(fault("elf section headers", table))?;
    if sections.is_empty() {
        return Err(Fault::malformed(
            "elf section headers",
            table,
            "there are none: no debug information can be in it",
        ));
    }
    let machine = header.e_machine(endian);
    let mut facts = Facts { machine: machine.0, arch: arch(machine, header.is_class_64(), endian), ..Facts::default() };
    let mut modinfo = None;
    for (index, section) in sections.iter().enumerate() {
        let name_at = table + index as u64 * u64::from(header.e_shentsize(endian));
        let name = sections.section_name(endian, section).map_err(fault("elf section headers", name_at))?;
        let what = String::from_utf8_lossy(name).into_owned();
        let content = || -> Result<Option<&[u8]>, Fault> {
            let Some((offset, _)) = section.file_range(endian) else { return Ok(None) };
            section.data(endian, data).map(Some).map_err(|_| {
                Fault::malformed(what.clone(), offset, format!("truncated: the file has only {} bytes", data.len()))
            })
        };
        match name {
            b".debug_info" | b".zdebug_info" => facts.has_dwarf |= content()?.is_some_and(|c| !c.is_empty()),
            b".BTF" => {
                let range = section.file_range(endian).map(|(at, len)| at as usize..(at + len) as usize);
                let content = content()?;
                facts.btf = range.filter(|_| content.is_some_and(|c| !c.is_empty()));
                facts.btf_has_address = facts.btf.is_some() && section.sh_addr(endian).into() != 0;
            }
            b".rodata" if facts.banner.is_none() => facts.banner = content()?.and_then(Banner::find),
            b".modinfo" => modinfo = content()?,
            b".gnu_debugaltlink" => {
                let path = content()?.and_then(|c| c.split(|&b| b == 0).next());
                facts.alternate = path.map(|p| String::from_utf8_lossy(p).into_owned());
            }
            b".gnu.linkonce.this_module" => {
                facts.module.get_or_insert(Module { name: String::new(), release: None });
            }
            _ => {}
        }
    }
    if let Some(modinfo) = modinfo
        && facts.banner.is_none()
    {
        facts.module = module(modinfo).or(facts.module);
    }
    Ok(facts)
}

/// Reads `.modinfo`: `key=value`, each ended by a NUL. A vmlinux has one too, with the keys of its built-in modules.
fn module(modinfo: &[u8]) -> Option<Module> {
    let value = |key: &str| {
        let text = |record| std::str::from_utf8(record).ok()?.strip_prefix(key)?.strip_prefix('=');
        modinfo.split(|&b| b == 0).find_map(text).map(str::to_owned)
    };
    let vermagic = value("vermagic");
    let name = value("name");
    if vermagic.is_none() && name.is_none() {
        return None;
    }
    let release = vermagic.and_then(|v| v.split(' ').next().map(str::to_owned)).filter(|r| !r.is_empty());
    Some(Module { name: name.unwrap_or_default().replace('-', "_"), release })
}

/// BTFHub's spelling of an architecture, or the kernel's `uname -m` where BTFHub has none.
fn arch(machine: elf::Machine, is_64: bool, endian: Endianness) -> Option<&'static str> {
    let little = endian == Endianness::Little;
    Some(match (machine, is_64) {
        (elf::EM_X86_64, true) => "x86_64",
        (elf::EM_386, _) => "i386",
        (elf::EM_AARCH64, _) => "arm64",
        (elf::EM_ARM, _) => "arm",
        (elf::EM_S390, _) => "s390x",
        (elf::EM_PPC64, _) if little => "ppc64le",
        (elf::EM_PPC64, _) => "ppc64",
        (elf::EM_PPC, _) => "ppc",
        (elf::EM_RISCV, true) => "riscv64",
        (elf::EM_LOONGARCH, true) => "loongarch64",
        (elf::EM_MIPS, true) if little => "mips64el",
        (elf::EM_MIPS, true) => "mips64",
        (elf::EM_MIPS, false) if little => "mipsel",
        (elf::EM_MIPS, false) => "mips",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_name_themselves() {
        let info = b"license=GPL\0name=nf-x\0vermagic=6.1.0-18-cloud-amd64 SMP preempt mod_unload \0";
        assert_eq!(module(info), Some(Module { name: "nf_x".into(), release: Some("6.1.0-18-cloud-amd64".into()) }));
        assert_eq!(module(b"loop.parm=max_loop\0loop.license=GPL\0"), None);
    }

    #[track_caller]
    fn check_error(data: &[u8], expected: &str) {
        assert_eq!(facts(data).unwrap_err().to_string(), expected);
    }

    #[test]
    fn what_is_no_elf_is_refused() {
        check_error(b"", "elf header at offset 0x0: no ELF file");
        check_error(b"\x7fELF\x09", "elf header at offset 0x4: unknown class 9");
        check_error(b"\x7fELF\x02\x01\x01", "elf header at offset 0x0: invalid elf header size or alignment");
        let mut header = vec![0; 64];
        header[..8].copy_from_slice(b"\x7fELF\x02\x01\x01\0");
        check_error(&header, "elf section headers at offset 0x0: there are none: no debug information can be in it");
        header[40] = 200;
        header[58] = 64;
        header[60] = 1;
        check_error(&header, "elf section headers at offset 0xc8: invalid elf section header offset/size/alignment");
    }

    /// An x86-64 file with nothing but `.BTF`, at this address.
    fn with_btf_at(address: u64) -> Vec<u8> {
        let names = b"\0.BTF\0.shstrtab\0";
        let (btf_at, names_at, table_at) = (64u64, 72u64, 96u64);
        let mut file = vec![0; table_at as usize];
        let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, b"\x7fELF\x02\x01\x01\0");
        put(16, &[2, 0, 62, 0, 1]); // ET_EXEC, EM_X86_64, EV_CURRENT
        put(40, &table_at.to_le_bytes());
        put(52, &[64, 0, 0, 0, 0, 0, 64, 0, 3, 0, 2, 0]); // sizes, three sections, the last has their names
        put(btf_at as usize, b"\x9f\xeb\x01\0");
        put(names_at as usize, names);
        file.extend([0; 64]);
        for (name, kind, flags, address, at, len) in
            [(1u32, 1u32, 2u64, address, btf_at, 4), (6, 3, 0, 0, names_at, names.len() as u64)]
        {
            file.extend(name.to_le_bytes());
            file.extend(kind.to_le_bytes());
            file.extend([flags, address, at, len, 0, 1, 0].iter().flat_map(|word| word.to_le_bytes()));
        }
        file
    }

    #[test]
    fn btf_with_an_address_is_the_kernels_own() {
        for address in [0, 0xffff_ffff_8220_e900] {
            let facts = facts(&with_btf_at(address)).unwrap();
            assert_eq!((facts.btf, facts.btf_has_address), (Some(64..68), address != 0));
        }
    }
}
