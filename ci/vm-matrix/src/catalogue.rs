//! Which kernels there are: `kernels.toml`.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use apt::Suite;
use serde::{Deserialize, Serialize};

/// The project's kernels.
pub const KERNELS: &str = include_str!("../kernels.toml");

/// An architecture, by Debian's name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Architecture {
    /// x86-64.
    #[default]
    Amd64,
    /// AArch64.
    Arm64,
    /// x86 of 32 bits.
    I386,
    /// ARMv7 with floating point. Not booted.
    Armhf,
}

impl Architecture {
    /// Debian's name.
    pub fn name(self) -> &'static str {
        match self {
            Architecture::Amd64 => "amd64",
            Architecture::Arm64 => "arm64",
            Architecture::I386 => "i386",
            Architecture::Armhf => "armhf",
        }
    }

    /// What emulates it.
    pub fn emulator(self) -> &'static str {
        match self {
            Architecture::Amd64 | Architecture::I386 => "qemu-system-x86_64",
            Architecture::Arm64 => "qemu-system-aarch64",
            Architecture::Armhf => "qemu-system-arm",
        }
    }

    pub(crate) fn machine(self) -> &'static str {
        match self {
            Architecture::Amd64 | Architecture::I386 => "q35",
            Architecture::Arm64 | Architecture::Armhf => "virt",
        }
    }

    /// The emulated processor. For AArch64 `max` would take twice the time. Where x86 says that it is quick at moving single bytes (ERMS),
    /// the kernel and libc move so, and TCG does it byte by byte: what loads BPF objects then takes 1.4 times the processor's time.
    pub(crate) fn processor(self) -> &'static str {
        match self {
            Architecture::Arm64 => "cortex-a57",
            Architecture::Armhf => "cortex-a15",
            Architecture::Amd64 | Architecture::I386 => "max,erms=off",
        }
    }

    /// The serial console.
    pub(crate) fn console(self) -> &'static str {
        match self {
            Architecture::Amd64 | Architecture::I386 => "ttyS0",
            Architecture::Arm64 | Architecture::Armhf => "ttyAMA0",
        }
    }

    /// Whether this machine's processor is one, so that it could run the kernel itself.
    pub fn is_here(self) -> bool {
        match self {
            Architecture::Amd64 | Architecture::I386 => cfg!(target_arch = "x86_64"),
            Architecture::Arm64 => cfg!(target_arch = "aarch64"),
            Architecture::Armhf => false,
        }
    }
}

/// Where the BTF of a kernel without one comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Btf {
    /// Made of its DWARF.
    Debug,
    /// The shipped pack.
    Pack,
}

/// A kernel, as the file has it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kernel {
    /// What it is called.
    pub name: String,
    /// Whose it is.
    #[serde(default)]
    pub arch: Architecture,
    /// The suite that has its package.
    pub suite: String,
    /// `5.10`; without it the newest.
    pub line: Option<String>,
    /// The end of the package's name.
    pub flavour: Option<String>,
    /// Where its BTF comes from; else it has its own.
    pub btf: Option<Btf>,
    /// The package with its source.
    pub source: Option<String>,
    /// Fragments of its configuration.
    #[serde(default)]
    pub config: Vec<String>,
    /// Whether it is booted.
    #[serde(default = "yes")]
    pub boot: bool,
    /// The names of its variants.
    #[serde(default)]
    pub variants: Vec<String>,
    /// Whether all tests are run.
    #[serde(default)]
    pub thorough: bool,
    /// Whether it is one of the few of every run.
    #[serde(default)]
    pub fast: bool,
}

/// How a kernel is set otherwise.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variant {
    /// What for.
    pub about: String,
    /// Whether its BTF is hidden.
    #[serde(default)]
    pub hide_btf: bool,
    /// Where BTF comes from then.
    pub btf: Option<Btf>,
    /// More of the kernel's command line.
    #[serde(default)]
    pub arguments: String,
    /// The security modules.
    pub lsm: Option<String>,
    /// What is written below `/proc/sys`.
    #[serde(default)]
    pub sysctl: BTreeMap<String, String>,
    /// Whom objects are verified as.
    pub user: Option<u32>,
    /// Whether tests are run.
    #[serde(default = "yes")]
    pub tests: bool,
    /// Whether it is one of the few of every run.
    #[serde(default)]
    pub fast: bool,
}

fn yes() -> bool {
    true
}

/// What the matrix runs: a kernel, and how it is set.
#[derive(Clone, Debug)]
pub struct Entry {
    /// `6.1-cloud`, `6.1-cloud+unprivileged`.
    pub name: String,
    /// The kernel.
    pub kernel: Kernel,
    /// `None` is the kernel as it comes.
    pub variant: Option<Variant>,
}

