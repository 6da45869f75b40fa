//! The types of one input, for the commands that look at them.

use std::path::Path;
use std::sync::Arc;

use btf::{Btf, Kind, TypeId};

use crate::error::Error;
use crate::generate::kernel::{self, Source};
use crate::input::running::RUNNING;
use crate::input::{self, Image, Kernel, Options, running};

/// How types are read.
#[derive(Debug, Clone)]
pub struct Reading<'r> {
    /// Where they are taken from; [`Source::Auto`] is BTF where there is any, else DWARF.
    pub source: Source,
    /// The kernel that split BTF builds on.
    pub base: Option<&'r Path>,
    /// How inputs are read.
    pub options: Options,
}

/// The types of the KERNEL `argument`, or of a module or a BPF object.
///
/// # Errors
/// It cannot be read, or has no types; split BTF has no base.
pub fn read(argument: &Path, reading: &Reading<'_>) -> Result<Arc<Btf<'static>>, Error> {
    let kernel = if argument.as_os_str() == RUNNING {
        running::read(&reading.options)?
    } else {
        input::read(argument, &reading.options)?
    };
    let is_module = match &kernel.image {
        Image::Elf { facts, .. } => facts.module.is_some(),
        Image::Btf(_) => is_running_module(argument, &reading.options.root),
    };
    let base = match reading.base {
        Some(base) if base != argument => Some(read(base, &Reading { base: None, ..reading.clone() })?),
        None if is_running_module(argument, &reading.options.root) => {
            Some(read(Path::new(RUNNING), &Reading { base: None, ..reading.clone() })?)
        }
        _ => None,
    };
    if is_module && base.is_none() {
        let what = "is a module, whose BTF builds on its kernel's: give that with --base";
        return Err(Error::NoKernel { origin: kernel.origin, what: what.to_owned() });
    }
    let origin = kernel.origin.clone();
    let bytes = bytes(kernel, base.as_deref(), reading)?;
    let btf = match base {
        Some(base) => Btf::parse_split_owned(bytes, base),
        None => Btf::parse_owned(bytes),
    };
    btf.map(Arc::new).map_err(Error::btf(origin))
}

/// Whether a path is that of a module's BTF in /sys.
fn is_running_module(path: &Path, root: &Path) -> bool {
    path.parent() == Some(&root.join("sys/kernel/btf")) && path.file_name().is_some_and(|name| name != "vmlinux")
}

/// The BTF of an image: its own, or encoded from its DWARF.
fn bytes(kernel: Kernel, base: Option<&Btf<'_>>, reading: &Reading<'_>) -> Result<Vec<u8>, Error> {
    let Kernel { origin, image, .. } = kernel;
    match (reading.source, image.own_btf()) {
        (Source::Auto | Source::Btf, Some(own)) => Ok(own.to_vec()),
        (Source::Btf, None) => Err(Error::NoKernel { origin, what: "has no BTF (.BTF)".to_owned() }),
        (Source::Auto | Source::Dwarf, _) => kernel::encode_all(&origin, &image, base, reading.options.threads),
    }
}

/// The types that `text` names: `NAME`, or `struct NAME`, `union NAME`, `enum NAME`, `typedef NAME`. Several types can have
/// one name. Ascending by id.
pub fn named(btf: &Btf<'_>, text: &str) -> Vec<TypeId> {
    let kinds: &[Kind] = match text.split_once(char::is_whitespace).map(|(keyword, _)| keyword) {
        Some("struct") => &[Kind::Struct, Kind::Fwd],
        Some("union") => &[Kind::Union, Kind::Fwd],
        Some("enum") => &[Kind::Enum, Kind::Enum64],
        Some("typedef") => &[Kind::Typedef],
        _ => &[],
    };
    // A basic type's name has spaces, too: `unsigned int`.
    let name = if kinds.is_empty() { text } else { text.split_once(char::is_whitespace).map_or("", |(_, n)| n.trim()) };
    let fits = |kind: Kind| kinds.is_empty() || kinds.contains(&kind);
    let mut ids: Vec<TypeId> = btf.find_any(name).filter(|(_, kind)| fits(*kind)).map(|(id, _)| id).collect();
    ids.sort();
    ids
}
