//! The inputs of a run: every form in which a kernel's debug information or BTF is published.
//!
//! A KERNEL is told by its content, never by its name:
//!
//! | content | what is taken |
//! |---|---|
//! | ELF | `vmlinux` or a module, with DWARF or `.BTF` |
//! | raw BTF | all of it, either byte order |
//! | `.deb`, `.ddeb` | `vmlinux` in `data.tar.{xz,zst,gz,bz2,lzma}` |
//! | `.rpm` | `vmlinux` in the cpio payload, of the same compressions |
//! | tar | BTFHub's `<release>.btf`, or `vmlinux` |
//! | any of these in xz, zstd, gzip, bzip2 | the same |
//! | a folder | all of these in it, however deep, sorted |
//! | the word `running` | `/sys/kernel/btf/vmlinux` |
//!
//! ```text
//!  file ─ region ─ magic ┬ ar ─ control           ┬ stream (xz by blocks, zstd, gzip, …)
//!                        ├ rpm ─ header ─ cpio    ┘        │
//!                        ├ tar                              ▼
//!                        └ ELF, BTF            archive entries ─ vmlinux ─ spill ─ Kernel { identity, image }
//! ```

pub mod banner;
pub mod distro;
pub mod elf;
pub mod expand;
pub mod package;
pub mod running;

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use self::distro::Evidence;
use crate::error::Error;
use crate::kernel_id::Identity;
use packages::fault::Fault;
use packages::region::Region;
use packages::spill::Bytes;
use packages::{ar, rpm, spill, stream, tar};

/// How inputs are read.
#[derive(Debug, Clone)]
pub struct Options {
    /// Threads that one input may use.
    pub threads: usize,
    /// Where `running` finds `/sys`, `/proc` and `/etc`: `/`, but in tests.
    pub root: PathBuf,
}

impl Default for Options {
    fn default() -> Self {
        Options { threads: 1, root: PathBuf::from("/") }
    }
}

/// A kernel that was found in an input.
#[derive(Debug, Clone)]
pub struct Kernel {
    /// The file, and the member of the package: `a.deb: ./usr/lib/debug/boot/vmlinux-6.1.0-18-amd64`.
    pub origin: String,
    /// What the input tells of the kernel's name.
    pub identity: Identity,
    /// Its types.
    pub image: Image,
}

/// Where a kernel's types are.
#[derive(Debug, Clone)]
pub enum Image {
    /// An ELF file.
    Elf {
        /// The whole file.
        bytes: Bytes,
        /// What it says of itself.
        facts: elf::Facts,
        /// The file that its `.gnu_debugaltlink` names, where that was found.
        alternate: Option<Bytes>,
    },
    /// Raw BTF.
    Btf(Bytes),
}

impl Image {
    /// The kernel's own BTF: all of a raw one, or the `.BTF` section.
    pub fn own_btf(&self) -> Option<&[u8]> {
        match self {
            Image::Btf(bytes) => Some(bytes),
            Image::Elf { bytes, facts, .. } => facts.btf.clone().and_then(|range| bytes.get(range)),
        }
    }

    /// Whether there is DWARF to encode.
    pub fn has_dwarf(&self) -> bool {
        matches!(self, Image::Elf { facts, .. } if facts.has_dwarf)
    }
}

/// What an input is, told by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// ELF.
    Elf,
    /// Raw BTF.
    Btf,
    /// An ar archive: `.deb`, `.ddeb`.
    Deb,
    /// An rpm.
    Rpm,
    /// A tar.
    Tar,
    /// A compressed one of the others.
    Compressed,
    /// None of these.
    Other,
}

/// How many first bytes [`form`] wants to see.
pub const HEAD: usize = 512;

/// What something is, told by its first [`HEAD`] bytes, or all there are.
pub fn form(head: &[u8]) -> Form {
    match head {
        [0x7f, b'E', b'L', b'F', ..] => Form::Elf,
        [0x9f, 0xeb, 1, ..] | [0xeb, 0x9f, 1, ..] => Form::Btf,
        _ if head.starts_with(ar::MAGIC) => Form::Deb,
        _ if head.starts_with(&rpm::MAGIC) => Form::Rpm,
        _ if tar::is_tar(head) => Form::Tar,
        _ if stream::compression(head) != stream::Compression::None => Form::Compressed,
        _ => Form::Other,
    }
}

/// Reads the kernel in the file at `path`.
///
/// # Errors
/// The file cannot be read; it is damaged; there is no kernel with debug information or BTF in it.
pub fn read(path: &Path, options: &Options) -> Result<Kernel, Error> {
    kernel(Content::open(path)?, path, options)
}

/// Reads the kernel in an open file; see [`read`].
///
/// # Errors
/// As [`read`].
pub fn kernel(content: Content, path: &Path, options: &Options) -> Result<Kernel, Error> {
    let origin = path.display().to_string();
    let kernel = match &content {
        Content::Small(bytes) => of_region(Region::of_bytes(bytes), &content, path, &origin, options)?,
        Content::Large(file) => {
            let region = Region::of_file(file).map_err(Error::io("reading", path))?;
            of_region(region, &content, path, &origin, options)?
        }
    };
    tracing::debug!(origin = kernel.origin, identity = ?kernel.identity, "read");
    Ok(kernel)
}

