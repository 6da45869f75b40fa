//! The kernel's types, read once: they are megabytes, and everything asks for them.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use btf::core_relo::{CoreReloKind, Module, Target, search_candidates};
use btf::coverage::Coverage;
use btf::minimize::ByName;
use btf::object_file::ObjectFile;
use btf::{Btf, TypeId};

use crate::raw;

/// BTF, and where it is from.
#[derive(Clone)]
pub struct Types {
    /// The kernel's.
    pub btf: Arc<Btf<'static>>,
    /// Of its modules, where the object asks for what the kernel itself does not have: the name, and split BTF.
    pub modules: Vec<(String, Arc<Btf<'static>>)>,
    /// What its place is called.
    pub place: String,
    /// It is the running kernel's own.
    pub own: bool,
}

impl std::fmt::Debug for Types {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} types of {}", self.btf.len(), self.place)
    }
}

/// Where a kernel has its own types, below the root folder.
const OWN: &str = "sys/kernel/btf";

/// The kernel's own types. As long as somebody has them, who asks again gets the same.
///
/// # Errors
/// They are not there, or cannot be read: why, with the path.
pub(crate) fn own(root: &Path) -> Result<Arc<Btf<'static>>, String> {
    static LAST: Mutex<Option<(PathBuf, Weak<Btf<'static>>)>> = Mutex::new(None);
    let path = root.join(OWN).join("vmlinux");
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((known, types)) = &*last
        && let (true, Some(types)) = (*known == path, types.upgrade())
    {
        return Ok(types);
    }
    let bytes = raw::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let types = Btf::parse_shared(bytes).map_err(|error| format!("{}: {error}", path.display()))?;
    let types = Arc::new(types);
    *last = Some((path, Arc::downgrade(&types)));
    Ok(types)
}

/// The kernel's own types, for callers to hold from the first question until all is loaded: what is held is not read again.
pub fn own_types() -> Option<Arc<Btf<'static>>> {
    own(Path::new("/")).ok()
}

/// The types of modules, where the kernel's own do not have all that an object names: what libbpf does.
pub(crate) fn modules(
    root: &Path,
    types: &Arc<Btf<'static>>,
    object: &ObjectFile<'_>,
) -> Vec<(String, Arc<Btf<'static>>)> {
    let local = object.btf();
    let candidates = search_candidates(&Target::kernel(types), [object]);
    let roots = object.relocations().iter().filter(|relocation| relocation.kind != CoreReloKind::TypeIdLocal);
    let is_absent = |root: TypeId| match (local.name_of(root), local.kind_of(root)) {
        (Ok(name), Ok(Some(kind))) => !name.is_empty() && candidates.of(name.as_bytes(), kind).next().is_none(),
        _ => false,
    };
    if !roots.map(|relocation| relocation.root).any(is_absent) {
        return Vec::new();
    }
    let Ok(folder) = std::fs::read_dir(root.join(OWN)) else { return Vec::new() };
    let mut found = Vec::new();
    for entry in folder.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        // a module that is going, or that was built for other types, has none
        if name != "vmlinux"
            && let Ok(bytes) = raw::read(&entry.path())
            && let Ok(split) = Btf::parse_split_owned((*bytes).as_ref().to_vec(), Arc::clone(types))
        {
            found.push((name, Arc::new(split)));
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

impl Types {
    pub(crate) fn modules(&self) -> Vec<Module<'_>> {
        self.modules.iter().map(|(name, btf)| Module { name, btf }).collect()
    }

    /// The types for libbpf's relocations of an object: those that it asks for, and no others, so that libbpf does not read
    /// megabytes once more. `None` where it had better read the kernel's own itself.
    pub(crate) fn for_relocations(&self, object: &ObjectFile<'_>, modules: &[Module<'_>]) -> Option<Vec<u8>> {
        let whole = || (!self.own).then(|| self.btf.data().to_vec());
        // what a program has of ids must be the kernel's
        let has_ids = object.relocations().iter().any(|relocation| relocation.kind == CoreReloKind::TypeIdTarget);
        if has_ids || object.relocations().is_empty() || Coverage::read(&self.btf).is_some() {
            return whole();
        }
        let target = Target { vmlinux: &self.btf, modules };
        match btf::minimize::minimize_merged(&target, std::slice::from_ref(object), &ByName::default()) {
            Ok(minimal) => Some(minimal.btf),
            Err(_) => whole(),
        }
    }
}
