//! Compiles `bpf/*/*.bpf.c` into `target/bpf/*.o`, the same bytes wherever the checkout lies.

use crate::workspace;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};

/// Compiles every BPF source whose object is missing or older than any source, and returns the objects, sorted.
///
/// # Errors
/// No source found, two sources of one name, clang or llvm-strip failed, or a file cannot be read or written.
pub(crate) fn build() -> Result<Vec<PathBuf>> {
    let root = workspace::root()?;
    let folder = workspace::target()?.join("bpf");
    std::fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    let mut sources = Vec::new();
    let mut newest = std::time::SystemTime::UNIX_EPOCH;
    for path in files_below(&root.join("bpf"))? {
        let relative = path.strip_prefix(&root).expect("listed below the root").to_path_buf();
        let modified = std::fs::metadata(&path).and_then(|meta| meta.modified());
        newest = newest.max(modified.with_context(|| format!("stat {}", path.display()))?);
        if relative.to_string_lossy().ends_with(".bpf.c") {
            sources.push(relative);
        }
    }
    sources.sort();
    let mut objects = Vec::new();
    for source in &sources {
        let name = source.file_name().expect("a file").to_string_lossy().replace(".bpf.c", ".o");
        let object = folder.join(name);
        if objects.contains(&object) {
            bail!("two BPF sources are compiled to {}", object.display());
        }
        let built = std::fs::metadata(&object).and_then(|meta| meta.modified()).ok();
        if built.is_none_or(|built| built < newest) {
            eprintln!("+ clang {}", source.display());
            compile::object(&root, source, &object, &[])?;
        }
        objects.push(object);
    }
    if objects.is_empty() {
        bail!("no *.bpf.c below {}", root.join("bpf").display());
    }
    Ok(objects)
}

fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let entries = std::fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))?;
    for entry in entries {
        let path = entry.with_context(|| format!("read {}", folder.display()))?.path();
        if path.is_dir() {
            files.extend(files_below(&path)?);
        } else {
            files.push(path);
        }
    }
    Ok(files)
}
