//! The modules of a kernel: each gives split BTF over the kernel's.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use btf::Btf;
use dwarf::{Base, Compat};

use super::kernel::encode;
use crate::error::Error;
use crate::input::{self, Image, Options, elf, package, running};
use packages::spill::Bytes;

/// Where a kernel's modules are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Modules {
    /// They are not wanted.
    None,
    /// In the package that the kernel is in.
    Package(PathBuf),
    /// Files.
    Files(Vec<PathBuf>),
    /// Of the running kernel, with the root folder.
    Running(PathBuf),
}

/// What a module gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeModule {
    /// Its name, with `_`.
    pub name: String,
    /// Types of its own.
    pub types: usize,
    /// Split BTF over that of the kernel.
    pub btf: Vec<u8>,
}

/// The kernel that the modules are of.
#[derive(Debug, Clone, Copy)]
pub struct Kernel<'k> {
    /// Its BTF, which the modules' builds on.
    pub btf: &'k Arc<Btf<'k>>,
    /// What `uname -r` prints, if that is known.
    pub release: Option<&'k str>,
    /// Whether the types are encoded from DWARF, here as there.
    pub from_dwarf: bool,
    /// The kinds of BTF that the oldest reader knows.
    pub compat: Compat,
}

/// Makes the split BTF of modules, ascending by name; and says what was not quite right. A module that cannot be done is
/// among the latter, and the others are done.
///
/// # Errors
/// The package or the folder cannot be read.
pub fn make(modules: &Modules, kernel: Kernel<'_>, options: &Options) -> Result<(Vec<MadeModule>, Vec<String>), Error> {
    let base = if kernel.from_dwarf {
        let base = Base::new(kernel.btf);
        Some(base.map_err(|source| Error::Dwarf { origin: "the kernel's own BTF".into(), source })?)
    } else {
        None
    };
    // The reader is ahead of the encoders by no more than a few modules, which bounds the memory.
    let (sender, receiver) = sync_channel::<(String, Bytes)>(options.threads);
    let receiver: Mutex<Receiver<(String, Bytes)>> = Mutex::new(receiver);
    let results: Mutex<Vec<(String, Result<MadeModule, Error>)>> = Mutex::default();
    let work = || {
        loop {
            let next = receiver.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok((origin, bytes)) = next else { return };
            let result = one(&origin, bytes, kernel, base.as_ref());
            results.lock().unwrap_or_else(PoisonError::into_inner).push((origin, result));
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..options.threads.max(1) {
            scope.spawn(work);
        }
        // The sender ends with this closure, and the workers with it.
        let sender = sender;
        each(modules, options, &mut |origin, bytes| {
            // The receiver outlives the senders.
            let _ = sender.send((origin, bytes));
            Ok(())
        })
    })?;
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by(|a, b| a.0.cmp(&b.0));
    let (mut made, mut diagnostics): (Vec<MadeModule>, Vec<String>) = (Vec::new(), Vec::new());
    for (origin, result) in results {
        match result {
            Ok(module) if made.iter().any(|there| there.name == module.name) => {
                diagnostics.push(format!("{origin}: there is another module {}", module.name));
            }
            Ok(module) => made.push(module),
            Err(error) => diagnostics.push(error.to_string()),
        }
    }
    made.sort_by(|a, b| a.name.cmp(&b.name));
    Ok((made, diagnostics))
}

/// Reads the modules one after the other.
fn each(
    modules: &Modules,
    options: &Options,
    visit: &mut dyn FnMut(String, Bytes) -> Result<(), Error>,
) -> Result<(), Error> {
    match modules {
        Modules::None => Ok(()),
        Modules::Package(path) => package::modules(path, options, visit),
        Modules::Files(paths) => paths.iter().try_for_each(|path| {
            let bytes = input::bytes(path)?;
            visit(path.display().to_string(), bytes)
        }),
        Modules::Running(root) => running::modules(root)?.into_iter().try_for_each(|(name, bytes)| visit(name, bytes)),
    }
}

/// The split BTF of one module.
fn one(origin: &str, bytes: Bytes, kernel: Kernel<'_>, base: Option<&Base<'_>>) -> Result<MadeModule, Error> {
    let refuse = |what: &str| Error::NoKernel { origin: origin.to_owned(), what: what.to_owned() };
    if !bytes.starts_with(elf::MAGIC) {
        // The running kernel shows raw BTF.
        let types = check(&bytes, kernel.btf, origin)?;
        return Ok(MadeModule { name: origin.to_owned(), types, btf: bytes.to_vec() });
    }
    let facts = elf::facts(&bytes).map_err(Error::fault(origin, origin.as_ref()))?;
    let module = facts.module.clone().unwrap_or_else(|| elf::Module { name: String::new(), release: None });
    if let (Some(own), Some(release)) = (&module.release, kernel.release)
        && own != release
    {
        return Err(refuse(&format!("is a module of kernel {own}, not of {release}")));
    }
    let name = match module.name {
        name if !name.is_empty() => name,
        // Separated debug information has no .modinfo.
        _ => package::module_stem(origin).ok_or_else(|| refuse("is no module"))?,
    };
    let btf = if kernel.from_dwarf {
        if !facts.has_dwarf {
            return Err(refuse("has no DWARF (.debug_info), as its kernel has"));
        }
        let image = Image::Elf { bytes, facts, alternate: None };
        encode(origin, &image, kernel.compat, base, 1)?.btf
    } else {
        let own = facts.btf.and_then(|range| bytes.get(range)).ok_or_else(|| refuse("has no BTF (.BTF)"))?;
        own.to_vec()
    };
    let types = check(&btf, kernel.btf, origin)?;
    Ok(MadeModule { name, types, btf })
}

/// Reads split BTF to its end, once, and counts its types.
fn check(btf: &[u8], base: &Arc<Btf<'_>>, origin: &str) -> Result<usize, Error> {
    let split = Btf::parse_split(btf, base.clone()).map_err(Error::btf(origin))?;
    split.ids().try_for_each(|id| split.ty(id).map(drop)).map_err(Error::btf(origin))?;
    Ok(split.len())
}