/// The content of an input.
#[derive(Debug)]
pub enum Content {
    /// Mapped as a whole, or in memory.
    Small(Bytes),
    /// In the file.
    Large(File),
}

impl Content {
    /// Opens a file. A small one is mapped at once, for the hash and for the parser.
    ///
    /// # Errors
    /// The file cannot be read, or is a folder.
    pub fn open(path: &Path) -> Result<Self, Error> {
        const SMALL: u64 = 64 << 20;
        let mut file = File::open(path).map_err(Error::io("opening", path))?;
        let metadata = file.metadata().map_err(Error::io("opening", path))?;
        if metadata.is_dir() {
            return Err(no_kernel(&path.display().to_string(), "is a folder"));
        }
        // Many of them never end.
        if metadata.file_type().is_char_device() || metadata.file_type().is_block_device() {
            return Err(no_kernel(&path.display().to_string(), "is a device"));
        }
        if metadata.is_file() && metadata.len() > SMALL {
            return Ok(Content::Large(file));
        }
        if metadata.is_file()
            && metadata.len() > 0
            && let Ok(bytes) = Bytes::of_whole_file(&file)
        {
            return Ok(Content::Small(bytes));
        }
        // A pipe, or a file of /sys or /proc, which may say that it is empty: read as it comes.
        let origin = path.display().to_string();
        spill::collect("input", &mut file, None).map(Content::Small).map_err(Error::fault(&origin, path))
    }
}

/// The content of a file, decompressed where it is compressed.
///
/// # Errors
/// The file cannot be read, or is damaged.
pub fn bytes(path: &Path) -> Result<Bytes, Error> {
    let file = File::open(path).map_err(Error::io("opening", path))?;
    let bytes = Bytes::of_file(&file).map_err(Error::io("reading", path))?;
    let origin = path.display().to_string();
    package::decompressed(bytes, &origin).map_err(Error::fault(&origin, path))
}

/// Reads the kernel in `bytes`, called `origin` in messages. This is what [`read`] does with a file's content.
///
/// # Errors
/// As [`read`].
pub fn of_bytes(bytes: &[u8], origin: &str, options: &Options) -> Result<Kernel, Error> {
    let content = Content::Small(Bytes::new(bytes.to_vec()));
    of_region(Region::of_bytes(bytes), &content, Path::new(origin), origin, options)
}

fn of_region(
    region: Region<'_>,
    content: &Content,
    path: &Path,
    origin: &str,
    options: &Options,
) -> Result<Kernel, Error> {
    let fault = || Error::fault(origin, path);
    let mut head = [0; HEAD];
    let len = region.read_at(0, &mut head).map_err(|e| fault()(e.into()))?;
    let whole = || -> Result<Bytes, Fault> {
        match content {
            Content::Large(file) => Ok(Bytes::of_file(file)?),
            Content::Small(bytes) => Ok(bytes.clone()),
        }
    };
    let mut kernel = match form(&head[..len]) {
        Form::Elf => of_elf(whole().map_err(fault())?, path, origin, Evidence::default())?,
        Form::Btf => of_btf(whole().map_err(fault())?, origin),
        Form::Deb | Form::Rpm | Form::Tar => package::kernel(region, path, origin, options)?,
        Form::Compressed => {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let open = || stream::open(region, &name, options.threads).map_err(fault());
            let inner = spill::collect(&name, &mut open()?.take(HEAD as u64), None).map_err(fault())?;
            match form(&inner) {
                Form::Tar => package::kernel(region, path, origin, options)?,
                Form::Elf => {
                    let bytes = spill::collect(&name, &mut open()?, None).map_err(fault())?;
                    of_elf(bytes, path, origin, Evidence::default())?
                }
                Form::Btf => of_btf(spill::collect(&name, &mut open()?, None).map_err(fault())?, origin),
                _ => return Err(no_kernel(origin, "what is compressed in it is no ELF, BTF or tar")),
            }
        }
        Form::Other if len == 0 => return Err(no_kernel(origin, "is empty")),
        Form::Other => return Err(no_kernel(origin, other(&head[..len]))),
    };
    // A raw BTF says nothing of itself, its place in BTFHub's layout does; and what is in that layout is what it says.
    if let Some(identity) = Identity::of_path(path) {
        kernel.identity = identity.or(kernel.identity);
    } else if let Image::Btf(_) = &kernel.image
        && let Some(stem) = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".btf"))
    {
        kernel.identity = kernel.identity.or(Identity::of_release(stem));
    }
    Ok(kernel)
}

fn no_kernel(origin: &str, what: &str) -> Error {
    Error::NoKernel { origin: origin.to_owned(), what: what.to_owned() }
}

/// Why something of no known form is not read.
fn other(head: &[u8]) -> &'static str {
    // Documentation/arch/x86/boot.rst: the setup header's magic at 0x202; arm64: booting.rst, "ARM\x64" at 56.
    if head.get(0x1fe..0x200) == Some(b"\x55\xaa") && head.starts_with(b"MZ") || head.get(56..60) == Some(b"ARM\x64") {
        "is a boot image (vmlinuz), which has no debug information: give vmlinux or the debug package"
    } else {
        "is no ELF, BTF, .deb, .rpm or tar, nor one of them compressed"
    }
}

