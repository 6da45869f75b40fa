//! Which BTF an object is relocated against, and why not another: each place that was looked at is told.
//!
//! | | place | |
//! |---|---|---|
//! | 1 | a path that the caller gives, or `LCC_BTF` | taken, or an error: it was asked for |
//! | 2 | the kernel's own, `/sys/kernel/btf/vmlinux` | the only one that fentry and the like can use |
//! | 3 | packs, given or embedded, by distribution, version, architecture and release | exactly; a near release only when asked for |
//! | 4 | a folder in BTFHub's layout | exactly |
//!
//! Minimal BTF says which questions it answers ([`btf::coverage`]); where the object asks others, it is passed over: a field
//! would seem absent that is not.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use btf::Btf;
use btf::coverage::{Coverage, Fit};
use btf::object_file::ObjectFile;
use pack::{KernelId, Lookup, Pack};
use plan::KernelFacts;

use crate::types;
pub use crate::types::Types;

/// Where BTF may be.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// The one to take.
    pub explicit: Option<PathBuf>,
    /// The root of the file system; `/`, but in tests.
    pub root: PathBuf,
    /// Packs: what they are called, and their bytes.
    pub packs: Vec<(String, Vec<u8>)>,
    /// Folders in BTFHub's layout, `<distro>/<version>/<arch>/<release>.btf`.
    pub folders: Vec<PathBuf>,
    /// Whether a pack's BTF of another release of the same distribution, version and architecture may serve.
    pub near: bool,
}

impl Places {
    /// Those of this machine: what `LCC_BTF` names, else the kernel's own.
    #[must_use]
    pub fn here() -> Places {
        Places { explicit: from_environment(), root: "/".into(), ..Places::default() }
    }
}

/// What was chosen, and what was looked at.
#[derive(Clone, Debug, Default)]
pub struct Chosen {
    /// The BTF. `None` where there is none: programs without relocations may still work.
    pub btf: Option<Types>,
    /// The places, in order: what was found there.
    pub steps: Vec<Step>,
}

/// A place that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What it is called.
    pub place: String,
    /// What was found: `taken`, or why not.
    pub found: String,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.found)
    }
}

/// The one that was asked for cannot be taken.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {what}")]
pub struct NotTaken {
    /// What its place is called.
    pub place: String,
    /// Why.
    pub what: String,
}

/// Chooses.
///
/// # Errors
/// The explicit BTF cannot be read, or does not cover the object.
pub fn choose(object: &ObjectFile<'_>, facts: &KernelFacts, places: &Places) -> Result<Chosen, NotTaken> {
    let mut chosen = Chosen::default();
    if let Some(path) = &places.explicit {
        let place = path.display().to_string();
        let bytes = std::fs::read(path).map_err(|error| NotTaken { place: place.clone(), what: error.to_string() })?;
        let types = parse(bytes, object).map_err(|what| NotTaken { place: place.clone(), what })?;
        chosen.take(types, place);
        return Ok(chosen);
    }
    let place = "the kernel's own BTF".to_owned();
    match types::own(&places.root).and_then(|types| check(&types, object).map(|()| types)) {
        Ok(btf) => {
            let modules = types::modules(&places.root, &btf, object);
            chosen.steps.push(Step { place: place.clone(), found: "taken".to_owned() });
            chosen.btf = Some(Types { btf, modules, place, own: true });
            return Ok(chosen);
        }
        Err(what) => chosen.pass(place, what),
    }
    let id = kernel_id(facts);
    for (name, bytes) in &places.packs {
        let place = format!("pack {name}");
        match &id {
            None => chosen.pass(place, "the kernel's distribution or release is not known".to_owned()),
            Some(id) => match from_pack(bytes, id, object, places.near) {
                Ok((types, found)) => {
                    let place = if found == *id { place } else { format!("{place}: {found}, a near release") };
                    chosen.take(types, place);
                    return Ok(chosen);
                }
                Err(what) => chosen.pass(place, what),
            },
        }
    }
    for folder in &places.folders {
        let place = format!("folder {}", folder.display());
        match &id {
            None => chosen.pass(place, "the kernel's distribution or release is not known".to_owned()),
            Some(id) => {
                let path = folder.join(format!("{id}.btf"));
                let read = std::fs::read(&path).map_err(|error| format!("{id}.btf: {error}"));
                match read.and_then(|bytes| parse(bytes, object)) {
                    Ok(types) => {
                        chosen.take(types, path.display().to_string());
                        return Ok(chosen);
                    }
                    Err(what) => chosen.pass(place, what),
                }
            }
        }
    }
    Ok(chosen)
}

