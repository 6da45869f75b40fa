//! `cargo xtask deb`: the agents and offsetdb as Debian packages in `target/deb`.
//!
//! ```text
//! cargo build --release ─> stripped program ─┬─> files with owner root, times of the last commit ─> dpkg-deb ─> NAME_VERSION_ARCH.deb
//! man pages, completions: by the program ────┤                                                         │
//! service, settings, dashboard, scripts ─────┘                      unpacked again, and the program run <┘
//! ```
//!
//! The same sources and toolchain give the same bytes.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::{cargo, process, workspace};

/// What becomes a package.
struct Package {
    /// Of the package, its crate and its program.
    name: &'static str,
    /// One line, then what it does in more, each line begun with a blank.
    description: &'static str,
    /// Files of the checkout, and where they are installed.
    files: &'static [(&'static str, &'static str)],
    /// The same, but only where the checkout has them: data that is made.
    data: &'static [(&'static str, &'static str)],
    /// Packages that some of it needs, as the field `Suggests` has them.
    suggests: Option<&'static str>,
    /// Of these, those that the administrator changes.
    settings: &'static [&'static str],
    /// The folder with `postinst`, `prerm`, `postrm`, if it needs any.
    scripts: Option<&'static str>,
    /// How the program is asked for its man pages and completions.
    asked: Asked,
}

/// How a program is asked for its man pages and completions.
#[derive(Clone, Copy)]
enum Asked {
    /// `man FOLDER`, where each subcommand gets a page, and `completions SHELL`.
    BySubcommand,
    /// `--man`, which prints the one page, and `--completions SHELL`.
    ByOption,
}

const TCPRT: Package = Package {
    name: "tcprt",
    description: "response times of TCP servers and clients, by BPF\n \
        For each request and its response on a TCP connection that carries one at a\n \
        time (HTTP/1.1, MySQL, Redis) tcprt tells how long the request was coming, the\n \
        server took, and the response was going, with bytes, round trip time and\n \
        retransmissions; without the help of servers and clients, on stock kernels.\n .\n \
        It prints lines, sums up, draws, and serves metrics for Prometheus.",
    files: &[
        ("bpf/tcprt/tcprt.yaml", "etc/tcprt.yaml"),
        ("bpf/tcprt/debian/tcprt.service", "lib/systemd/system/tcprt.service"),
        ("bpf/tcprt/grafana.json", "usr/share/tcprt/grafana.json"),
        ("docs/tcprt.md", "usr/share/doc/tcprt/tcprt.md"),
        ("bpf/tcprt/debian/lintian-overrides", "usr/share/lintian/overrides/tcprt"),
        ("bpf/debian/copyright", "usr/share/doc/tcprt/copyright"),
    ],
    data: &[],
    suggests: None,
    settings: &["/etc/tcprt.yaml"],
    scripts: Some("bpf/tcprt/debian"),
    asked: Asked::BySubcommand,
};

const PINGTRACE: Package = Package {
    name: "pingtrace",
    description: "where a ping spends its time, stage by stage, by BPF\n \
        For each ping pingtrace tells how long it took from one point of the kernel to\n \
        the next, on the host that pings and on the one that answers, and at the end\n \
        which stage is to blame for what was slow. It pings by ICMP, UDP or TCP, over\n \
        IPv4 and IPv6, answers, or watches the pings of everyone on the machine; on\n \
        stock kernels.",
    files: &[
        ("docs/pingtrace.md", "usr/share/doc/pingtrace/pingtrace.md"),
        ("bpf/debian/copyright", "usr/share/doc/pingtrace/copyright"),
    ],
    data: &[],
    suggests: None,
    settings: &[],
    scripts: None,
    asked: Asked::ByOption,
};

const OFFSETDB: Package = Package {
    name: "offsetdb",
    description: "where functions and fields are in user libraries, for uprobes\n \
        A uprobe needs a file offset. offsetdb tells it of any function of any\n \
        library or program by the file's own labels, or by a database that it is\n \
        known in by its fingerprint; of stripped files too, whose functions it\n \
        identifies by other builds and by their own source. It says how sure it is.\n .\n \
        The database of Python's gRPC and of TLS libraries is in the package.",
    files: &[
        ("docs/offsetdb.md", "usr/share/doc/offsetdb/offsetdb.md"),
        ("offset-db/debian/copyright", "usr/share/doc/offsetdb/copyright"),
    ],
    data: &[("data/offsets.sqlite", "usr/share/lcc/offsets.sqlite")],
    // for `pull`
    suggests: Some("python3-pip, python3-venv, g++"),
    settings: &[],
    scripts: None,
    asked: Asked::BySubcommand,
};

