//! Where results go, and what is kept there of a run before.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use pack::{Builder, Entry, Hash, KernelId, Pack};

use super::kernel::Made;
use super::layout::{self, Compress};
use super::state::State;
use crate::disk;
use crate::error::Error;
use crate::report::{ModuleRecord, UnitRecord};
use packages::spill::Bytes;

/// Where results go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// A folder in BTFHub's layout. What other runs wrote there stays.
    Layout {
        /// The root of the layout.
        folder: PathBuf,
        /// How its files are compressed.
        compress: Compress,
    },
    /// One pack, with the kernels of this run and no others.
    Pack(PathBuf),
    /// One file, for one kernel.
    File {
        /// The file.
        path: PathBuf,
        /// Whether it is a `.btf.tar.xz`.
        compress: Compress,
    },
    /// Standard output, for one kernel: raw BTF.
    Stdout,
}

impl Destination {
    /// Whether only one kernel can go there.
    pub fn is_single(&self) -> bool {
        matches!(self, Destination::File { .. } | Destination::Stdout)
    }

    /// Whether results must have a kernel's name.
    pub fn wants_names(&self) -> bool {
        !self.is_single()
    }
}

/// An archive that is being made.
#[derive(Debug)]
pub struct Archive {
    destination: Destination,
    state: Option<State>,
    /// The pack that is to be replaced, if it is good.
    before: Option<Bytes>,
    /// The contents that it has.
    there: HashSet<Hash>,
    /// Which unit wrote a kernel's files: of several, the first in order has them.
    owners: Mutex<HashMap<KernelId, usize>>,
}

impl Archive {
    /// Opens the destination.
    ///
    /// # Errors
    /// It cannot be written, or another run writes to it.
    pub fn open(destination: Destination) -> Result<Self, Error> {
        let state = match &destination {
            Destination::Layout { folder, .. } => {
                if folder.exists() && !folder.is_dir() {
                    let what = "is a file: -o takes a folder, or a file's name that ends in .btf or .btf.tar.xz";
                    return Err(Error::Usage(format!("{}: {what}", folder.display())));
                }
                disk::make_folder(folder)?;
                Some(State::open(folder.join(".lcc-btf"))?)
            }
            Destination::Pack(path) => {
                check_pack(path)?;
                if let Some(folder) = path.parent() {
                    disk::make_folder(folder)?;
                }
                Some(State::open(disk::beside(path, ".lcc-btf"))?)
            }
            Destination::File { .. } | Destination::Stdout => None,
        };
        let before = match &destination {
            Destination::Pack(path) => File::open(path).ok().and_then(|file| Bytes::of_file(&file).ok()),
            _ => None,
        };
        let hashes = |bytes: &Bytes| -> Option<HashSet<Hash>> {
            let pack = Pack::open(bytes).and_then(|pack| pack.verify().map(|()| pack));
            pack.ok().map(|pack| pack.hashes().collect())
        };
        let there = before.as_ref().and_then(hashes);
        let before = before.filter(|_| there.is_some());
        Ok(Archive { destination, state, before, there: there.unwrap_or_default(), owners: Mutex::default() })
    }

    /// Whether results are kept for a later run.
    pub fn keeps(&self) -> bool {
        self.state.is_some()
    }

    /// What a unit gave in a run before, if all of it is still there.
    pub fn kept(&self, key: Hash) -> Option<UnitRecord> {
        let state = self.state.as_ref()?;
        let record = state.record(key)?;
        let there = match &self.destination {
            Destination::Layout { folder, .. } => record.files.iter().all(|(path, hash)| {
                fs::read(folder.join(path)).is_ok_and(|content| Hash::of(&content).to_string() == *hash)
            }),
            _ => {
                let has = |hash: Hash| self.there.contains(&hash) || state.has_blob(hash);
                contents(&record).is_some_and(|contents| contents.into_iter().all(has))
            }
        };
        there.then_some(record)
    }

    /// Notes that the files of a kernel are those of unit number `unit`, whose result was kept.
    pub fn claim(&self, record: &UnitRecord, unit: usize) {
        if let Some(id) = record.id.as_ref().and_then(|id| id.parse().ok()) {
            let mut owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
            let owner = owners.entry(id).or_insert(unit);
            *owner = unit.min(*owner);
        }
    }