impl Chosen {
    fn take(&mut self, btf: Btf<'static>, place: String) {
        let found = "taken; it serves relocations, not fentry and the like, which need the kernel's own".to_owned();
        self.steps.push(Step { place: place.clone(), found });
        self.btf = Some(Types { btf: Arc::new(btf), modules: Vec::new(), place, own: false });
    }

    fn pass(&mut self, place: String, found: String) {
        self.steps.push(Step { place, found });
    }
}

/// BTF that can be read and answers what the object asks.
fn parse(bytes: Vec<u8>, object: &ObjectFile<'_>) -> Result<Btf<'static>, String> {
    let types = Btf::parse_owned(bytes).map_err(|error| error.to_string())?;
    check(&types, object).map(|()| types)
}

/// Whether BTF, where it is minimal, answers what the object asks.
fn check(types: &Btf<'_>, object: &ObjectFile<'_>) -> Result<(), String> {
    let Some(coverage) = Coverage::read(types) else { return Ok(()) };
    match coverage.check(object) {
        Fit::Object | Fit::Questions => Ok(()),
        Fit::Stale { missing } => Err(format!(
            "made for other objects: {} of this one's {} relocations are not in it",
            missing.len(),
            object.relocations().len()
        )),
    }
}

fn kernel_id(facts: &KernelFacts) -> Option<KernelId> {
    let (distro, version) = facts.distribution.as_ref()?;
    KernelId::new(distro, version, facts.arch.as_ref()?, facts.release.as_ref()?).ok()
}

/// The BTF of a kernel in a pack, and the kernel that it is of.
fn from_pack(
    bytes: &[u8],
    id: &KernelId,
    object: &ObjectFile<'_>,
    near: bool,
) -> Result<(Btf<'static>, KernelId), String> {
    let pack = Pack::open(bytes).map_err(|error| error.to_string())?;
    let found = match pack.find(id.distro(), id.version(), id.arch(), id.release()) {
        Lookup::Found(entry) => Some((entry.to_owned().btf, id.clone())),
        _ if near => nearest(&pack, id),
        _ => None,
    };
    let (hash, found) = found.ok_or_else(|| format!("it does not have {id}"))?;
    let types = pack.read(hash).map_err(|error| error.to_string())?;
    Ok((parse(types, object)?, found))
}

/// Of the kernels of the same distribution, version and architecture, the one whose release has most in common.
fn nearest(pack: &Pack<'_>, id: &KernelId) -> Option<(pack::Hash, KernelId)> {
    let alike = |other: &KernelId| {
        let (distro, version, arch) = (other.distro(), other.version(), other.arch());
        (distro, version, arch) == (id.distro(), id.version(), id.arch())
    };
    let common =
        |other: &KernelId| other.release().bytes().zip(id.release().bytes()).take_while(|(a, b)| a == b).count();
    let entries = pack.entries().map(|entry| entry.to_owned()).filter(|entry| entry.module.is_empty());
    let best = entries.filter(|entry| alike(&entry.id)).max_by_key(|entry| common(&entry.id))?;
    Some((best.btf, best.id))
}

/// The path of `LCC_BTF`.
pub fn from_environment() -> Option<PathBuf> {
    std::env::var_os("LCC_BTF").filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// A name for bytes: a file that only this process has, for as long as it lives.
pub(crate) fn as_file(bytes: &[u8]) -> std::io::Result<(std::fs::File, PathBuf)> {
    use std::io::Write;
    use std::os::fd::AsRawFd;
    let descriptor = rustix::fs::memfd_create(c"lcc-btf", rustix::fs::MemfdFlags::CLOEXEC)?;
    let mut file = std::fs::File::from(descriptor);
    file.write_all(bytes)?;
    let path = Path::new("/proc/self/fd").join(file.as_raw_fd().to_string());
    Ok((file, path))
}
