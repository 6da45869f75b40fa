//! The vmlinux in a package, and nothing else of it.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::distro::Evidence;
use super::{Form, HEAD, Image, Kernel, Options, elf, form, no_kernel, of_btf, of_elf};
use crate::error::Error;
use crate::kernel_id::Identity;
use packages::entries::{Archive, Entry};
use packages::fault::Fault;
use packages::region::Region;
use packages::spill::Bytes;
use packages::stream::{self, Stream};
use packages::tar::{Header, TarReader};
use packages::xz::Found;
use packages::{control, rpm};

/// The archive in a package, and what the package says of itself.
struct Package<'a> {
    deb: Option<control::Metadata>,
    rpm: Option<rpm::Metadata>,
    archive: Content<'a>,
}

enum Content<'a> {
    Tar(Box<dyn Stream + 'a>),
    Cpio(packages::cpio::CpioReader<'a>),
}

impl<'a> Content<'a> {
    fn archive(self) -> Box<dyn Archive + 'a> {
        match self {
            Content::Tar(stream) => Box::new(TarReader::new(stream)),
            Content::Cpio(cpio) => Box::new(cpio),
        }
    }
}

/// Opens a `.deb`, an rpm or a tar, the latter perhaps compressed.
fn open<'a>(region: Region<'a>, path: &Path, options: &Options) -> Result<Package<'a>, Fault> {
    let mut head = [0; HEAD];
    let len = region.read_at(0, &mut head)?;
    match form(&head[..len]) {
        Form::Deb => {
            let package = control::open(region)?;
            let stream = stream::open(package.data, &package.data_name, options.threads)?;
            Ok(Package { deb: Some(package.metadata), rpm: None, archive: Content::Tar(stream) })
        }
        Form::Rpm => {
            let (metadata, cpio) = rpm::open(region, options.threads)?;
            Ok(Package { deb: None, rpm: Some(metadata), archive: Content::Cpio(cpio) })
        }
        _ => {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let stream = stream::open(region, &name, options.threads)?;
            Ok(Package { deb: None, rpm: None, archive: Content::Tar(stream) })
        }
    }
}

/// Whether an archive's path is that of a kernel with debug information: `vmlinux`, `vmlinux-<release>`, also `.debug`.
fn is_vmlinux(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    match name.strip_prefix("vmlinux") {
        Some("" | ".debug") => true,
        // Not vmlinux-gdb.py.
        Some(rest) => {
            rest.starts_with('-') && rest[1..].starts_with(|c: char| c.is_ascii_digit()) && !rest.ends_with(".py")
        }
        None => false,
    }
}

/// Reads the kernel in a package.
pub(super) fn kernel(region: Region<'_>, path: &Path, origin: &str, options: &Options) -> Result<Kernel, Error> {
    let fault = || Error::fault(origin, path);
    let Package { deb, rpm, archive } = open(region, path, options).map_err(fault())?;
    let evidence = Evidence { deb: deb.as_ref(), rpm: rpm.as_ref(), ..Evidence::default() };
    let Some((entry, bytes)) = find(archive, origin).map_err(fault())? else {
        let what = match (&deb, &rpm) {
            (Some(deb), _) => {
                format!("no vmlinux in package {}: is it the debug package (-dbg, -dbgsym)?", deb.package)
            }
            (_, Some(rpm)) => format!("no vmlinux in package {}: is it the debug package (-debuginfo)?", rpm.name),
            _ => "no vmlinux and no .btf in it".to_owned(),
        };
        return Err(no_kernel(origin, &what));
    };
    let name = format!("{origin}: {}", entry.name);
    if form(&bytes) == Form::Btf {
        let mut kernel = of_btf(bytes, &name);
        // `<release>.btf` in BTFHub's tar.
        let stem = entry.name.rsplit('/').next().and_then(|n| n.strip_suffix(".btf"));
        kernel.identity = stem.map(Identity::of_release).unwrap_or_default();
        return Ok(kernel);
    }
    let mut kernel = of_elf(bytes, path, &name, evidence)?;
    let arch = deb.as_ref().map(|d| &d.architecture).or(rpm.as_ref().map(|r| &r.arch));
    kernel.identity = kernel.identity.or(Identity {
        arch: arch.map(|a| pack::arch_of_name(a).to_owned()).filter(|a| a != "all" && a != "noarch"),
        ..Identity::default()
    });
    if let Image::Elf { facts, alternate, .. } = &mut kernel.image
        && let Some(link) = &facts.alternate
    {
        *alternate = supplementary(region, path, link, options).map_err(fault())?;
    }
    Ok(kernel)
}