    /// Stores what unit number `unit` gave, and keeps a record of it under `key`.
    ///
    /// # Errors
    /// The destination cannot be written.
    pub fn store(&self, key: Option<Hash>, unit: usize, made: &Made, member: String) -> Result<UnitRecord, Error> {
        let mut record = UnitRecord {
            member,
            id: made.id.as_ref().map(KernelId::to_string),
            source: if made.from_dwarf { "dwarf" } else { "btf" }.to_owned(),
            types_in: made.types_in,
            types_out: made.types_out,
            bytes: made.btf.len(),
            btf: Hash::of(&made.btf).to_string(),
            surface: made.surface.as_ref().map(|surface| Hash::of(surface).to_string()),
            modules: Vec::new(),
            files: BTreeMap::new(),
            objects: made.objects.clone(),
            diagnostics: made.diagnostics.iter().take(MOST_DIAGNOSTICS).cloned().collect(),
            more_diagnostics: made.diagnostics.len().saturating_sub(MOST_DIAGNOSTICS),
        };
        for module in &made.modules {
            record.modules.push(ModuleRecord {
                name: module.name.clone(),
                btf: Hash::of(&module.btf).to_string(),
                types: module.types,
                bytes: module.btf.len(),
            });
        }
        match &self.destination {
            Destination::Layout { folder, compress } => {
                self.store_files(folder, *compress, unit, made, &mut record)?;
            }
            Destination::Pack(_) => {
                if let Some(state) = &self.state {
                    state.keep_blob(&made.btf)?;
                    for content in made.surface.iter().chain(made.modules.iter().map(|m| &m.btf)) {
                        state.keep_blob(content)?;
                    }
                }
            }
            Destination::File { path, compress } => {
                let name = made.id.as_ref().map_or("vmlinux", |id| id.release());
                let content = layout::file(name, &made.btf, *compress).map_err(Error::io("compressing", path))?;
                disk::replace(path, |w| w.write_all(&content))?;
                if let Some(surface) = &made.surface {
                    disk::replace(&path.with_extension("surface"), |w| w.write_all(surface))?;
                }
            }
            Destination::Stdout => {
                let mut out = io::stdout().lock();
                let written = out.write_all(&made.btf).and_then(|()| out.flush());
                // Whoever read it has read enough.
                let written = written.or_else(|e| if e.kind() == io::ErrorKind::BrokenPipe { Ok(()) } else { Err(e) });
                written.map_err(Error::io("writing", Path::new("standard output")))?;
            }
        }
        if let (Some(state), Some(key)) = (&self.state, key) {
            state.keep(key, &record)?;
        }
        Ok(record)
    }

    /// Writes the files of a kernel, unless a unit before in order has the same name.
    fn store_files(
        &self,
        folder: &Path,
        compress: Compress,
        unit: usize,
        made: &Made,
        record: &mut UnitRecord,
    ) -> Result<(), Error> {
        let (Some(id), Some(state)) = (&made.id, &self.state) else { return Ok(()) };
        let mut files = Vec::new();
        let mut add = |path: String, name: &str, btf: &[u8]| -> Result<(), Error> {
            let content = layout::file(name, btf, compress).map_err(Error::io("compressing", &folder.join(&path)))?;
            files.push((path, content));
            Ok(())
        };
        add(layout::path(id, "", compress), id.release(), &made.btf)?;
        for module in &made.modules {
            add(layout::path(id, &module.name, compress), &module.name, &module.btf)?;
        }
        if let Some(surface) = &made.surface {
            files.push((layout::surface_path(id), surface.clone()));
        }
        record.files = files.iter().map(|(path, content)| (path.clone(), Hash::of(content).to_string())).collect();
        let mut owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        if owners.get(id).is_some_and(|&owner| owner < unit) {
            return Ok(());
        }
        for (path, content) in files {
            let path = folder.join(path);
            if let Some(parent) = path.parent() {
                disk::make_folder(parent)?;
            }
            disk::replace_by_way_of(&path, &state.tmp(), |w| w.write_all(&content))?;
        }
        owners.insert(id.clone(), unit);
        Ok(())
    }