const PACKAGES: [Package; 3] = [TCPRT, PINGTRACE, OFFSETDB];

/// Where the shells look for completions, and what they call them.
const COMPLETIONS: [(&str, &str); 3] = [
    ("bash", "usr/share/bash-completion/completions/NAME"),
    ("zsh", "usr/share/zsh/vendor-completions/_NAME"),
    ("fish", "usr/share/fish/vendor_completions.d/NAME.fish"),
];

/// Makes the packages, or those that are named, and returns their paths.
///
/// # Errors
/// There is no such package, a build failed, a program is missing (dpkg-deb, strip, objdump), a library's package is not known, or
/// the package does not hold what it should.
pub(crate) fn run(names: &[String]) -> Result<Vec<PathBuf>> {
    if let Some(unknown) = names.iter().find(|name| PACKAGES.iter().all(|package| package.name != *name)) {
        bail!("no package {unknown}; there are {}", PACKAGES.map(|package| package.name).join(", "));
    }
    let chosen = PACKAGES.iter().filter(|package| names.is_empty() || names.iter().any(|name| name == package.name));
    chosen.map(|package| make(package).with_context(|| format!("the package {}", package.name))).collect()
}

fn make(package: &Package) -> Result<PathBuf> {
    let root = workspace::root()?;
    let out = workspace::create(workspace::target()?.join("deb"))?;
    cargo::build_release(&["--package", package.name, "--bin", package.name])?;
    let built = workspace::target()?.join("release").join(package.name);
    let tree = out.join(format!("{}.unfinished", package.name));
    if tree.exists() {
        std::fs::remove_dir_all(&tree).with_context(|| format!("remove {}", tree.display()))?;
    }
    let program = tree.join("usr/bin").join(package.name);
    install(&built, &program, 0o755)?;
    process::run(process::command("strip", &root).args(["--strip-all", "--remove-section=.comment"]).arg(&program))?;
    for (from, _) in package.data.iter().filter(|(from, _)| !root.join(from).is_file()) {
        eprintln!("{}: without {from}, which is not made yet", package.name);
    }
    for (from, to) in installed(package, &root) {
        install(&root.join(from), &tree.join(to), 0o644)?;
    }
    let doc = tree.join("usr/share/doc").join(package.name);
    write(&doc.join("changelog"), &changelog(package.name, &root)?, 0o644)?;
    let man = workspace::create(tree.join("usr/share/man/man1"))?;
    match package.asked {
        Asked::BySubcommand => process::run(process::command(&program, &root).arg("man").arg(&man))?,
        Asked::ByOption => {
            let page = process::stdout_of(process::command(&program, &root).arg("--man"))?;
            write(&man.join(format!("{}.1", package.name)), &page, 0o644)?;
        }
    }
    for (shell, path) in COMPLETIONS {
        let completions = match package.asked {
            Asked::BySubcommand => "completions",
            Asked::ByOption => "--completions",
        };
        let text = process::stdout_of(process::command(&program, &root).args([completions, shell]))?;
        write(&tree.join(path.replace("NAME", package.name)), &text, 0o644)?;
    }
    let mut compressed = files_below(&man)?;
    compressed.push(doc.join("changelog"));
    for path in compressed {
        process::run(process::command("gzip", &root).args(["-9", "-n"]).arg(path))?;
    }
    control(package, &root, &tree, &program)?;
    let arch = process::stdout_of(process::command("dpkg", &root).arg("--print-architecture"))?;
    let deb = out.join(format!("{}_{}_{}.deb", package.name, env!("CARGO_PKG_VERSION"), arch.trim()));
    // lintian looks at the name's end
    let unfinished = out.join(format!("{}.unfinished.deb", package.name));
    let time = process::stdout_of(process::command("git", &root).args(["log", "-1", "--format=%ct"]))?;
    process::run(
        process::command("dpkg-deb", &root)
            .env("SOURCE_DATE_EPOCH", time.trim())
            .args(["--root-owner-group", "-Zxz", "--build"])
            .arg(&tree)
            .arg(&unfinished),
    )?;
    std::fs::remove_dir_all(&tree).with_context(|| format!("remove {}", tree.display()))?;
    check(package, &root, &unfinished)?;
    std::fs::rename(&unfinished, &deb).with_context(|| format!("write {}", deb.display()))?;
    Ok(deb)
}