/// The first kernel in an archive: an ELF file called vmlinux, or a raw BTF called `*.btf`.
fn find(content: Content<'_>, origin: &str) -> Result<Option<(Entry, Bytes)>, Fault> {
    if let Content::Tar(stream) = &content
        && let Some((found, bytes)) = stream.search(&vmlinux_header)?
        && form(&bytes) == Form::Elf
    {
        return Ok(Some((Entry { name: found.name, size: found.len }, bytes)));
    }
    let mut archive = content.archive();
    while let Some(entry) = archive.next()? {
        tracing::trace!(origin, entry.name, entry.size);
        if !(is_vmlinux(&entry.name) || entry.name.ends_with(".btf")) || entry.size == 0 {
            continue;
        }
        let bytes = archive.take()?;
        if matches!(form(&bytes), Form::Elf | Form::Btf) {
            return Ok(Some((entry, bytes)));
        }
        tracing::debug!(origin, entry.name, "is neither ELF nor BTF");
    }
    Ok(None)
}

/// Where in a piece of a tar the header of vmlinux is. The piece begins at a multiple of 512.
fn vmlinux_header(at: u64, piece: &[u8]) -> Option<Found> {
    piece.as_chunks::<512>().0.iter().enumerate().find_map(|(i, block)| {
        // Most blocks are not headers: look at the magic before the checksum is reckoned.
        if !block[257..].starts_with(b"ustar") || memchr::memmem::find(&block[..100], b"vmlinux").is_none() {
            return None;
        }
        let header = Header::read(block)?;
        let wanted = header.is_file() && header.size > 0 && is_vmlinux(&header.name);
        wanted.then(|| Found { name: header.name, at: at + (i as u64 + 1) * 512, len: header.size })
    })
}

/// Calls `visit` with every module in a package: its path there, and the bytes of its ELF file.
///
/// # Errors
/// The package is damaged; or what `visit` returns.
pub fn modules(
    path: &Path,
    options: &Options,
    visit: &mut dyn FnMut(String, Bytes) -> Result<(), Error>,
) -> Result<(), Error> {
    let file = File::open(path).map_err(Error::io("opening", path))?;
    let region = Region::of_file(&file).map_err(Error::io("reading", path))?;
    let origin = path.display().to_string();
    let fault = || Error::fault(&origin, path);
    let mut archive = open(region, path, options).map_err(fault())?.archive.archive();
    while let Some(entry) = archive.next().map_err(fault())? {
        if module_stem(&entry.name).is_none() || entry.size == 0 {
            continue;
        }
        let bytes = archive.take().and_then(|bytes| decompressed(bytes, &entry.name)).map_err(fault())?;
        visit(format!("{origin}: {}", entry.name), bytes)?;
    }
    Ok(())
}

/// Whether what is read from `path` is a package.
///
/// # Errors
/// The file cannot be read.
pub fn is_package(path: &Path) -> Result<bool, Error> {
    let mut head = Vec::new();
    let file = File::open(path).map_err(Error::io("opening", path))?;
    file.take(HEAD as u64).read_to_end(&mut head).map_err(Error::io("reading", path))?;
    Ok(matches!(form(&head), Form::Deb | Form::Rpm))
}

