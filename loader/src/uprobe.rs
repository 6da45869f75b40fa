//! Where in a user's file a function begins: asked of a [`Resolver`], by default of the file's own symbol tables.
//!
//! A uprobe's section names both: `uprobe/libssl.so.3:SSL_read`, `uretprobe//usr/bin/app:main+0x10`. A file without folder is
//! looked for where the dynamic loader has its libraries.

use std::path::{Path, PathBuf};

use object::{Object, ObjectSegment, ObjectSymbol, ObjectSymbolTable, SymbolKind};

/// What a look-up of a function finds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Resolved {
    /// It begins there.
    Found {
        /// Bytes from the begin of the file, as the kernel wants it.
        offset: u64,
        /// How that is known.
        how: String,
    },
    /// The file does not have it, in these words.
    Absent(String),
    /// It cannot be told, in these words.
    Unknown(String),
}

/// Who knows where functions begin.
pub trait Resolver: Send + Sync {
    /// Looks a function of a file up, by the name that its symbol has or would have.
    fn resolve(&self, file: &Path, function: &str) -> Resolved;
}

/// The symbol tables of the file itself, `.symtab` and `.dynsym`.
#[derive(Clone, Copy, Debug, Default)]
pub struct SymbolTables;

impl Resolver for SymbolTables {
    fn resolve(&self, file: &Path, function: &str) -> Resolved {
        // whole, not mapped: a library may be replaced while it is read
        let bytes = match std::fs::read(file) {
            Ok(bytes) => bytes,
            Err(error) => return Resolved::Unknown(format!("{}: {error}", file.display())),
        };
        match object::File::parse(&*bytes) {
            Ok(elf) => find(&elf, function),
            Err(error) => Resolved::Unknown(format!("{}: {error}", file.display())),
        }
    }
}

fn find(elf: &object::File<'_>, function: &str) -> Resolved {
    let tables = [(".symtab", elf.symbol_table()), (".dynsym", elf.dynamic_symbol_table())];
    let mut some = false;
    for (name, table) in tables.into_iter().filter_map(|(name, table)| Some((name, table?))) {
        for symbol in table.symbols().filter(|symbol| symbol.is_definition() || symbol.address() != 0) {
            some = true;
            if symbol.name() != Ok(function) {
                continue;
            }
            if let object::SymbolFlags::Elf { st_info, .. } = symbol.flags()
                && st_info.st_type() == object::elf::STT_GNU_IFUNC
            {
                // its code chooses the function, it is not the function
                return Resolved::Unknown(format!("{function} is chosen when the program starts (IFUNC)"));
            }
            if symbol.kind() != SymbolKind::Text {
                continue;
            }
            return match file_offset(elf, symbol.address()) {
                Some(offset) => Resolved::Found { offset, how: format!("symbol in {name}") },
                None => Resolved::Absent(format!("{function} is in {name}, and in no segment of the file")),
            };
        }
    }
    match some {
        true => Resolved::Absent(format!("no symbol {function} in .symtab or .dynsym")),
        false => Resolved::Unknown("it is stripped: it has no symbols at all".to_owned()),
    }
}

/// An address in a loaded segment, as the place in the file that it is loaded from.
fn file_offset(elf: &object::File<'_>, address: u64) -> Option<u64> {
    elf.segments().find_map(|segment| {
        let (begin, size) = segment.file_range();
        let within = address.checked_sub(segment.address()).filter(|&within| within < size)?;
        begin.checked_add(within)
    })
}

/// What a uprobe's section names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target<'s> {
    pub(crate) file: &'s str,
    pub(crate) function: &'s str,
    /// Behind the function's begin.
    pub(crate) offset: u64,
}

impl<'s> Target<'s> {
    /// `FILE:FUNCTION[+OFFSET]`, the offset decimal or hexadecimal.
    pub(crate) fn parse(text: &'s str) -> Option<Target<'s>> {
        let (file, function) = text.rsplit_once(':')?;
        let (function, offset) = match function.rsplit_once('+') {
            None => (function, 0),
            Some((function, offset)) => match offset.strip_prefix("0x") {
                Some(hex) => (function, u64::from_str_radix(hex, 16).ok()?),
                None => (function, offset.parse().ok()?),
            },
        };
        (!file.is_empty() && !function.is_empty()).then_some(Target { file, function, offset })
    }

    /// Where it is: the offset for the kernel, and how that is known.
    pub(crate) fn resolve(&self, resolver: &dyn Resolver) -> Result<(PathBuf, u64, String), String> {
        let path = locate(self.file).ok_or_else(|| format!("{} is in none of {}", self.file, FOLDERS.join(" ")))?;
        match resolver.resolve(&path, self.function) {
            Resolved::Found { offset, how } => {
                let offset = offset.checked_add(self.offset).ok_or("its offset is too large")?;
                Ok((path, offset, how))
            }
            Resolved::Absent(why) | Resolved::Unknown(why) => Err(format!("{}: {why}", path.display())),
        }
    }
}

/// Where libraries and programs are: the dynamic loader's folders, and those of `PATH` that nobody changes.
const FOLDERS: &[&str] = &[
    "/lib64",
    "/usr/lib64",
    #[cfg(target_arch = "x86_64")]
    "/lib/x86_64-linux-gnu",
    #[cfg(target_arch = "x86_64")]
    "/usr/lib/x86_64-linux-gnu",
    #[cfg(target_arch = "aarch64")]
    "/lib/aarch64-linux-gnu",
    #[cfg(target_arch = "aarch64")]
    "/usr/lib/aarch64-linux-gnu",
    "/lib",
    "/usr/lib",
    "/usr/local/lib",
    "/usr/local/bin",
    "/usr/bin",
    "/usr/sbin",
];

fn locate(file: &str) -> Option<PathBuf> {
    if file.contains('/') {
        return Some(PathBuf::from(file));
    }
    FOLDERS.iter().map(|folder| Path::new(folder).join(file)).find(|path| path.exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<(&str, &str, u64)>) {
        let found = Target::parse(text);
        assert_eq!(found.map(|target| (target.file, target.function, target.offset)), expected);
    }

    #[test]
    fn a_section_names_file_function_and_offset() {
        check("libc.so.6:malloc", Some(("libc.so.6", "malloc", 0)));
        check("/usr/bin/app:main+0x10", Some(("/usr/bin/app", "main", 16)));
        check("/a:b:c+7", Some(("/a:b", "c", 7)));
        check("libc.so.6", None);
        check(":x", None);
        check("x:", None);
        check("x:y+z", None);
    }

    #[test]
    fn functions_are_found_as_nm_has_them() {
        let own = std::env::current_exe().unwrap();
        let Resolved::Found { offset, how } = SymbolTables.resolve(&own, "main") else {
            panic!("this test has a main")
        };
        assert!(offset > 0);
        assert_eq!(how, "symbol in .symtab");
        let absent = SymbolTables.resolve(&own, "no_such_function");
        assert_eq!(absent, Resolved::Absent("no symbol no_such_function in .symtab or .dynsym".to_owned()));
        assert!(matches!(SymbolTables.resolve(Path::new("/absent"), "main"), Resolved::Unknown(_)));
        assert!(matches!(SymbolTables.resolve(Path::new("/proc/self/status"), "main"), Resolved::Unknown(_)));
    }
}
