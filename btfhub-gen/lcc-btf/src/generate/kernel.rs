//! One kernel: from its image to BTF, full or cut to what the objects need.

use std::io::Read;

use btf::core_relo::{self, Target};
use btf::object_file::ObjectFile;
use btf::{Btf, Kind, minimize};
use dwarf::{Compat, Compression};
use pack::KernelId;

use crate::error::Error;
use crate::input::{Image, Kernel};
use crate::report::ObjectRecord;

/// Where a kernel's types are taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// From its DWARF, or where it has none from its BTF.
    Auto,
    /// From its DWARF.
    Dwarf,
    /// From its BTF.
    Btf,
}

/// What is asked of each kernel.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// Where the types are taken from.
    pub source: Source,
    /// The kinds of BTF that the oldest reader knows.
    pub compat: Compat,
    /// Whether the attach surface is wanted.
    pub surface: bool,
    /// Whether anything that is not quite right is a failure.
    pub strict: bool,
}

/// What a kernel gave.
#[derive(Debug)]
pub struct Made {
    /// Its name, if that is known.
    pub id: Option<KernelId>,
    /// The file, and the member of the package.
    pub origin: String,
    /// Whether the types are from DWARF.
    pub from_dwarf: bool,
    /// Types of the whole BTF, `void` not counted.
    pub types_in: usize,
    /// Types of the result.
    pub types_out: usize,
    /// The result.
    pub btf: Vec<u8>,
    /// The attach surface.
    pub surface: Option<Vec<u8>>,
    /// Split BTF of the modules, ascending by name.
    pub modules: Vec<MadeModule>,
    /// What became of the objects' relocations.
    pub objects: Vec<ObjectRecord>,
    /// What was not quite right.
    pub diagnostics: Vec<String>,
}

/// What a module gave.
#[derive(Debug)]
pub struct MadeModule {
    /// Its name, with `_`.
    pub name: String,
    /// Types of the result.
    pub types: usize,
    /// The result: split BTF over that of the kernel.
    pub btf: Vec<u8>,
}

/// Makes the BTF of a kernel. `threads` may be used; the result does not depend on it.
///
/// # Errors
/// The kernel has no types of the wanted source; its DWARF or BTF is damaged; the result needs kinds that `compat` excludes.
pub fn make(
    kernel: Kernel,
    id: Option<KernelId>,
    wanted: Wanted,
    objects: &[ObjectFile<'_>],
    threads: usize,
) -> Result<Made, Error> {
    let Kernel { origin, image, .. } = kernel;
    let from_dwarf = match wanted.source {
        Source::Auto => image.has_dwarf(),
        Source::Dwarf if !image.has_dwarf() => return Err(no_types(&origin, "has no DWARF (.debug_info)")),
        Source::Dwarf => true,
        Source::Btf => false,
    };
    let (full, surface, diagnostics) = if from_dwarf {
        let output = encode(&origin, &image, wanted.compat, threads)?;
        let diagnostics = output.diagnostics.iter().map(ToString::to_string).collect();
        // The debug information is done with: half a gigabyte of mapped memory.
        drop(image);
        (output.btf, Some(output.surface), diagnostics)
    } else {
        let own = image.own_btf().ok_or_else(|| no_types(&origin, "has no BTF (.BTF)"))?;
        (own.to_vec(), None, Vec::new())
    };
    let mut made = Made {
        id,
        from_dwarf,
        types_in: 0,
        types_out: 0,
        btf: Vec::new(),
        surface: surface.filter(|_| wanted.surface),
        modules: Vec::new(),
        objects: Vec::new(),
        diagnostics,
        origin,
    };
    {
        let btf = Btf::parse(&full).map_err(Error::btf(&made.origin))?;
        made.types_in = btf.len();
        made.diagnostics.extend(btf.diagnostics().iter().map(ToString::to_string));
        if objects.is_empty() {
            // What is published is read once to its end.
            for id in btf.ids() {
                btf.ty(id).map_err(Error::btf(&made.origin))?;
            }
        } else {
            let target = Target::kernel(&btf);
            let minimized = minimize::minimize(&target, objects).map_err(Error::btf(&made.origin))?;
            let fates = objects.iter().zip(&minimized.resolutions);
            made.objects = fates.map(|(o, r)| ObjectRecord::of(&core_relo::report(o, &target, r))).collect();
            made.btf = minimized.btf;
        }
    }
    if objects.is_empty() {
        made.btf = full;
    }
    let result = Btf::parse(&made.btf).map_err(Error::btf(&made.origin))?;
    made.types_out = result.len();
    check_kinds(&result, wanted.compat, &made.origin)?;
    if wanted.strict
        && let Some(first) = made.diagnostics.first()
    {
        let more = made.diagnostics.len() - 1;
        let what = if more == 0 { first.clone() } else { format!("{first} (and {more} more)") };
        return Err(Error::Strict { origin: made.origin, what });
    }
    Ok(made)
}

fn no_types(origin: &str, what: &str) -> Error {
    Error::NoKernel { origin: origin.to_owned(), what: what.to_owned() }
}

/// BTF that was there, and not encoded here, may have kinds that an old reader refuses.
fn check_kinds(btf: &Btf<'_>, compat: Compat, origin: &str) -> Result<(), Error> {
    if compat == Compat::LATEST {
        return Ok(());
    }
    for id in btf.ids() {
        let excluded = match btf.kind_of(id).map_err(Error::btf(origin))? {
            Some(Kind::Float) => !compat.float,
            Some(Kind::DeclTag) => !compat.decl_tag,
            Some(Kind::TypeTag) => !compat.type_tag,
            Some(Kind::Enum64) => !compat.enum64,
            _ => false,
        };
        if excluded {
            let kind = btf.kind_of(id).map_err(Error::btf(origin))?;
            let kind = kind.map(|k| format!("{k:?}")).unwrap_or_default();
            let what = format!("type {}: its BTF has the kind {kind}, which --compat excludes; give its DWARF", id.0);
            return Err(Error::NoKernel { origin: origin.to_owned(), what });
        }
    }
    Ok(())
}

/// Encodes an image's DWARF.
fn encode(origin: &str, image: &Image, compat: Compat, threads: usize) -> Result<dwarf::Output, Error> {
    let Image::Elf { bytes, alternate, .. } = image else { return Err(no_types(origin, "has no DWARF (.debug_info)")) };
    let input = dwarf::Input { elf: bytes, supplementary: alternate.as_deref() };
    let release = |part: &[u8]| bytes.release(part);
    let options = dwarf::Options {
        jobs: threads,
        compat,
        rust: false,
        base: None,
        decompress: &decompress,
        release: Some(&release),
    };
    dwarf::encode(&input, &options).map_err(|source| Error::Dwarf { origin: origin.to_owned(), source })
}

/// Decompresses a debug section of a known size.
fn decompress(format: Compression, data: &[u8], size: usize) -> Result<Vec<u8>, String> {
    let decoder: &mut dyn Read = match format {
        Compression::Zlib => &mut flate2::read::ZlibDecoder::new(data),
        Compression::Zstd => &mut zstd::Decoder::with_buffer(data).map_err(|e| e.to_string())?,
        other => return Err(format!("compression {other:?} is not known here")),
    };
    // The size is the file's claim: memory is taken as the content comes.
    let mut content = Vec::with_capacity(size.min(data.len().saturating_mul(20)));
    decoder.take(size as u64 + 1).read_to_end(&mut content).map_err(|e| e.to_string())?;
    Ok(content)
}
