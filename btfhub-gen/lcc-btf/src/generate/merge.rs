//! `lcc-btf merge`: the results of several machines as one.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use pack::{Builder, Entry, Hash, KernelId, Pack};

use super::archive::{check_pack, write_pack};
use super::layout::{self, Compress};
use super::state::State;
use crate::disk;
use crate::error::Error;
use crate::input::{self, Options};
use packages::spill::Bytes;

/// What a merge gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Merged {
    /// Kernels and modules.
    pub entries: usize,
    /// Different contents.
    pub distinct: usize,
}

/// One of the inputs.
enum Source {
    Pack { path: PathBuf, bytes: Bytes },
    Folder { path: PathBuf, files: BTreeMap<PathBuf, Layer> },
}

/// What a file of a layout is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Layer {
    Btf { id: KernelId, module: String },
    Surface { id: KernelId },
}

/// What a merge writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A pack.
    Pack(PathBuf),
    /// A folder where one of that name exists, it ends in a slash, or all inputs are folders; else a pack.
    Fitting(PathBuf),
}

impl Target {
    /// The file or folder.
    pub fn path(&self) -> &Path {
        match self {
            Target::Pack(path) | Target::Fitting(path) => path,
        }
    }
}

/// Merges packs and folders.
///
/// # Errors
/// An input cannot be read, or is damaged; two have one kernel with different results; the output cannot be written.
/// A pack is then as it was; a folder may have some of the results, each of them whole.
pub fn merge(inputs: &[PathBuf], target: &Target, threads: usize) -> Result<Merged, Error> {
    let sources = inputs.iter().map(|path| open(path)).collect::<Result<Vec<_>, Error>>()?;
    let all_folders = sources.iter().all(|source| matches!(source, Source::Folder { .. }));
    let output = target.path();
    let fits_folder = output.is_dir() || output.as_os_str().as_encoded_bytes().ends_with(b"/") || all_folders;
    if fits_folder && matches!(target, Target::Fitting(_)) {
        to_folder(&sources, output)
    } else {
        to_pack(&sources, output, threads)
    }
}

fn open(path: &Path) -> Result<Source, Error> {
    if path.is_dir() {
        let mut files = BTreeMap::new();
        find_files(path, Path::new(""), &mut files)?;
        return Ok(Source::Folder { path: path.to_owned(), files });
    }
    let file = File::open(path).map_err(Error::io("opening", path))?;
    let bytes = Bytes::of_file(&file).map_err(Error::io("reading", path))?;
    Pack::open(&bytes).map_err(Error::pack(path))?;
    Ok(Source::Pack { path: path.to_owned(), bytes })
}

/// The files of a layout, by their path in it.
fn find_files(root: &Path, within: &Path, files: &mut BTreeMap<PathBuf, Layer>) -> Result<(), Error> {
    let folder = root.join(within);
    let entries = fs::read_dir(&folder).and_then(|entries| entries.collect::<Result<Vec<_>, _>>());
    for entry in entries.map_err(Error::io("reading the folder", &folder))? {
        let name = entry.file_name();
        let path = within.join(&name);
        if name.as_encoded_bytes().starts_with(b".") {
            continue;
        }
        if root.join(&path).is_dir() {
            find_files(root, &path, files)?;
        } else {
            match layer(&path) {
                Some(layer) => drop(files.insert(path, layer)),
                None => {
                    let what = "is not in BTFHub's layout, <distro>/<version>/<arch>/<release>.btf";
                    return Err(Error::NoKernel { origin: root.join(path).display().to_string(), what: what.into() });
                }
            }
        }
    }
    Ok(())
}

fn layer(path: &Path) -> Option<Layer> {
    let parts: Vec<&str> = path.iter().map(|part| part.to_str()).collect::<Option<_>>()?;
    let stem = |name: &'_ str| -> Option<String> {
        Some(name.strip_suffix(".tar.xz").unwrap_or(name).strip_suffix(".btf")?.to_owned())
    };
    match parts[..] {
        [distro, version, arch, name] => {
            let id = |release: &str| KernelId::new(distro, version, arch, release).ok();
            match name.strip_suffix(".surface") {
                Some(release) => Some(Layer::Surface { id: id(release)? }),
                None => Some(Layer::Btf { id: id(&stem(name)?)?, module: String::new() }),
            }
        }
        [distro, version, arch, release, name] => {
            Some(Layer::Btf { id: KernelId::new(distro, version, arch, release).ok()?, module: stem(name)? })
        }
        _ => None,
    }
}

/// The BTF in a file of a layout.
fn read_btf(path: &Path) -> Result<Vec<u8>, Error> {
    let kernel = input::read(path, &Options::default())?;
    kernel
        .image
        .own_btf()
        .map(<[u8]>::to_vec)
        .ok_or_else(|| Error::NoKernel { origin: path.display().to_string(), what: "is no BTF".to_owned() })
}

/// Where a content can be read again.
enum Place<'s> {
    Pack(&'s Pack<'s>),
    Btf(PathBuf),
    File(PathBuf),
}

