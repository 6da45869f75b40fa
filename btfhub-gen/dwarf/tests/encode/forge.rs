//! ELF files with made-up debug sections: what no compiler writes and a parser must survive.

/// DWARF's numbers, as far as the forgeries use them.
pub(crate) mod dw {
    pub(crate) const TAG_ARRAY: u64 = 0x01;
    pub(crate) const TAG_ENUMERATION: u64 = 0x04;
    pub(crate) const TAG_PARAMETER: u64 = 0x05;
    pub(crate) const TAG_MEMBER: u64 = 0x0d;
    pub(crate) const TAG_POINTER: u64 = 0x0f;
    pub(crate) const TAG_COMPILE_UNIT: u64 = 0x11;
    pub(crate) const TAG_STRUCTURE: u64 = 0x13;
    pub(crate) const TAG_SUBROUTINE: u64 = 0x15;
    pub(crate) const TAG_TYPEDEF: u64 = 0x16;
    pub(crate) const TAG_SUBRANGE: u64 = 0x21;
    pub(crate) const TAG_BASE: u64 = 0x24;
    pub(crate) const TAG_CONST: u64 = 0x26;
    pub(crate) const TAG_ENUMERATOR: u64 = 0x28;
    pub(crate) const TAG_SUBPROGRAM: u64 = 0x2e;
    pub(crate) const TAG_CALL_SITE: u64 = 0x48;
    pub(crate) const AT_SIBLING: u64 = 0x01;
    pub(crate) const AT_LOCATION: u64 = 0x02;
    pub(crate) const AT_NAME: u64 = 0x03;
    pub(crate) const AT_BYTE_SIZE: u64 = 0x0b;
    pub(crate) const AT_LOW_PC: u64 = 0x11;
    pub(crate) const AT_CONST_VALUE: u64 = 0x1c;
    pub(crate) const AT_COUNT: u64 = 0x37;
    pub(crate) const AT_MEMBER_LOCATION: u64 = 0x38;
    pub(crate) const AT_ENCODING: u64 = 0x3e;
    pub(crate) const AT_EXTERNAL: u64 = 0x3f;
    pub(crate) const AT_TYPE: u64 = 0x49;
    pub(crate) const FORM_ADDR: u64 = 0x01;
    pub(crate) const FORM_DATA8: u64 = 0x07;
    pub(crate) const FORM_STRING: u64 = 0x08;
    pub(crate) const FORM_BLOCK: u64 = 0x09;
    pub(crate) const FORM_DATA1: u64 = 0x0b;
    pub(crate) const FORM_STRP: u64 = 0x0e;
    pub(crate) const FORM_UDATA: u64 = 0x0f;
    pub(crate) const FORM_REF_ADDR: u64 = 0x10;
    pub(crate) const FORM_REF4: u64 = 0x13;
    pub(crate) const FORM_INDIRECT: u64 = 0x16;
    pub(crate) const FORM_SEC_OFFSET: u64 = 0x17;
    pub(crate) const FORM_FLAG_PRESENT: u64 = 0x19;
    pub(crate) const FORM_STRX: u64 = 0x1a;
    pub(crate) const FORM_EXPRLOC: u64 = 0x18;
}

/// Bytes being written, little-endian.
#[derive(Clone, Default)]
pub(crate) struct Bytes(pub(crate) Vec<u8>);

impl Bytes {
    pub(crate) fn u8(&mut self, value: u8) -> &mut Self {
        self.0.push(value);
        self
    }

    pub(crate) fn u16(&mut self, value: u16) -> &mut Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    pub(crate) fn u32(&mut self, value: u32) -> &mut Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    pub(crate) fn u64(&mut self, value: u64) -> &mut Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    pub(crate) fn uleb(&mut self, mut value: u64) -> &mut Self {
        loop {
            let byte = (value & 0x7f) as u8;
            value >>= 7;
            if value == 0 {
                return self.u8(byte);
            }
            self.u8(byte | 0x80);
        }
    }

    pub(crate) fn text(&mut self, text: &str) -> &mut Self {
        self.0.extend(text.as_bytes());
        self.u8(0)
    }