/// The files of the checkout that are in a package, and where.
fn installed(package: &Package, root: &Path) -> Vec<(&'static str, &'static str)> {
    let made = package.data.iter().filter(|(from, _)| root.join(from).is_file());
    package.files.iter().chain(made).copied().collect()
}

/// What dpkg reads: the fields, sums, settings and scripts.
fn control(package: &Package, root: &Path, tree: &Path, program: &Path) -> Result<()> {
    let needed = process::stdout_of(process::command("objdump", root).arg("-p").arg(program))?;
    let arch = process::stdout_of(process::command("dpkg", root).arg("--print-architecture"))?;
    let (mut sums, mut bytes) = (String::new(), 0);
    for path in files_below(tree)? {
        let inside = path.strip_prefix(tree).unwrap_or(&path).display().to_string();
        bytes += std::fs::metadata(&path).with_context(|| path.display().to_string())?.len();
        if package.settings.iter().all(|settings| settings.trim_start_matches('/') != inside) {
            let sum = process::stdout_of(process::command("md5sum", root).arg(&path))?;
            let sum = sum.split(' ').next().unwrap_or_default();
            sums += &format!("{sum}  {inside}\n");
        }
    }
    let fields = format!(
        "Package: {}\nVersion: {}\nArchitecture: {}\nMaintainer: The lcc authors <lcc@localhost.localdomain>\n\
         Installed-Size: {}\nDepends: {}\n{}Section: admin\nPriority: optional\nDescription: {}\n",
        package.name,
        env!("CARGO_PKG_VERSION"),
        arch.trim(),
        bytes.div_ceil(1024),
        depends(&needed)?,
        package.suggests.map(|packages| format!("Suggests: {packages}\n")).unwrap_or_default(),
        package.description,
    );
    let folder = tree.join("DEBIAN");
    write(&folder.join("control"), &fields, 0o644)?;
    write(&folder.join("md5sums"), &sums, 0o644)?;
    if !package.settings.is_empty() {
        let settings: String = package.settings.iter().map(|path| format!("{path}\n")).collect();
        write(&folder.join("conffiles"), &settings, 0o644)?;
    }
    for script in scripts(package) {
        install(&root.join(&script), &folder.join(script.rsplit('/').next().unwrap_or_default()), 0o755)?;
    }
    Ok(())
}

/// What dpkg runs, by the path in the checkout.
fn scripts(package: &Package) -> Vec<String> {
    let of = |folder| ["postinst", "prerm", "postrm"].map(|script| format!("{folder}/{script}"));
    package.scripts.map(of).into_iter().flatten().collect()
}

/// The packages that a program's libraries are in, by what `objdump -p` says of it: Debian 12's names and later ones.
fn depends(objdump: &str) -> Result<String> {
    let mut needed = BTreeMap::new();
    for library in objdump.lines().filter_map(|line| line.trim().strip_prefix("NEEDED")) {
        let library = library.trim();
        let package = match library {
            "libc.so.6" | "libm.so.6" => "libc6",
            "libelf.so.1" => "libelf1 | libelf1t64",
            "libgcc_s.so.1" => "libgcc-s1",
            "libz.so.1" => "zlib1g",
            loader if loader.starts_with("ld-linux") => "libc6",
            other => bail!("it needs {other}, whose package is not known"),
        };
        needed.insert(package, String::new());
    }
    // symbols of the C library, by its version
    let versions =
        objdump.lines().filter_map(|line| line.split_whitespace().find_map(|word| word.strip_prefix("GLIBC_")));
    let numbers = |version: &str| version.split('.').map(|part| part.parse().unwrap_or(0)).collect::<Vec<u32>>();
    if let (Some(newest), Some(libc)) = (versions.max_by_key(|version| numbers(version)), needed.get_mut("libc6")) {
        *libc = format!(" (>= {newest})");
    }
    Ok(needed.into_iter().map(|(package, version)| format!("{package}{version}")).collect::<Vec<_>>().join(", "))
}