pub(crate) fn of_btf(bytes: Bytes, origin: &str) -> Kernel {
    Kernel { origin: origin.to_owned(), identity: Identity::default(), image: Image::Btf(bytes) }
}

/// The kernel of an ELF file, `evidence` telling of the package around it.
pub(crate) fn of_elf(bytes: Bytes, path: &Path, origin: &str, evidence: Evidence<'_>) -> Result<Kernel, Error> {
    let facts = elf::facts(&bytes).map_err(Error::fault(origin, path))?;
    if !facts.has_dwarf && facts.btf.is_none() {
        return Err(no_kernel(origin, "has neither DWARF (.debug_info) nor BTF (.BTF)"));
    }
    let release = match (&facts.banner, &facts.module) {
        (Some(banner), _) => Some(banner.release.clone()),
        (None, Some(module)) => module.release.clone(),
        (None, None) => release_of_name(origin),
    };
    let banner = facts.banner.as_ref().map_or("", |b| &b.text);
    let distro = distro::distro(Evidence { release: release.as_deref().unwrap_or_default(), banner, ..evidence });
    let identity = Identity { distro, arch: facts.arch.map(str::to_owned), release };
    let alternate = match &facts.alternate {
        Some(name) if evidence.deb.is_none() && evidence.rpm.is_none() => alternate_of_file(path, name)?,
        _ => None,
    };
    Ok(Kernel { origin: origin.to_owned(), identity, image: Image::Elf { bytes, facts, alternate } })
}

/// The file that `.gnu_debugaltlink` names: absolute, or relative to the file that names it.
fn alternate_of_file(path: &Path, name: &str) -> Result<Option<Bytes>, Error> {
    let path = path.parent().unwrap_or(Path::new("")).join(name);
    let Ok(file) = File::open(&path) else {
        tracing::warn!("{}: the supplementary debug information is not there", path.display());
        return Ok(None);
    };
    Bytes::of_file(&file).map(Some).map_err(Error::io("reading", &path))
}

/// The release in a path: `…/vmlinux-6.1.0-18-amd64`, `…/lib/modules/6.1.0-18-amd64/vmlinux`, also with `.debug`.
pub(crate) fn release_of_name(path: &str) -> Option<String> {
    let path = path.strip_suffix(".debug").unwrap_or(path);
    let (folders, name) = path.rsplit_once('/').unwrap_or(("", path));
    let release = match name.strip_prefix("vmlinux-") {
        Some(release) => release,
        None => folders.rsplit_once("/modules/")?.1,
    };
    (release.starts_with(|c: char| c.is_ascii_digit()) && !release.contains('/')).then(|| release.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_told_by_content() {
        for (head, expected) in [
            (&b"\x7fELF\x02"[..], Form::Elf),
            (b"\x9f\xeb\x01\0", Form::Btf),
            (b"\xeb\x9f\x01\0", Form::Btf),
            (b"!<arch>\ndebian", Form::Deb),
            (b"\xed\xab\xee\xdb\x03", Form::Rpm),
            (b"\x28\xb5\x2f\xfd", Form::Compressed),
            (&tar::write_file("a", b"x").unwrap(), Form::Tar),
            (&[0; 512], Form::Other),
            (b"", Form::Other),
        ] {
            assert_eq!(form(head), expected);
        }
    }

    #[test]
    fn a_release_is_in_the_path() {
        for (path, expected) in [
            (
                "a.rpm: ./usr/lib/debug/boot/vmlinux-5.14.21-150500.55.39-default.debug",
                Some("5.14.21-150500.55.39-default"),
            ),
            ("a.rpm: ./usr/lib/debug/lib/modules/6.6.8-200.fc39.x86_64/vmlinux", Some("6.6.8-200.fc39.x86_64")),
            ("vmlinux", None),
            ("vmlinux-mine", None),
        ] {
            assert_eq!(release_of_name(path).as_deref(), expected);
        }
    }

    #[track_caller]
    fn check_error(bytes: &[u8], expected: &str) {
        assert_eq!(of_bytes(bytes, "x", &Options::default()).unwrap_err().to_string(), expected);
    }

    #[test]
    fn what_is_no_kernel_is_said() {
        check_error(b"", "x: is empty");
        check_error(b"hello", "x: is no ELF, BTF, .deb, .rpm or tar, nor one of them compressed");
        let mut image = vec![0; 512];
        image[..2].copy_from_slice(b"MZ");
        image[510..].copy_from_slice(b"\x55\xaa");
        check_error(
            &image,
            "x: is a boot image (vmlinuz), which has no debug information: give vmlinux or the debug package",
        );
        check_error(&zstd::bulk::compress(b"hello", 1).unwrap(), "x: what is compressed in it is no ELF, BTF or tar");
        check_error(&tar::write_file("readme", b"x").unwrap(), "x: no vmlinux and no .btf in it");
    }
}
