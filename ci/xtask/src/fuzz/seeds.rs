//! Makes the committed seeds from the C files in `fuzz/seed-sources`: one for each format and each trait of it.

use super::rpm;
use crate::{cargo, process, workspace};
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

/// The compiler and its options, by the seed's name. Each is linked or left relocatable as the options say.
const DWARF: &[(&str, &str, &[&str])] = &[
    ("v2", "gcc", &["-gdwarf-2", "-gstrict-dwarf", "-c"]),
    ("v3", "gcc", &["-gdwarf-3", "-gstrict-dwarf", "-c"]),
    ("v4", "gcc", &["-gdwarf-4", "-c"]),
    ("v5", "gcc", &["-gdwarf-5", "-c"]),
    ("v5-linked", "gcc", &["-gdwarf-5", "-shared", "-nostdlib", "-fPIC"]),
    ("v5-clang", "clang", &["-gdwarf-5", "-c"]),
    ("v5-big-endian", "clang", &["-gdwarf-5", "-c", "--target=s390x-linux-gnu"]),
    ("v4-arm64", "clang", &["-gdwarf-4", "-c", "--target=aarch64-linux-gnu"]),
    ("64-bit-format", "gcc", &["-gdwarf-5", "-gdwarf64", "-c"]),
    ("type-units", "gcc", &["-gdwarf-4", "-fdebug-types-section", "-c"]),
    ("type-units-v5", "gcc", &["-gdwarf-5", "-fdebug-types-section", "-c"]),
    ("skeleton", "gcc", &["-gdwarf-5", "-gsplit-dwarf", "-c"]),
    ("zlib", "gcc", &["-gdwarf-5", "-gz=zlib", "-c"]),
    ("zlib-gnu", "gcc", &["-gdwarf-4", "-gz=zlib-gnu", "-c"]),
];

/// Replaces the seeds of every target that has C files or packages to make them from.
///
/// # Errors
/// A compiler or another tool failed, or a file cannot be written.
pub(crate) fn make(fuzz: &Path) -> Result<()> {
    let sources = fuzz.join("seed-sources");
    let seeds = fuzz.join("seeds");
    let folder = |target: &str| -> Result<PathBuf> {
        let folder = seeds.join(target);
        if folder.exists() {
            std::fs::remove_dir_all(&folder).with_context(|| format!("remove {}", folder.display()))?;
        }
        workspace::create(folder)
    };

    // The seeds are the same wherever the checkout lies.
    let no_checkout = format!("-fdebug-prefix-map={}=/fuzz", fuzz.display());
    let dwarf = folder("dwarf")?;
    for (name, compiler, options) in DWARF {
        // A skeleton names its other half as the output is named here: without a folder.
        let mut command = process::command(compiler, &dwarf);
        command.args(["-w", "-O1", &no_checkout]).args(*options).arg(sources.join("types.c"));
        process::run(command.args(["-o", name]))?;
    }
    let from = |name: &str| dwarf.join(name);
    let objcopy = |options: &[&str], source: &str, name: &str| {
        process::run(process::command("objcopy", &sources).args(options).arg(from(source)).arg(from(name)))
    };
    objcopy(&["--only-keep-debug"], "v5-linked", "debug-file")?;
    objcopy(&["--compress-debug-sections=zstd"], "v5", "zstd")?;
    surface(&folder("surface")?, &from("v5-linked"))?;
    std::fs::remove_file(from("v5-linked")).context("remove the linked seed")?;
    // gcc puts the skeleton's other half beside it.
    let _ = std::fs::remove_file(dwarf.join("skeleton.dwo"));
    let _ = std::fs::remove_file(dwarf.join("types.dwo"));

    symbols(&sources, &no_checkout, &folder("symbols")?, &folder("minidebuginfo")?)?;

    let objects = folder("btf_ext")?;
    let btf = folder("btf")?;
    for (name, target) in [("little-endian", "bpfel"), ("big-endian", "bpfeb")] {
        let object = objects.join(name);
        let mut clang = process::command("clang", &sources);
        clang.args(["-target", target, "-g", "-O2", "-fdebug-compilation-dir=.", "-c", "relocations.bpf.c", "-o"]);
        process::run(clang.arg(&object))?;
        process::run(process::command("llvm-strip", &sources).arg("-g").arg(&object))?;
        let section = format!(".BTF={}", btf.join(name).display());
        let mut llvm_objcopy = process::command("llvm-objcopy", &sources);
        process::run(llvm_objcopy.arg("--dump-section").arg(section).arg(&object).arg("/dev/null"))?;
    }
    std::fs::copy(objects.join("little-endian"), btf.join("elf")).context("copy a seed")?;
    packages(&folder("packages")?, &from("v5"), &btf.join("little-endian"))?;
    let pack = workspace::root()?.join("data/btf/debian.pack");
    std::fs::copy(&pack, folder("pack")?.join("debian")).with_context(|| format!("copy {}", pack.display()))?;
    for source in ["v5", "v5-big-endian"] {
        let detached = format!("--btf_encode_detached={}", btf.join(format!("pahole-{source}")).display());
        process::run(process::command("pahole", &sources).args(["-J", &detached]).arg(from(source)))?;
    }
    let text = folder("btf_text")?;
    for name in ["big-endian", "little-endian", "pahole-v5", "pahole-v5-big-endian"] {
        std::fs::copy(btf.join(name), text.join(name)).context("copy a seed")?;
    }
    Ok(())
}

