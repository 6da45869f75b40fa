//! An object's configuration (`LCC_CONFIG` of `bpf/lcc.bpf.h`): one struct of bytes, which becomes constants where the kernel
//! has global variables, and an array map's only element where it does not. Which of the two a program reads, its code says;
//! both are written.

use btf::object_file::ObjectFile;
use btf::{Kind, Type};
use object::read::elf::ElfFile64;
use object::{Object, ObjectSection, ObjectSymbol};

use crate::record::Record;

/// What the constants are called.
const CONSTANTS: &str = "lcc_config_constants";
/// What the map is called.
pub(crate) const MAP: &str = "lcc_config_map";

/// An object's configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Configuration {
    /// Bytes of the struct.
    pub size: usize,
    /// Its members.
    pub record: Record,
    /// Where in `.rodata` it is.
    pub(crate) at: usize,
}

impl Configuration {
    /// That of an object; `None` where it has none.
    ///
    /// # Errors
    /// Its types or symbols cannot be read: why.
    pub fn of(object: &ObjectFile<'_>, bytes: &[u8]) -> Result<Option<Configuration>, String> {
        let btf = object.btf();
        let Some(variable) = btf.find(CONSTANTS, Kind::Var).next() else { return Ok(None) };
        let told = |error: btf::Error| format!("{CONSTANTS}: {error}");
        let Type::Var { ty, .. } = btf.ty(variable).map_err(told)? else { return Ok(None) };
        let structure = btf::strip_modifiers_typedefs(btf, ty).map_err(told)?;
        let name = btf.name_of(structure).map_err(told)?.to_owned();
        let record = Record::of(btf, &name)?;
        let elf = ElfFile64::<object::Endianness>::parse(bytes).map_err(|error| error.to_string())?;
        let symbol = elf.symbols().find(|symbol| symbol.name() == Ok(CONSTANTS));
        let symbol = symbol.ok_or_else(|| format!("no symbol {CONSTANTS}"))?;
        let section = symbol.section_index().and_then(|index| elf.section_by_index(index).ok());
        match section.as_ref().map(|section| section.name()) {
            Some(Ok(".rodata")) => {}
            _ => return Err(format!("{CONSTANTS} is not in .rodata")),
        }
        Ok(Some(Configuration { size: record.size, record, at: symbol.address() as usize }))
    }
}