/// Debian's form of a changelog, with the date of the last commit.
fn changelog(name: &str, root: &Path) -> Result<String> {
    let date = process::stdout_of(process::command("git", root).args(["log", "-1", "--format=%cD"]))?;
    Ok(format!(
        "{name} ({}) unstable; urgency=medium\n\n  * See https://keepachangelog.com of the project: CHANGELOG.md.\n\n \
         -- The lcc authors <lcc@localhost.localdomain>  {}\n",
        env!("CARGO_PKG_VERSION"),
        date.trim()
    ))
}

/// Unpacks the package and runs its program; and lets lintian see it, where that is installed.
fn check(package: &Package, root: &Path, deb: &Path) -> Result<()> {
    let folder = tempfile::tempdir().context("a folder")?;
    process::run(process::command("dpkg-deb", root).arg("-x").arg(deb).arg(folder.path()))?;
    let program = folder.path().join("usr/bin").join(package.name);
    let version = process::stdout_of(process::command(&program, root).arg("--version"))?;
    if version.trim() != format!("{} {}", package.name, env!("CARGO_PKG_VERSION")) {
        bail!("the program in it says that it is {version:?}");
    }
    for (_, to) in installed(package, root) {
        if !folder.path().join(to).is_file() {
            bail!("it has no {to}");
        }
    }
    match process::find_program("lintian") {
        Some(lintian) => {
            process::run(process::command(lintian, root).args(["--fail-on", "error,warning"]).args(SUPPRESSED).arg(deb))
        }
        None => {
            eprintln!("not checked by lintian, which is not installed");
            Ok(())
        }
    }
}

/// What lintian says of packages that are part of Debian, and not of these: a bug number in the changelog, the mail address.
const SUPPRESSED: [&str; 2] =
    ["--suppress-tags", "initial-upload-closes-no-bugs,bogus-mail-host,bogus-mail-host-in-debian-changelog"];

fn install(from: &Path, to: &Path, mode: u32) -> Result<()> {
    let bytes = std::fs::read(from).with_context(|| format!("read {}", from.display()))?;
    put(to, &bytes, mode)
}

fn write(to: &Path, text: &str, mode: u32) -> Result<()> {
    put(to, text.as_bytes(), mode)
}

fn put(to: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    workspace::create(to.parent().unwrap_or(Path::new("/")).to_owned())?;
    std::fs::write(to, bytes).with_context(|| format!("write {}", to.display()))?;
    let permissions = std::fs::Permissions::from_mode(mode);
    std::fs::set_permissions(to, permissions).with_context(|| format!("write {}", to.display()))
}

/// All files, sorted.
fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))? {
        let path = entry.with_context(|| format!("read {}", folder.display()))?.path();
        if path.is_dir() {
            files.extend(files_below(&path)?);
        } else {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_packages() {
        let objdump = "Dynamic Section:\n  NEEDED               libelf.so.1\n  NEEDED               libz.so.1\n  \
                       NEEDED               libgcc_s.so.1\n  NEEDED               libm.so.6\n  NEEDED               libc.so.6\n  \
                       NEEDED               ld-linux-x86-64.so.2\n\nVersion References:\n  required from libc.so.6:\n    \
                       0x09691a75 0x00 09 GLIBC_2.2.5\n    0x069691b4 0x00 03 GLIBC_2.34\n    0x06969189 0x00 05 GLIBC_2.9\n";
        assert_eq!(depends(objdump).unwrap(), "libc6 (>= 2.34), libelf1 | libelf1t64, libgcc-s1, zlib1g");
        let error = depends("  NEEDED               libnew.so.3\n").unwrap_err();
        assert_eq!(error.to_string(), "it needs libnew.so.3, whose package is not known");
    }

    #[test]
    fn what_is_packaged_is_there() {
        let root = workspace::root().unwrap();
        for package in PACKAGES {
            let files = package.files.iter().map(|(from, _)| (*from).to_owned());
            for file in files.chain(scripts(&package)) {
                assert!(root.join(&file).is_file(), "{file}");
            }
            assert!(package.description.lines().skip(1).all(|line| line.starts_with(' ') && line.len() <= 80));
        }
    }
}