impl Entry {
    /// The suite that has its package.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn suite(&self) -> Result<Suite> {
        Suite::of(&self.kernel.suite).with_context(|| format!("{}: no suite {}", self.name, self.kernel.suite))
    }

    /// Where its BTF comes from; `None`: its own.
    pub fn btf(&self) -> Option<Btf> {
        let own = self.kernel.source.is_some().then_some(Btf::Debug);
        self.variant.as_ref().and_then(|variant| variant.btf).or(self.kernel.btf).or(own)
    }

    /// Whether it is one of the few of every run.
    pub fn is_fast(&self) -> bool {
        self.variant.as_ref().map_or(self.kernel.fast, |variant| variant.fast)
    }

    /// Whether tests are run on it.
    pub fn has_tests(&self) -> bool {
        self.variant.as_ref().is_none_or(|variant| variant.tests)
    }

    /// Whether all tests are.
    pub fn is_thorough(&self) -> bool {
        self.variant.is_none() && self.kernel.thorough
    }

    /// The kernel's command line, but for the console.
    pub fn arguments(&self) -> String {
        let variant = self.variant.as_ref();
        let lsm = variant.and_then(|variant| variant.lsm.as_deref()).unwrap_or("lockdown,yama,bpf");
        let more = variant.map_or("", |variant| &variant.arguments);
        format!("reboot=t lsm={lsm} {more}").trim().to_owned()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Catalogue {
    kernel: Vec<Kernel>,
    #[serde(default)]
    variant: BTreeMap<String, Variant>,
}

/// Reads a file of kernels: all entries, those of one kernel one behind the other.
///
/// # Errors
/// It is no such file; the message has line and column. Two have one name, or an entry lacks what it needs.
pub fn read(text: &str) -> Result<Vec<Entry>> {
    let Catalogue { kernel: kernels, variant: variants } = toml::from_str(text).context("read the kernels")?;
    let mut entries: Vec<Entry> = Vec::new();
    for kernel in kernels {
        if kernel.source.is_some() == kernel.flavour.is_some() {
            bail!("{}: either a flavour or a source", kernel.name);
        }
        if !kernel.boot && kernel.btf != Some(Btf::Debug) {
            bail!("{}: a kernel that is not booted needs btf = \"debug\"", kernel.name);
        }
        if kernel.boot && kernel.arch == Architecture::Armhf {
            bail!("{}: armhf is not booted", kernel.name);
        }
        entries.push(Entry { name: kernel.name.clone(), kernel: kernel.clone(), variant: None });
        for name in &kernel.variants {
            let variant = variants.get(name).with_context(|| format!("{}: no variant {name}", kernel.name))?;
            let entry = format!("{}+{name}", kernel.name);
            entries.push(Entry { name: entry, kernel: kernel.clone(), variant: Some(variant.clone()) });
        }
    }
    let mut names: Vec<&str> = entries.iter().map(|entry| &*entry.name).collect();
    names.sort_unstable();
    if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        bail!("two entries are called {}", pair[0]);
    }
    entries.iter().try_for_each(|entry| entry.suite().map(drop))?;
    Ok(entries)
}

/// Whether a name is one that was asked for: `*` stands for anything.
pub fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((begin, rest)) => name
            .strip_prefix(begin)
            .is_some_and(|left| (0..=left.len()).any(|at| left.is_char_boundary(at) && matches(rest, &left[at..]))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_projects_own_file_is_read() {
        let entries = read(KERNELS).unwrap();
        let booted = entries.iter().filter(|entry| entry.kernel.boot);
        assert!(booted.count() >= 20);
        let fast: Vec<&Entry> = entries.iter().filter(|entry| entry.is_fast()).collect();
        assert_eq!(fast.len(), 4, "CI boots four");
        assert!(fast.iter().any(|entry| entry.btf().is_some()), "one of them without BTF");
    }

    #[test]
    fn mistakes_are_told() {
        let check = |text: &str, expected: &str| {
            let error = format!("{:#}", read(text).unwrap_err());
            assert!(error.contains(expected), "{error}");
        };
        let kernel = "[[kernel]]\nname = \"a\"\nsuite = \"bookworm\"\n";
        check("kernel = 3", "line 1");
        check(&format!("{kernel}colour = 1"), "unknown field `colour`");
        check(kernel, "a: either a flavour or a source");
        check(&format!("{kernel}flavour = \"amd64\"\nvariants = [\"b\"]"), "a: no variant b");
        check(&format!("{kernel}flavour = \"x\"\n{kernel}flavour = \"x\""), "two entries are called a");
        check(&format!("{}flavour = \"x\"", kernel.replace("bookworm", "warty")), "a: no suite warty");
    }

    #[test]
    fn names_are_asked_for_by_patterns() {
        let check = |pattern, name, expected| assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        check("6.1", "6.1", true);
        check("6.1", "6.1-cloud", false);
        check("6.1*", "6.1-cloud+unprivileged", true);
        check("*-arm64", "6.12-arm64", true);
        check("*cloud", "6.1-cloud+unprivileged", false);
        check("*+*", "6.1-cloud+unprivileged", true);
        check("**", "", true);
    }
}