/// A library with versions, and the same with its symbols packed. (Those of `gopclntab` are of a test of `symbols`.)
fn symbols(sources: &Path, no_checkout: &str, symbols: &Path, packed: &Path) -> Result<()> {
    let link = ["-w", "-O1", "-fPIC", "-shared", "-nostdlib", "-fno-rtti", "-fno-exceptions", "-Wl,-z,noseparate-code"];
    let version = "-Wl,--version-script=names.map";
    for (name, options) in [("v5", &["-gdwarf-5"][..]), ("v4", &["-gdwarf-4", "-fdebug-types-section", "-gz"])] {
        let mut compile = process::command("g++", sources);
        compile.args(link).args(options).args([no_checkout, version, "names.cpp", "-o"]);
        process::run(compile.arg(symbols.join(name)))?;
    }
    let scratch = tempfile::tempdir().context("make a folder")?;
    let run = |program: &str, options: &[&str]| process::run(process::command(program, scratch.path()).args(options));
    let whole = scratch.path().join("whole");
    std::fs::copy(symbols.join("v5"), &whole).context("copy a seed")?;
    run("objcopy", &["--only-keep-debug", "whole", "mini"])?;
    run("strip", &["--strip-debug", "mini"])?;
    run("xz", &["mini"])?;
    run("objcopy", &["--strip-all", "--add-section=.gnu_debugdata=mini.xz", "whole", "packed"])?;
    std::fs::copy(scratch.path().join("packed"), packed.join("xz")).context("copy a seed")?;
    Ok(())
}

/// The attach surface of a linked file, by the program itself.
fn surface(folder: &Path, image: &Path) -> Result<()> {
    let scratch = tempfile::tempdir().context("make a folder")?;
    let lcc_btf = cargo::build_lcc_btf()?;
    let mut generate = process::command(lcc_btf, scratch.path());
    generate.args(["gen", "--surface", "--id", "debian/12/x86_64/1.2.3", "-o"]).arg(scratch.path().join("out"));
    process::run(generate.arg(image))?;
    let made = scratch.path().join("out/debian/12/x86_64/1.2.3.surface");
    std::fs::copy(&made, folder.join("linked")).with_context(|| format!("copy {}", made.display()))?;
    Ok(())
}

/// The image in the packages, without the leading slash.
const IMAGE: &str = "usr/lib/debug/boot/vmlinux-1.2.3";

/// One package of each format and compression, with `image` as the vmlinux; and BTFHub's archive of `btf`.
fn packages(folder: &Path, image: &Path, btf: &Path) -> Result<()> {
    let scratch = tempfile::tempdir().context("make a folder")?;
    let tree = scratch.path().join("tree");
    let copy = |from: &Path, to: &Path| -> Result<()> {
        workspace::create(to.parent().unwrap_or(to).to_path_buf())?;
        std::fs::copy(from, to).with_context(|| format!("copy {}", from.display()))?;
        Ok(())
    };
    copy(image, &tree.join(IMAGE))?;
    let control = "Package: linux-image-1.2.3-dbg\nVersion: 1.2.3-1\nArchitecture: amd64\nMaintainer: nobody\n\
                   Description: a seed\n";
    std::fs::create_dir(tree.join("DEBIAN")).context("make a folder")?;
    std::fs::write(tree.join("DEBIAN/control"), control).context("write a control file")?;
    for compression in ["none", "gzip", "xz", "zstd"] {
        let mut dpkg_deb = process::command("dpkg-deb", scratch.path());
        dpkg_deb.env("SOURCE_DATE_EPOCH", "0").arg(format!("-Z{compression}")).args(["--root-owner-group", "--build"]);
        process::run(dpkg_deb.arg(&tree).arg(folder.join(format!("deb-{compression}"))))?;
    }

    let content = std::fs::read(image).with_context(|| format!("read {}", image.display()))?;
    let archive = scratch.path().join("cpio");
    std::fs::write(&archive, rpm::cpio(&format!("./{IMAGE}"), &content)).context("write a cpio archive")?;
    let (parent, name) = IMAGE.rsplit_once('/').context("a path with a folder")?;
    for (compression, program) in [("none", &["cat"][..]), ("gzip", &["gzip", "-9nc"]), ("xz", &["xz", "-9c"])] {
        let mut command = process::command(program[0], scratch.path());
        let output = command.args(&program[1..]).arg(&archive).output().with_context(|| program[0].to_owned())?;
        let size = u32::try_from(content.len()).context("the size of a seed")?;
        let package = rpm::package(&format!("/{parent}/"), name, size, &output.stdout);
        std::fs::write(folder.join(format!("rpm-{compression}")), package).context("write a seed")?;
    }

    copy(btf, &scratch.path().join("1.2.3.btf"))?;
    let mut tar = process::command("tar", scratch.path());
    tar.args(["--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner", "-cJf"]);
    process::run(tar.arg(folder.join("btfhub")).arg("1.2.3.btf"))
}
