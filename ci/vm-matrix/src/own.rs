//! Kernels with DWARF and without BTF: built from Debian's sources with a small configuration, and kept.
//!
//! ```text
//! linux-source-*.deb ─> the sources ────────────────────────────┐
//! fragments, laid over allnoconfig ─> .config, checked ─────────┴─> make ─> bzImage, vmlinux ─> CACHE/own/KEY
//! ```
//!
//! A build takes a quarter of an hour of a processor and some gigabytes, of which it leaves two files. KEY is of all that goes into it,
//! so the same sources, settings and compiler are built once. Neither time nor place of a build is in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use object::{Object, ObjectSection, ReadCache};
use xxhash_rust::xxh3::Xxh3;

use crate::kept::Contents;

/// To be raised with every change of how a kernel is built.
const RECIPE: u32 = 1;

/// A fragment of the project's, by its name: `ci/vm-matrix/own/NAME.config`.
///
/// # Errors
/// There is none of that name.
pub fn fragment(name: &str) -> Result<&'static str> {
    match name {
        "small" => Ok(include_str!("../own/small.config")),
        "no-kprobes" => Ok(include_str!("../own/no-kprobes.config")),
        _ => bail!("no fragment {name}: there are small and no-kprobes"),
    }
}

/// What to build.
#[derive(Clone, Copy, Debug)]
pub struct Recipe<'r> {
    /// Debian's package of the sources: `linux-source-6.1_*_all.deb`.
    pub source: &'r Path,
    /// Settings as `.config` has them, laid over `allnoconfig`. A later fragment wins.
    pub fragments: &'r [&'r str],
}

/// A kernel in the cache.
#[derive(Clone, Debug)]
pub struct Built {
    /// As `uname -r` gives it: `6.1.192-lcc-small`.
    pub release: String,
    /// What a boot loader takes.
    pub image: PathBuf,
    /// The same as ELF, with DWARF and without BTF.
    pub vmlinux: PathBuf,
}

impl Built {
    fn read(folder: &Path) -> Result<Self> {
        let path = folder.join("release");
        let release = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        Ok(Self {
            release: release.trim_end().to_owned(),
            image: folder.join("bzImage"),
            vmlinux: folder.join("vmlinux"),
        })
    }
}

/// Builds a kernel for amd64, or finds it in the cache.
///
/// # Errors
/// A fragment or the package cannot be read, a setting does not come into effect, a program failed (the message names the log), or
/// the kernel has no DWARF or has BTF.
pub fn build(recipe: &Recipe<'_>, cache: &Path) -> Result<Built> {
    let settings = settings(recipe.fragments)?;
    let key = key(hash_of(recipe.source)?, &settings, &compiler()?, RECIPE);
    // make works in another folder
    let folder = std::path::absolute(cache.join("own")).context("find the cache")?;
    let kept = folder.join(&key);
    if Contents::of_intact(&kept).is_some() {
        return Built::read(&kept);
    }
    std::fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    let log = Log::wait_for(folder.join(format!("{key}.log")))?;
    // another process may have built it meanwhile
    if Contents::of_intact(&kept).is_none() {
        let work = WorkFolder::create(folder.join(format!("{key}.unfinished")))?;
        let made = make(recipe.source, &settings, &work.0, &log)?;
        Contents::keep(&made, &kept, key, Vec::new())?;
    }
    log.remove();
    Built::read(&kept)
}

/// Unpacks, configures and builds in the folder `work`. Gives the folder in it with what is to be kept.
fn make(deb: &Path, settings: &Settings<'_>, work: &Path, log: &Log) -> Result<PathBuf> {
    let [package, sources, made] = ["package", "linux", "made"].map(|name| work.join(name));
    for folder in [&package, &sources, &made] {
        std::fs::create_dir(folder).with_context(|| format!("create {}", folder.display()))?;
    }
    log.run(command("dpkg-deb").arg("-x").arg(deb).arg(&package))?;
    let archive = archive_in(&package.join("usr/src"))
        .with_context(|| format!("{}: no usr/src/linux-source-*.tar.xz in it", deb.display()))?;
    log.run(command("tar").arg("-xf").arg(archive).arg("--strip-components=1").arg("-C").arg(&sources))?;

    let laid_over = work.join("small.config");
    std::fs::write(&laid_over, text_of(settings)).with_context(|| format!("write {}", laid_over.display()))?;
    log.run(make_command(&sources).env("KCONFIG_ALLCONFIG", &laid_over).arg("allnoconfig"))?;
    let path = sources.join(".config");
    let config = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let ineffective = ineffective(settings, &self::settings(&[&config])?, &symbols_below(&sources)?);
    if !ineffective.is_empty() {
        bail!("{}: settings without effect: {}", deb.display(), ineffective.join(", "));
    }
    std::fs::write(made.join("config"), config).context("write the configuration")?;

    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    log.run(make_command(&sources).arg(format!("-j{jobs}")).arg("bzImage"))?;
    for (from, to) in
        [("arch/x86/boot/bzImage", "bzImage"), ("vmlinux", "vmlinux"), ("include/config/kernel.release", "release")]
    {
        std::fs::rename(sources.join(from), made.join(to)).with_context(|| format!("keep {from}"))?;
    }
    check_sections(&made.join("vmlinux")).with_context(|| format!("the kernel of {}", deb.display()))?;
    Ok(made)
}