    pub(crate) fn len(&self) -> u32 {
        self.0.len() as u32
    }

    fn patch(&mut self, at: usize, value: u32) {
        self.0[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }
}

/// Adds an abbreviation to a table that is still open.
pub(crate) fn abbreviation(table: &mut Bytes, code: u64, tag: u64, children: bool, attributes: &[(u64, u64)]) {
    table.uleb(code).uleb(tag).u8(u8::from(children));
    for &(at, form) in attributes {
        table.uleb(at).uleb(form);
    }
    table.u8(0).u8(0);
}

/// Adds a unit of DWARF 4 whose abbreviations are at `abbreviations`; `fill` writes its entries, its argument's offsets
/// counting from the start of the unit.
pub(crate) fn unit(info: &mut Bytes, abbreviations: u32, fill: impl FnOnce(&mut Bytes)) {
    let mut unit = Bytes::default();
    unit.u32(0).u16(4).u32(abbreviations).u8(8);
    fill(&mut unit);
    let length = unit.len() - 4;
    unit.patch(0, length);
    info.0.extend(unit.0);
}

/// Debug sections, and functions for the symbol table.
#[derive(Clone, Default)]
pub(crate) struct Forgery {
    pub(crate) sections: Vec<(&'static str, Vec<u8>)>,
    pub(crate) functions: Vec<(&'static str, u64)>,
}

impl Forgery {
    pub(crate) fn new(abbrev: Bytes, info: Bytes) -> Forgery {
        Forgery { sections: vec![(".debug_abbrev", abbrev.0), (".debug_info", info.0)], functions: Vec::new() }
    }

    pub(crate) fn section(mut self, name: &'static str, data: Vec<u8>) -> Forgery {
        self.sections.push((name, data));
        self
    }

    pub(crate) fn function(mut self, name: &'static str, address: u64) -> Forgery {
        self.functions.push((name, address));
        self
    }

    /// The file: ELF64, little-endian, x86-64, ET_EXEC.
    pub(crate) fn elf(&self) -> Vec<u8> {
        const EXECUTABLE: u16 = 2;
        self.elf_of_type(EXECUTABLE)
    }

    pub(crate) fn elf_of_type(&self, file_type: u16) -> Vec<u8> {
        let (mut symbols, mut strings) = (Bytes(vec![0; 24]), Bytes(vec![0]));
        for &(name, address) in &self.functions {
            // STB_GLOBAL STT_FUNC, SHN_ABS
            symbols.u32(strings.len()).u8(0x12).u8(0).u16(0xfff1).u64(address).u64(1);
            strings.text(name);
        }
        let mut sections: Vec<(&str, u32, u32, Vec<u8>)> =
            self.sections.iter().map(|(name, data)| (*name, 1, 0, data.clone())).collect();
        let string_table = sections.len() as u32 + 2;
        sections.push((".symtab", 2, string_table, symbols.0));
        sections.push((".strtab", 3, 0, strings.0));
        let mut names = Bytes(vec![0]);
        let mut name_at: Vec<u32> = Vec::new();
        for (name, ..) in &sections {
            name_at.push(names.len());
            names.text(name);
        }
        name_at.push(names.len());
        names.text(".shstrtab");
        sections.push((".shstrtab", 3, 0, names.0));
        let mut file = Bytes(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec());
        let data: usize = sections.iter().map(|(.., data)| data.len()).sum();
        let count = sections.len() as u16 + 1;
        file.u16(file_type).u16(62).u32(1).u64(0).u64(0).u64(64 + data as u64).u32(0);
        file.u16(64).u16(0).u16(0).u16(64).u16(count).u16(count - 1);
        let mut headers = Bytes(vec![0; 64]);
        for ((_, kind, link, data), name) in sections.iter().zip(name_at) {
            headers.u32(name).u32(*kind).u64(0).u64(0).u64(u64::from(file.len())).u64(data.len() as u64);
            headers.u32(*link).u32(0).u64(1).u64(if *kind == 2 { 24 } else { 0 });
            file.0.extend(data);
        }
        file.0.extend(headers.0);
        file.0
    }
}