/// The name of a module, by its file's: without folder and ending, `-` being `_`. `None` for what is no module.
pub fn module_stem(path: &str) -> Option<String> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let name = name.strip_suffix(".debug").unwrap_or(name);
    let name = [".xz", ".zst", ".gz"].into_iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
    name.strip_suffix(".ko").filter(|stem| !stem.is_empty()).map(|stem| stem.replace('-', "_"))
}

/// The bytes of a file that may be compressed.
pub(super) fn decompressed(bytes: Bytes, name: &str) -> Result<Bytes, Fault> {
    if form(&bytes) != Form::Compressed {
        return Ok(bytes);
    }
    let mut stream = stream::open(Region::of_bytes(&bytes), name, 1)?;
    packages::spill::collect(name, &mut stream, None)
}

/// The file that vmlinux names in `.gnu_debugaltlink`, by its last part: dwz puts one such file into a package.
fn supplementary(region: Region<'_>, path: &Path, link: &str, options: &Options) -> Result<Option<Bytes>, Fault> {
    let name = link.rsplit('/').next().unwrap_or(link);
    let mut archive = open(region, path, options)?.archive.archive();
    while let Some(entry) = archive.next()? {
        if entry.name.rsplit('/').next() == Some(name) {
            return archive.take().map(Some);
        }
    }
    Ok(None)
}

/// Reads all entries of an archive's bytes, for fuzzing: what is found does not matter, that it ends without a panic does.
#[doc(hidden)]
pub fn walk(bytes: &[u8]) {
    let Ok(package) = open(Region::of_bytes(bytes), Path::new("fuzz"), &Options::default()) else { return };
    let mut archive = package.archive.archive();
    while let Ok(Some(entry)) = archive.next() {
        if entry.size < 1 << 20
            && let Ok(bytes) = archive.take()
        {
            let _ = elf::facts(&bytes);
        }
    }
}

/// Decompresses all of `bytes`, up to 64 MiB, for fuzzing.
#[doc(hidden)]
pub fn decompress(bytes: &[u8]) {
    if let Ok(stream) = stream::open(Region::of_bytes(bytes), "fuzz", 1) {
        let _ = std::io::copy(&mut stream.take(64 << 20), &mut std::io::sink());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vmlinux_is_told_by_its_name() {
        for name in [
            "./usr/lib/debug/boot/vmlinux-6.1.0-18-amd64",
            "vmlinux",
            "./lib/modules/6/vmlinux.debug",
            "vmlinux-5.debug",
        ] {
            assert!(is_vmlinux(name), "{name}");
        }
        for name in
            ["./boot/vmlinuz-6.1", "vmlinux.h", "vmlinux-gdb.py", "./vmlinux/other", "System.map", "vmlinux-6.py"]
        {
            assert!(!is_vmlinux(name), "{name}");
        }
    }

    #[test]
    fn modules_are_told_by_their_name() {
        for (path, expected) in [
            ("./lib/modules/6.1.0/kernel/net/nf-tables.ko", Some("nf_tables")),
            ("xfs.ko.xz", Some("xfs")),
            ("./usr/lib/debug/lib/modules/5.14/kernel/fs/xfs.ko.debug", Some("xfs")),
            ("./xfs.ko.zst.debug", Some("xfs")),
            ("xfs.c", None),
            (".ko", None),
        ] {
            assert_eq!(module_stem(path).as_deref(), expected);
        }
    }

    #[test]
    fn a_header_is_found_in_the_middle_of_a_stream() {
        let mut piece = vec![7; 1024];
        piece.extend(packages::tar::write_file("./usr/lib/debug/boot/vmlinux-6.1.0", b"\x7fELF").unwrap());
        let expected = Found { name: "./usr/lib/debug/boot/vmlinux-6.1.0".into(), at: 4096 + 1536, len: 4 };
        assert_eq!(vmlinux_header(4096, &piece), Some(expected));
        piece[1024 + 5] ^= 1;
        assert_eq!(vmlinux_header(4096, &piece), None);
    }
}