fn to_pack(sources: &[Source], output: &Path, threads: usize) -> Result<Merged, Error> {
    let packs: Vec<Option<Pack<'_>>> = sources
        .iter()
        .map(|source| match source {
            Source::Pack { path, bytes } => Pack::open(bytes).map(Some).map_err(Error::pack(path)),
            Source::Folder { .. } => Ok(None),
        })
        .collect::<Result<_, Error>>()?;
    let mut builder = Builder::new();
    let mut places: BTreeMap<Hash, Place<'_>> = BTreeMap::new();
    for (source, pack) in sources.iter().zip(&packs) {
        match (source, pack) {
            (Source::Pack { path, .. }, Some(pack)) => {
                for entry in pack.entries() {
                    builder.merge(entry.to_owned()).map_err(Error::pack(path))?;
                    for hash in std::iter::once(entry.btf).chain(entry.surface) {
                        places.entry(hash).or_insert(Place::Pack(pack));
                    }
                }
            }
            (Source::Folder { path: root, files }, _) => {
                for entry in folder_entries(root, files, &mut places)? {
                    builder.merge(entry).map_err(Error::pack(root))?;
                }
            }
            (Source::Pack { .. }, None) => {}
        }
    }
    let contents = |hash: Hash| -> io::Result<Vec<u8>> {
        match places.get(&hash) {
            Some(Place::Pack(pack)) => pack.read(hash).map_err(|e| io::Error::other(e.to_string())),
            Some(Place::Btf(path)) => read_btf(path).map_err(|e| io::Error::other(e.to_string())),
            Some(Place::File(path)) => fs::read(path),
            None => Err(io::Error::from(io::ErrorKind::NotFound)),
        }
    };
    check_pack(output)?;
    if let Some(folder) = output.parent() {
        disk::make_folder(folder)?;
    }
    write_pack(&builder, output, None, threads, &contents)?;
    Ok(Merged { entries: builder.len(), distinct: places.len() })
}

/// The entries of a layout; notes where their contents are.
fn folder_entries(
    root: &Path,
    files: &BTreeMap<PathBuf, Layer>,
    places: &mut BTreeMap<Hash, Place<'_>>,
) -> Result<Vec<Entry>, Error> {
    let mut surfaces = BTreeMap::new();
    let mut entries = Vec::new();
    for (path, layer) in files {
        let path = root.join(path);
        match layer {
            Layer::Surface { id } => {
                let hash = Hash::of(&fs::read(&path).map_err(Error::io("reading", &path))?);
                surfaces.insert(id.clone(), hash);
                places.entry(hash).or_insert(Place::File(path));
            }
            Layer::Btf { id, module } => {
                let btf = Hash::of(&read_btf(&path)?);
                entries.push(Entry { id: id.clone(), module: module.clone(), btf, surface: None });
                places.entry(btf).or_insert(Place::Btf(path));
            }
        }
    }
    for entry in entries.iter_mut().filter(|entry| entry.module.is_empty()) {
        entry.surface = surfaces.remove(&entry.id);
    }
    Ok(entries)
}

fn to_folder(sources: &[Source], output: &Path) -> Result<Merged, Error> {
    disk::make_folder(output)?;
    let state = State::open(output.join(".lcc-btf"))?;
    // By path: the hash of the content, and the input it is from.
    let mut written: BTreeMap<String, (Hash, String)> = BTreeMap::new();
    let mut put = |path: &str, content: &[u8], from: &Path| -> Result<(), Error> {
        let hash = Hash::of(content);
        match written.get(path) {
            Some((there, _)) if *there == hash => return Ok(()),
            Some((_, other)) => return Err(conflict(path, from, other)),
            None => {}
        }
        let to = output.join(path);
        if let Some(folder) = to.parent() {
            disk::make_folder(folder)?;
        }
        if fs::read(&to).map_or(true, |there| there != content) {
            disk::replace_by_way_of(&to, &state.tmp(), |w| w.write_all(content))?;
        }
        written.insert(path.to_owned(), (hash, from.display().to_string()));
        Ok(())
    };
    for source in sources {
        match source {
            Source::Folder { path: root, files } => {
                for path in files.keys() {
                    let from = root.join(path);
                    let content = fs::read(&from).map_err(Error::io("reading", &from))?;
                    put(&path.to_string_lossy(), &content, root)?;
                }
            }
            Source::Pack { path, bytes } => {
                let pack = Pack::open(bytes).map_err(Error::pack(path))?;
                for entry in pack.entries() {
                    let id = entry.id();
                    let btf = pack.read(entry.btf).map_err(Error::pack(path))?;
                    put(&layout::path(&id, entry.module, Compress::None), &btf, path)?;
                    if let Some(surface) = entry.surface {
                        put(&layout::surface_path(&id), &pack.read(surface).map_err(Error::pack(path))?, path)?;
                    }
                }
            }
        }
    }
    let distinct = written.values().map(|(hash, _)| hash).collect::<std::collections::BTreeSet<_>>().len();
    let entries = written.keys().filter(|path| !path.ends_with(".surface")).count();
    Ok(Merged { entries, distinct })
}

fn conflict(path: &str, from: &Path, other: &str) -> Error {
    let id = path.split(".btf").next().unwrap_or(path).to_owned();
    Error::Conflict { origin: from.display().to_string(), id, other: other.to_owned() }
}
