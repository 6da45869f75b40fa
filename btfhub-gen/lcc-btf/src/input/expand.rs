//! From the arguments to the files: folders are gone through.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use super::package::module_stem;
use super::running::RUNNING;
use super::{Form, HEAD, elf, form};
use crate::error::Error;
use crate::input;

/// One thing to read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Input {
    /// The running kernel.
    Running,
    /// A file that an argument names.
    Named(PathBuf),
    /// A file in a folder that an argument names.
    Found(PathBuf),
    /// A kernel module's ELF file, found in a folder.
    Module(PathBuf),
}

impl Input {
    /// The file; `None` for the running kernel.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Input::Running => None,
            Input::Named(path) | Input::Found(path) | Input::Module(path) => Some(path),
        }
    }

    /// How messages call it.
    pub fn name(&self) -> String {
        self.path().map_or(RUNNING.to_owned(), |path| path.display().to_string())
    }
}

/// The files that `arguments` name, in the order of the arguments, within a folder sorted by their path's bytes.
///
/// A file that is named is taken whatever it is. In a folder, only what looks like a KERNEL is; a link to a folder is not
/// followed there. A file `running` in the working folder is named `./running`.
///
/// Beside them, the folders and files that could not be read.
pub fn expand(arguments: &[PathBuf]) -> (Vec<Input>, Vec<Error>) {
    let (mut inputs, mut errors) = (Vec::new(), Vec::new());
    for argument in arguments {
        if argument.as_os_str() == RUNNING {
            inputs.push(Input::Running);
        } else if argument.is_dir() {
            let before = (inputs.len(), errors.len());
            folder(argument, &mut inputs, &mut errors);
            if (inputs.len(), errors.len()) == before {
                errors.push(Error::NoKernel {
                    origin: argument.display().to_string(),
                    what: "no kernel in this folder".into(),
                });
            }
        } else {
            inputs.push(Input::Named(argument.clone()));
        }
    }
    // What is named and found counts once.
    let mut seen = std::collections::HashSet::new();
    inputs.retain(|input: &Input| seen.insert(input.path().map(Path::to_owned)));
    (inputs, errors)
}

fn folder(path: &Path, inputs: &mut Vec<Input>, errors: &mut Vec<Error>) {
    let entries = fs::read_dir(path).and_then(|entries| entries.collect::<Result<Vec<_>, _>>());
    let mut entries = match entries {
        Ok(entries) => entries,
        Err(e) => return errors.push(Error::io("reading the folder", path)(e)),
    };
    entries.sort_by_key(|entry| entry.file_name());
    for entry in entries {
        let path = entry.path();
        // What begins with a dot is no kernel: a run's own state is kept in such a folder.
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => folder(&path, inputs, errors),
            Ok(_) if path.is_file() => match look(&path) {
                Ok(Some(input)) => inputs.push(input),
                Ok(None) => tracing::debug!("{}: passed over, no kernel", path.display()),
                Err(e) => errors.push(e),
            },
            Ok(_) => {}
            Err(e) => errors.push(Error::io("reading the folder", &path)(e)),
        }
    }
}

/// What a file in a folder is, if it is a kernel at all.
fn look(path: &Path) -> Result<Option<Input>, Error> {
    let mut head = Vec::new();
    let file = File::open(path).map_err(Error::io("opening", path))?;
    file.take(HEAD as u64).read_to_end(&mut head).map_err(Error::io("reading", path))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let is_module = module_stem(&name).is_some();
    let is_named_so = name.starts_with("vmlinux") || name.contains(".btf");
    let is_kernel = match form(&head) {
        Form::Elf | Form::Compressed if is_module => return Ok(Some(Input::Module(path.to_owned()))),
        Form::Btf | Form::Deb | Form::Rpm => true,
        // Of the many ELF files below /usr/lib/debug, few are kernels. BTFHub has ELF files called `.btf`.
        Form::Elf => is_named_so || input::bytes(path).is_ok_and(|bytes| is_kernel(&bytes)),
        Form::Compressed => is_named_so,
        Form::Tar | Form::Other => false,
    };
    Ok(is_kernel.then(|| Input::Found(path.to_owned())))
}

/// Whether an ELF file is a kernel, by its content.
fn is_kernel(bytes: &[u8]) -> bool {
    let facts = elf::facts(bytes).ok().filter(|facts| facts.machine != object::elf::EM_BPF.0);
    facts.is_some_and(|facts| facts.banner.is_some() || facts.btf.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_gone_through_in_order() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, content: &[u8]| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        };
        write("b/x.btf", b"\x9f\xeb\x01\0");
        write("a/2.deb", b"!<arch>\n");
        write("a/1.rpm", b"\xed\xab\xee\xdb");
        write("a/note.txt", b"hello");
        write("a/.state/x.btf", b"\x9f\xeb\x01\0");
        write("c/vmlinux-6.1", b"\x7fELF");
        write("c/nf.ko", b"\x7fELF");
        write("c/vdso.so", b"\x7fELF");
        // BTFHub has such.
        write("c/elf.btf", b"\x7fELF");
        std::os::unix::fs::symlink(root.path(), root.path().join("c/loop")).unwrap();
        let (inputs, errors) = expand(&[root.path().to_owned(), root.path().join("b/x.btf"), "running".into()]);
        assert!(errors.is_empty(), "{errors:?}");
        let names: Vec<_> = inputs.iter().map(|i| i.name().replace(root.path().to_str().unwrap(), "")).collect();
        assert_eq!(names, ["/a/1.rpm", "/a/2.deb", "/b/x.btf", "/c/elf.btf", "/c/nf.ko", "/c/vmlinux-6.1", "running"]);
        assert!(matches!(inputs[4], Input::Module(_)));
    }

    #[test]
    fn an_empty_folder_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        let (inputs, errors) = expand(&[root.path().to_owned()]);
        assert!(inputs.is_empty());
        assert!(errors[0].to_string().ends_with(": no kernel in this folder"));
    }
}
