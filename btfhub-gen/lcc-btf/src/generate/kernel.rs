//! One kernel: from its image to BTF, full or cut to what the objects need.

use std::io::Read;
use std::sync::Arc;

use btf::core_relo::{self, Target};
use btf::minimize::{self, ByName};
use btf::object_file::ObjectFile;
use btf::{Btf, Kind};
use dwarf::{Base, Compat, Compression};
use pack::KernelId;

use super::modules::{self, MadeModule, Modules};
use crate::error::Error;
use crate::input::{Image, Kernel, Options};
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
    /// Whether what the loader's plan looks up is kept besides what the objects' relocations need.
    pub plan: bool,
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

/// Makes the BTF of a kernel and of its modules. `options` has the threads that may be used; the result does not depend on
/// their number.
///
/// # Errors
/// The kernel has no types of the wanted source; its DWARF or BTF is damaged; the result needs kinds that `compat` excludes.
pub fn make(
    kernel: Kernel,
    id: Option<KernelId>,
    modules: &Modules,
    wanted: Wanted,
    objects: &[ObjectFile<'_>],
    options: &Options,
) -> Result<Made, Error> {
    let Kernel { origin, identity, image } = kernel;
    refuse_object(&origin, &image)?;
    let from_dwarf = match wanted.source {
        Source::Auto => image.has_dwarf(),
        Source::Dwarf if !image.has_dwarf() => return Err(no_types(&origin, "has no DWARF (.debug_info)")),
        Source::Dwarf => true,
        Source::Btf => false,
    };
    let (encoded, kept);
    let (full, surface, diagnostics): (&[u8], _, _) = if from_dwarf {
        let output = encode(&origin, &image, wanted.compat, None, options.threads)?;
        // The debug information is done with: half a gigabyte of mapped memory.
        drop(image);
        encoded = output.btf;
        (&encoded, Some(output.surface), output.diagnostics.iter().map(ToString::to_string).collect())
    } else {
        kept = image;
        (kept.own_btf().ok_or_else(|| no_types(&origin, "has no BTF (.BTF)"))?, None, Vec::new())
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
    let whole = Arc::new(Btf::parse(full).map_err(Error::btf(&made.origin))?);
    made.types_in = whole.len();
    made.diagnostics.extend(whole.diagnostics().iter().map(ToString::to_string));
    if wanted.surface && made.surface.is_none() {
        made.diagnostics
            .push("no attach surface: the types are from BTF, and only DWARF tells of functions".to_owned());
    }
    let (split, diagnostics) = if *modules == Modules::None {
        Default::default()
    } else {
        let release = identity.release.as_deref();
        let of = modules::Kernel { btf: &whole, release, from_dwarf, compat: wanted.compat };
        modules::make(modules, of, options)?
    };
    made.diagnostics.extend(diagnostics);
    if objects.is_empty() {
        // What is published is read once to its end.
        whole.ids().try_for_each(|id| whole.ty(id).map(drop)).map_err(Error::btf(&made.origin))?;
        check_kinds(&whole, wanted.compat, &made.origin)?;
        for module in &split {
            let split = Btf::parse_split(&module.btf, whole.clone()).map_err(Error::btf(&module.name))?;
            check_kinds(&split, wanted.compat, &format!("{}: module {}", made.origin, module.name))?;
        }
        made.modules = split;
        made.types_out = whole.len();
        made.btf = full.to_vec();
    } else {
        cut(&mut made, &whole, &split, objects, wanted.plan)?;
        let result = Btf::parse(&made.btf).map_err(Error::btf(&made.origin))?;
        check_kinds(&result, wanted.compat, &made.origin)?;
        made.types_out = result.len();
    }
    if wanted.strict
        && let Some(first) = made.diagnostics.first()
    {
        let more = made.diagnostics.len() - 1;
        let what = if more == 0 { first.clone() } else { format!("{first} (and {more} more)") };
        return Err(Error::Strict { origin: made.origin, what });
    }
    Ok(made)
}

/// Cuts the whole BTF down to what the objects need. What they need of modules goes into the kernel's: libbpf looks at no
/// modules where it is given a `btf_custom_path`.
fn cut(
    made: &mut Made,
    whole: &Arc<Btf<'_>>,
    split: &[MadeModule],
    objects: &[ObjectFile<'_>],
    for_plan: bool,
) -> Result<(), Error> {
    let parse = |module: &'_ MadeModule| Btf::parse_split_owned(module.btf.clone(), whole.clone());
    let parsed = split.iter().map(parse).collect::<Result<Vec<_>, _>>().map_err(Error::btf(&made.origin))?;
    let modules: Vec<core_relo::Module<'_>> =
        split.iter().zip(&parsed).map(|(module, btf)| core_relo::Module { name: &module.name, btf }).collect();
    let target = Target { vmlinux: whole, modules: &modules };
    let by_name = if for_plan { plan::lookups(objects, &target) } else { ByName::default() };
    let minimized = minimize::minimize_merged(&target, objects, &by_name).map_err(Error::btf(&made.origin))?;
    let fates = objects.iter().zip(&minimized.resolutions);
    made.objects = fates.map(|(o, r)| ObjectRecord::of(&core_relo::report(o, &target, r))).collect();
    made.btf = minimized.btf;
    Ok(())
}

/// An error for a BPF object, which has BTF but is no kernel.
pub(crate) fn refuse_object(origin: &str, image: &Image) -> Result<(), Error> {
    match image {
        Image::Elf { facts, .. } if facts.machine == object::elf::EM_BPF.0 => {
            Err(no_types(origin, "is a BPF object, no kernel: give it with --obj"))
        }
        _ => Ok(()),
    }
}

pub(crate) fn no_types(origin: &str, what: &str) -> Error {
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
///
/// # Errors
/// There is none, or it is damaged.
pub(crate) fn encode(
    origin: &str,
    image: &Image,
    compat: Compat,
    base: Option<&Base<'_>>,
    threads: usize,
) -> Result<dwarf::Output, Error> {
    let Image::Elf { bytes, alternate, .. } = image else { return Err(no_types(origin, "has no DWARF (.debug_info)")) };
    let input = dwarf::Input { elf: bytes, supplementary: alternate.as_deref() };
    let release = |part: &[u8]| bytes.release(part);
    let options =
        dwarf::Options { jobs: threads, compat, rust: false, base, decompress: &decompress, release: Some(&release) };
    dwarf::encode(&input, &options).map_err(|source| Error::Dwarf { origin: origin.to_owned(), source })
}

/// The BTF of an image's DWARF with every kind there is; split BTF where there is a base.
///
/// # Errors
/// There is no DWARF, or it is damaged.
pub(crate) fn encode_all(
    origin: &str,
    image: &Image,
    base: Option<&Btf<'_>>,
    threads: usize,
) -> Result<Vec<u8>, Error> {
    let wrap = |source| Error::Dwarf { origin: origin.to_owned(), source };
    let base = base.map(Base::new).transpose().map_err(wrap)?;
    Ok(encode(origin, image, Compat::LATEST, base.as_ref(), threads)?.btf)
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