    /// Ends the run: writes the pack of these records.
    ///
    /// # Errors
    /// The pack cannot be written; what was there stays.
    pub fn finish(&self, records: &[&UnitRecord], threads: usize) -> Result<(), Error> {
        let (Destination::Pack(path), Some(state)) = (&self.destination, &self.state) else { return Ok(()) };
        let mut builder = Builder::new();
        for entry in records.iter().flat_map(|record| entries(record)) {
            builder.add(entry);
        }
        let before = self.before.as_ref().and_then(|bytes| Pack::open(bytes).ok());
        let contents = |hash: Hash| -> io::Result<Vec<u8>> {
            match state.blob(hash) {
                Ok(content) if Hash::of(&content) == hash => Ok(content),
                other => match &before {
                    Some(pack) => pack.read(hash).map_err(|e| io::Error::other(e.to_string())),
                    None => other,
                },
            }
        };
        write_pack(&builder, path, Some(&state.tmp()), threads, &contents)?;
        state.drop_blobs()
    }
}

/// A record has this many diagnostics; of the others it has the number.
const MOST_DIAGNOSTICS: usize = 20;

/// A pack may be written where there is nothing, or a pack, even a damaged one; nothing else is ever replaced by one.
///
/// # Errors
/// Something else is there, or it cannot be read.
pub(super) fn check_pack(path: &Path) -> Result<(), Error> {
    let refuse = |what: &str| Err(Error::Usage(format!("{}: {what}", path.display())));
    if path.is_dir() || path.as_os_str().as_encoded_bytes().ends_with(b"/") {
        return refuse("is a folder: a pack is one file");
    }
    match fs::metadata(path) {
        Ok(metadata) if !metadata.is_file() => return refuse("is no regular file, as a pack must be"),
        Err(_) => return Ok(()),
        Ok(_) => {}
    }
    let mut head = Vec::new();
    let file = File::open(path).map_err(Error::io("opening", path))?;
    file.take(pack::MAGIC.len() as u64).read_to_end(&mut head).map_err(Error::io("reading", path))?;
    if pack::MAGIC.starts_with(&head) {
        return Ok(());
    }
    refuse("is there already, and is no pack: remove it, or give another name")
}

/// Writes a pack to `path`, whole or not at all; by way of the folder `tmp`, if there is one.
pub(super) fn write_pack(
    builder: &Builder,
    path: &Path,
    tmp: Option<&Path>,
    threads: usize,
    contents: &pack::BlobSource<'_>,
) -> Result<(), Error> {
    let mut failure = None;
    let write = |w: &mut dyn Write| {
        builder.write(w, threads, contents).map_err(|e| match e {
            pack::Error::Io(e) => e,
            other => {
                let text = other.to_string();
                failure = Some(other);
                io::Error::other(text)
            }
        })
    };
    let written = match tmp {
        Some(folder) => disk::replace_by_way_of(path, folder, write),
        None => disk::replace(path, write),
    };
    match failure {
        Some(failure) => Err(Error::pack(path)(failure)),
        None => written,
    }
}

/// The pack's entries of a record. A record without a name has none.
fn entries(record: &UnitRecord) -> Vec<Entry> {
    let (Some(id), Some(btf)) = (record.id.as_ref().and_then(|id| id.parse::<KernelId>().ok()), hash(&record.btf))
    else {
        return Vec::new();
    };
    let surface = record.surface.as_deref().and_then(hash);
    let mut entries = vec![Entry { id: id.clone(), module: String::new(), btf, surface }];
    for module in &record.modules {
        if let Some(btf) = hash(&module.btf) {
            entries.push(Entry { id: id.clone(), module: module.name.clone(), btf, surface: None });
        }
    }
    entries
}

/// The contents that a record needs; `None` where a hash is no hash.
fn contents(record: &UnitRecord) -> Option<Vec<Hash>> {
    let modules = record.modules.iter().map(|module| hash(&module.btf));
    let surface = record.surface.as_ref().map(|surface| hash(surface));
    std::iter::once(hash(&record.btf)).chain(surface).chain(modules).collect()
}

fn hash(text: &str) -> Option<Hash> {
    text.parse().ok()
}
