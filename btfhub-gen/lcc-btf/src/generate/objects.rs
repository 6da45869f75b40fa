//! The BPF objects that minimal BTF is made for.

use std::path::{Path, PathBuf};

use btf::object_file::{ObjectFile, ObjectHash};

use crate::error::Error;

/// The bytes of object files.
#[derive(Debug, Default)]
pub struct Objects {
    files: Vec<(PathBuf, Vec<u8>)>,
}

impl Objects {
    /// Reads object files. One that is given twice, perhaps under two names, counts once.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn read(paths: &[PathBuf]) -> Result<Self, Error> {
        let mut files: Vec<(PathBuf, Vec<u8>)> = Vec::new();
        for path in paths {
            let bytes = std::fs::read(path).map_err(Error::io("reading the object", path))?;
            if files.iter().all(|(_, known)| *known != bytes) {
                files.push((path.clone(), bytes));
            }
        }
        Ok(Objects { files })
    }

    /// Parses the objects; they are named by their file name.
    ///
    /// # Errors
    /// A file is no BPF object, or its BTF is damaged.
    pub fn parse(&self) -> Result<Vec<ObjectFile<'_>>, Error> {
        self.files.iter().map(|(path, bytes)| parse(path, bytes)).collect()
    }

    /// Their hashes, ascending: a result depends on the objects, not on the order in which they are given.
    pub fn hashes(&self) -> Vec<ObjectHash> {
        let mut hashes: Vec<ObjectHash> = self.files.iter().map(|(_, bytes)| ObjectHash::of(bytes)).collect();
        hashes.sort();
        hashes
    }
}

fn parse<'a>(path: &Path, bytes: &'a [u8]) -> Result<ObjectFile<'a>, Error> {
    if !btf::elf::is_elf(bytes) {
        let what = "is no ELF file: --obj takes BPF objects, as clang -target bpf -c makes them";
        return Err(Error::NoKernel { origin: path.display().to_string(), what: what.to_owned() });
    }
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    ObjectFile::parse(&name, bytes).map_err(Error::btf(path.display()))
}