/// A program in an environment that does not change what it makes.
fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    command.env("LC_ALL", "C").env("TZ", "UTC").stdin(Stdio::null());
    command
}

/// The kernel's make, which asks for what it then writes into the kernel (Linux, `Documentation/kbuild/reproducible-builds.rst`).
fn make_command(sources: &Path) -> Command {
    let mut make = command("make");
    let without_place = format!("-ffile-prefix-map={}=.", sources.display());
    make.env("KBUILD_BUILD_TIMESTAMP", "2020-01-01").env("KBUILD_BUILD_VERSION", "1");
    make.env("KBUILD_BUILD_USER", "lcc").env("KBUILD_BUILD_HOST", "lcc");
    make.env("KCFLAGS", &without_place).env("KAFLAGS", &without_place);
    // 6.1 asks pahole for its version, wherever there is one
    make.arg("-C").arg(sources).args(["ARCH=x86_64", "PAHOLE=none"]);
    make
}

fn archive_in(folder: &Path) -> Option<PathBuf> {
    let is_archive = |name: &str| name.starts_with("linux-source-") && name.contains(".tar.");
    let entries = std::fs::read_dir(folder).ok()?.flatten();
    entries
        .map(|entry| entry.path())
        .find(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(is_archive))
}

/// What custom BTF is made of is there, and the kernel's own is not.
fn check_sections(vmlinux: &Path) -> Result<()> {
    let file = File::open(vmlinux).with_context(|| format!("open {}", vmlinux.display()))?;
    let cache = ReadCache::new(file);
    let elf = object::File::parse(&cache).with_context(|| format!("read {}", vmlinux.display()))?;
    let has = |name| elf.section_by_name(name).is_some_and(|section| section.size() > 0);
    if !has(".debug_info") {
        bail!("vmlinux has no .debug_info");
    }
    if has(".BTF") {
        bail!("vmlinux has a .BTF");
    }
    Ok(())
}

/// Symbols without `CONFIG_`, and their values: `y`, `"text"`, `250`. One that is not set has the value `n`.
type Settings<'t> = BTreeMap<&'t str, &'t str>;

fn settings<'t>(fragments: &[&'t str]) -> Result<Settings<'t>> {
    let mut settings = Settings::new();
    for line in fragments.iter().flat_map(|fragment| fragment.lines()) {
        let (symbol, value) = if let Some(unset) = line.strip_prefix("# CONFIG_") {
            (unset.strip_suffix(" is not set"), "n")
        } else if line.is_empty() || line.starts_with('#') {
            continue;
        } else {
            let pair = line.strip_prefix("CONFIG_").and_then(|pair| pair.split_once('='));
            pair.map_or((None, ""), |(symbol, value)| (Some(symbol), value))
        };
        settings.insert(symbol.with_context(|| format!("no setting of a configuration: {line}"))?, value);
    }
    Ok(settings)
}

fn text_of(settings: &Settings<'_>) -> String {
    let line = |(symbol, value): (&&str, &&str)| match *value {
        "n" => format!("# CONFIG_{symbol} is not set\n"),
        value => format!("CONFIG_{symbol}={value}\n"),
    };
    settings.iter().map(line).collect()
}

/// What is otherwise in the configuration than it was wanted, of the symbols that this line of the kernel knows: `kconfig` drops
/// without a word what depends on something that is not set.
fn ineffective(wanted: &Settings<'_>, config: &Settings<'_>, known: &BTreeSet<String>) -> Vec<String> {
    let known = wanted.iter().filter(|(symbol, _)| known.contains(**symbol));
    let told = known.filter_map(|(symbol, value)| {
        let is = config.get(symbol).unwrap_or(&"n");
        (is != value).then(|| format!("CONFIG_{symbol} is {is}, not {value}"))
    });
    told.collect()
}

