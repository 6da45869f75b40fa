//! Which inputs a run works on.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::modules::Modules;
use crate::error::Error;
use crate::input::expand::Input;
use crate::input::package::{self, module_stem};
use crate::input::{self, elf, running};
use crate::kernel_id::Identity;
use packages::spill::Bytes;

/// An input, and the module files that belong to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// The kernel.
    pub input: Input,
    /// Its modules.
    pub modules: Modules,
}

/// Makes units of the inputs: each kernel is one, with the module files of its release. `wanted` says whether modules are
/// taken from packages, folders and the running kernel, too; those that an argument names are taken anyhow.
///
/// Beside them, the modules that belong to no kernel of the inputs.
pub fn units(inputs: Vec<Input>, wanted: bool, root: &Path) -> (Vec<Unit>, Vec<Error>) {
    let mut errors = Vec::new();
    let mut files: BTreeMap<Option<String>, Vec<(PathBuf, bool)>> = BTreeMap::new();
    let mut kernels = Vec::new();
    for input in inputs {
        match &input {
            Input::Named(path) | Input::Module(path) if module_stem(&path.to_string_lossy()).is_some() => {
                let named = matches!(input, Input::Named(_));
                if !named && !wanted {
                    continue;
                }
                match release_of_module(path) {
                    Ok(release) => files.entry(release).or_default().push((path.clone(), named)),
                    Err(error) => errors.push(error),
                }
            }
            _ => kernels.push(input),
        }
    }
    let only = kernels.len() == 1;
    let mut units = Vec::new();
    for input in kernels {
        // Only where there are module files must the kernels be looked into beforehand.
        let release = if files.is_empty() { None } else { release_of_kernel(&input, root) };
        let of_release = release.as_ref().and_then(|release| files.remove(&Some(release.clone())));
        let own: Vec<(PathBuf, bool)> = match (of_release, release) {
            (Some(files), _) => files,
            // The only kernel has all of them: whether they fit is seen when it is read.
            (None, None) if only => std::mem::take(&mut files).into_values().flatten().collect(),
            _ => Vec::new(),
        };
        let modules = match &input {
            _ if !own.is_empty() => Modules::Files(own.into_iter().map(|(path, _)| path).collect()),
            Input::Running if wanted => Modules::Running(root.to_owned()),
            Input::Named(path) | Input::Found(path) if wanted && package::is_package(path).unwrap_or(false) => {
                Modules::Package(path.clone())
            }
            _ => Modules::None,
        };
        units.push(Unit { input, modules });
    }
    for (release, left) in files {
        let (path, _) = &left[0];
        let release = release.unwrap_or_else(|| "of an unknown release".into());
        let others = if left.len() == 1 { String::new() } else { format!(" (nor are {} more)", left.len() - 1) };
        let what =
            format!("is a module of kernel {release}, which is not among the inputs{others}: give its vmlinux too");
        errors.push(Error::NoKernel { origin: path.display().to_string(), what });
    }
    (units, errors)
}

/// The release that a module was made for: by its folder, or what it says.
fn release_of_module(path: &Path) -> Result<Option<String>, Error> {
    if let Some(release) = path.to_string_lossy().rsplit_once("/modules/").and_then(|(_, rest)| rest.split('/').next())
    {
        return Ok(Some(release.to_owned()));
    }
    let bytes = input::bytes(path)?;
    let origin = path.display().to_string();
    let facts = elf::facts(&bytes).map_err(Error::fault(&origin, path))?;
    Ok(facts.module.and_then(|module| module.release))
}

/// The release of a kernel, where that can be told without unpacking anything.
fn release_of_kernel(input: &Input, root: &Path) -> Option<String> {
    let Some(path) = input.path() else { return running::identity(root).release };
    let by_name = || input::release_of_name(&input.name());
    if let Some(identity) = Identity::of_path(path) {
        return identity.release;
    }
    let file = std::fs::File::open(path).ok()?;
    let bytes = Bytes::of_file(&file).ok()?;
    if !bytes.starts_with(elf::MAGIC) {
        return by_name();
    }
    elf::facts(&bytes).ok()?.banner.map(|banner| banner.release).or_else(by_name)
}

/// One of several machines that share the inputs: `i/n`, `i` from 0.
///
/// The inputs, in the order that [`expand`](crate::input::expand::expand) gives, are dealt out in turn: machine `i` takes
/// those whose number leaves `i` when divided by `n`. So the machines must be given the same arguments, and each input is
/// worked on by exactly one; nothing has to be read to know which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    index: usize,
    count: usize,
}

/// A text that is no [`Shard`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a shard is i/n with 0 <= i < n, as 0/4 for the first of four")]
pub struct InvalidShard;

impl Shard {
    /// All of it.
    pub const WHOLE: Shard = Shard { index: 0, count: 1 };

    /// The part of `inputs` that is this machine's.
    pub fn of<T>(self, inputs: Vec<T>) -> Vec<T> {
        inputs.into_iter().skip(self.index).step_by(self.count).collect()
    }
}

impl FromStr for Shard {
    type Err = InvalidShard;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (index, count) = text.split_once('/').ok_or(InvalidShard)?;
        let number = |text: &str| text.parse::<usize>().map_err(|_| InvalidShard);
        let shard = Shard { index: number(index)?, count: number(count)? };
        if shard.index < shard.count { Ok(shard) } else { Err(InvalidShard) }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_input_is_in_one_shard() {
        for count in 1..7 {
            let mut all: Vec<u32> = Vec::new();
            for index in 0..count {
                let shard: Shard = format!("{index}/{count}").parse().unwrap();
                let part = shard.of((0..20).collect());
                assert!(part.len().abs_diff(20 / count) <= 1);
                all.extend(part);
            }
            all.sort();
            assert_eq!(all, (0..20).collect::<Vec<_>>());
        }
        assert_eq!("3/4".parse::<Shard>().unwrap().of(vec![0, 1]), Vec::<i32>::new());
    }

    #[test]
    fn what_is_no_shard_is_refused() {
        for text in ["", "1", "4/4", "0/0", "-1/2", "a/b", "1/2/3"] {
            assert_eq!(text.parse::<Shard>(), Err(InvalidShard), "{text}");
        }
    }
}