/// The symbols of the `Kconfig` files, but not those of other architectures.
fn symbols_below(sources: &Path) -> Result<BTreeSet<String>> {
    let mut symbols = BTreeSet::new();
    let mut open = vec![sources.to_path_buf()];
    while let Some(folder) = open.pop() {
        let is_arch = folder == sources.join("arch");
        for entry in std::fs::read_dir(&folder).with_context(|| format!("read {}", folder.display()))?.flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if !is_arch || name == "x86" {
                    open.push(path);
                }
            } else if name.to_string_lossy().starts_with("Kconfig") {
                let text = std::fs::read(&path).with_context(|| format!("read {}", path.display()))?;
                symbols.extend(symbols_of(&String::from_utf8_lossy(&text)).map(str::to_owned));
            }
        }
    }
    Ok(symbols)
}

fn symbols_of(kconfig: &str) -> impl Iterator<Item = &str> {
    kconfig.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let symbol = matches!(words.next()?, "config" | "menuconfig").then(|| words.next())??;
        words.next().is_none_or(|word| word.starts_with('#')).then_some(symbol)
    })
}

/// The name of a kernel in the cache.
fn key(source: u128, settings: &Settings<'_>, compiler: &str, recipe: u32) -> String {
    let mut hash = Xxh3::new();
    let settings = text_of(settings);
    for part in [&source.to_le_bytes()[..], settings.as_bytes(), compiler.as_bytes(), &recipe.to_le_bytes()] {
        hash.update(&(part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    format!("{:032x}", hash.digest128())
}

fn hash_of(path: &Path) -> Result<u128> {
    let mut reader =
        BufReader::with_capacity(1 << 20, File::open(path).with_context(|| format!("open {}", path.display()))?);
    let mut hash = Xxh3::new();
    loop {
        let bytes = reader.fill_buf().with_context(|| format!("read {}", path.display()))?;
        if bytes.is_empty() {
            return Ok(hash.digest128());
        }
        hash.update(bytes);
        let read = bytes.len();
        reader.consume(read);
    }
}

/// The first line of what the compiler says of itself: `gcc (Debian 12.2.0-14+deb12u1) 12.2.0`.
fn compiler() -> Result<String> {
    let output = command("gcc").arg("--version").output().context("start gcc")?;
    let said = String::from_utf8_lossy(&output.stdout);
    said.lines().next().map(str::to_owned).context("gcc does not say its version")
}

/// What the programs of a build print. While it is open, no other process builds the same kernel.
struct Log {
    path: PathBuf,
    file: File,
}

impl Log {
    fn wait_for(path: PathBuf) -> Result<Self> {
        let file = File::options().append(true).create(true).open(&path);
        let file = file.with_context(|| format!("create {}", path.display()))?;
        file.lock().and_then(|()| file.set_len(0)).with_context(|| format!("lock {}", path.display()))?;
        Ok(Self { path, file })
    }

    /// Says what is run, and runs it.
    fn run(&self, command: &mut Command) -> Result<()> {
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let line = words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
        eprintln!("+ {line} > {}", self.path.display());
        let output = || self.file.try_clone().with_context(|| format!("write {}", self.path.display()));
        let status = command.stdout(output()?).stderr(output()?).status().with_context(|| format!("start {line}"))?;
        if !status.success() {
            let said = std::fs::read(&self.path).unwrap_or_default();
            let said = String::from_utf8_lossy(&said);
            bail!("{line} ended with {status}: {}; see {}", last_error(&said), self.path.display());
        }
        Ok(())
    }

    /// For a build that came to its end.
    fn remove(self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// What says most of why a build failed: the compiler's last error, or make's first with the line before it, or the last line.
fn last_error(said: &str) -> String {
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if let Some(line) = lines.iter().rfind(|line| line.contains("error:")) {
        return (*line).to_owned();
    }
    match lines.iter().position(|line| line.contains("*** ")) {
        Some(at) => lines[at.saturating_sub(1)..=at].join("; "),
        None => lines.last().copied().unwrap_or_default().to_owned(),
    }
}

/// A folder of gigabytes, gone when the build ends. What an interrupted build left of it is removed before.
struct WorkFolder(PathBuf);

impl WorkFolder {
    fn create(path: PathBuf) -> Result<Self> {
        if path.exists() {
            std::fs::remove_dir_all(&path).with_context(|| format!("remove {}", path.display()))?;
        }
        std::fs::create_dir(&path).with_context(|| format!("create {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for WorkFolder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("remove {}: {error}", self.0.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_fragments_win_and_their_order_is_no_matter() {
        let settings =
            settings(&["# why\n\nCONFIG_A=y\nCONFIG_B=\"b=c\"\n", "# CONFIG_A is not set\nCONFIG_HZ=250\n"]).unwrap();
        assert_eq!(text_of(&settings), "# CONFIG_A is not set\nCONFIG_B=\"b=c\"\nCONFIG_HZ=250\n");
        assert_eq!(super::settings(&[&text_of(&settings)]).unwrap(), settings);
    }

    #[test]
    fn what_is_no_setting_is_named() {
        let check = |line: &str| {
            let error = settings(&[line]).unwrap_err();
            assert_eq!(error.to_string(), format!("no setting of a configuration: {line}"));
        };
        check("A=y");
        check("CONFIG_A");
        check("# CONFIG_A is unset");
    }

    #[test]
    fn the_fragments_of_this_folder_are_settings() {
        let [small, no_kprobes] = [include_str!("../own/small.config"), include_str!("../own/no-kprobes.config")];
        let value = |fragments: &[&'static str]| settings(fragments).unwrap()["KPROBES"];
        assert_eq!([value(&[small]), value(&[small, no_kprobes])], ["y", "n"]);
    }

    #[test]
    fn a_key_is_of_all_that_goes_into_a_kernel() {
        let [with, without] = ["CONFIG_A=y", "# CONFIG_A is not set"].map(|text| settings(&[text]).unwrap());
        let keys = BTreeSet::from([
            key(1, &with, "gcc 12", 1),
            key(2, &with, "gcc 12", 1),
            key(1, &without, "gcc 12", 1),
            key(1, &Settings::new(), "gcc 12", 1),
            key(1, &with, "gcc 13", 1),
            key(1, &with, "gcc 12", 2),
        ]);
        assert_eq!(keys.len(), 6);
        let commented = settings(&["# why\nCONFIG_A=y\n"]).unwrap();
        assert_eq!(key(1, &with, "gcc 12", 1), key(1, &commented, "gcc 12", 1));
    }

    #[test]
    fn settings_without_effect() {
        fn check(wanted: &str, config: &str, expected: &[&str]) {
            let known = ["A", "TEXT"].map(str::to_owned).into();
            let [wanted, config] = [wanted, config].map(|text| settings(&[text]).unwrap());
            assert_eq!(ineffective(&wanted, &config, &known), expected);
        }
        check("CONFIG_A=y", "CONFIG_A=y", &[]);
        check("CONFIG_A=y", "# CONFIG_A is not set", &["CONFIG_A is n, not y"]);
        check("CONFIG_A=y", "", &["CONFIG_A is n, not y"]);
        check("# CONFIG_A is not set", "CONFIG_A=y", &["CONFIG_A is y, not n"]);
        check("# CONFIG_A is not set", "", &[]);
        check("CONFIG_TEXT=\"a\"", "CONFIG_TEXT=\"\"", &["CONFIG_TEXT is \"\", not \"a\""]);
        // this line of the kernel has no such symbol
        check("CONFIG_UNKNOWN=y", "", &[]);
    }

    #[test]
    fn symbols_of_kconfig() {
        let kconfig = "menuconfig NET\n\tbool \"Networking\"\nif NET\n\tconfig  INET # the internet\n\thelp\n\t  config files of old\n";
        assert_eq!(symbols_of(kconfig).collect::<Vec<_>>(), ["NET", "INET"]);
    }

    #[test]
    fn the_last_error() {
        let check = |said, expected| assert_eq!(last_error(said), expected);
        check(
            "  CC a.o\na.c:1:2: error: no\n  CC b.o\nmake[1]: *** [a.o] Error 1\nmake: *** [a] Error 2\n",
            "a.c:1:2: error: no",
        );
        check(
            "  LEX x\n/bin/sh: 1: flex: not found\nmake[1]: *** [x] Error 127\nmake: *** [y] Error 2\n",
            "/bin/sh: 1: flex: not found; make[1]: *** [x] Error 127",
        );
        check("make: *** [a.o] Error 1\n", "make: *** [a.o] Error 1");
        check("one\ntwo\n\n", "two");
        check("", "");
    }
}
