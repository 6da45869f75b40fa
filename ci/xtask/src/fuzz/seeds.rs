//! Makes the committed seeds from the C files in `fuzz/seed-sources`: one for each format and each trait of it.

use super::rpm;
use crate::{cargo, process, workspace};
use anyhow::{Context, Result, bail};
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

/// Targets whose seeds are made of nothing else's.
const ALONE: [&str; 4] = ["exchange", "identify", "image", "wheel"];

/// Replaces the seeds of every target that has C files or packages to make them from; or those of some targets, whose seeds are
/// made of no other's.
///
/// # Errors
/// A compiler or another tool failed, a file cannot be written, or a target's seeds cannot be made alone.
pub(crate) fn make(fuzz: &Path, targets: &[String]) -> Result<()> {
    let sources = fuzz.join("seed-sources");
    let seeds = fuzz.join("seeds");
    let folder = |target: &str| -> Result<PathBuf> {
        let folder = seeds.join(target);
        if folder.exists() {
            std::fs::remove_dir_all(&folder).with_context(|| format!("remove {}", folder.display()))?;
        }
        workspace::create(folder)
    };
    if let Some(target) = targets.iter().find(|target| !ALONE.contains(&target.as_str())) {
        bail!("the seeds of {target} are not made alone; there are {}", ALONE.join(", "));
    }
    for target in ALONE.iter().filter(|target| targets.is_empty() || targets.iter().any(|named| named == *target)) {
        match *target {
            "exchange" => std::fs::write(folder(target)?.join("all"), EXPORT).context("write a seed")?,
            "identify" => models(&folder(target)?)?,
            "image" => images(&sources, &folder(target)?)?,
            _ => wheels(&folder(target)?)?,
        }
    }
    if !targets.is_empty() {
        return Ok(());
    }

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

/// Libraries with build-ids, imports and pointers to themselves, as `Elf64_Rela`, `SHT_RELR` and `Elf32_Rel`; and an object of the
/// other byte order.
fn images(sources: &Path, folder: &Path) -> Result<()> {
    let link = ["-w", "-O1", "-fPIC", "-shared", "-nostdlib", "-fno-rtti", "-fno-exceptions", "-Wl,-z,noseparate-code"];
    let version = ["-Wl,--version-script=names.map", "-Wl,--build-id=sha1"];
    for (name, options) in [
        ("rela", &[][..]),
        ("relr", &["-Wl,-Bsymbolic,-z,pack-relative-relocs"]),
        ("rel32", &["-m32", "-Wl,-Bsymbolic"]),
    ] {
        let mut compile = process::command("g++", sources);
        process::run(compile.args(link).args(version).args(options).arg("names.cpp").arg("-o").arg(folder.join(name)))?;
    }
    let mut clang = process::command("clang", sources);
    clang.args(["-w", "-O1", "--target=s390x-linux-gnu", "-c", "types.c", "-o"]);
    process::run(clang.arg(folder.join("big-endian")))
}

/// What the target takes for the begin of the second file.
const NEXT: &[u8] = b"|NEXT|";

/// `e_machine` of an ELF header, and AArch64's.
const MACHINE: (usize, [u8; 2]) = (18, [183, 0]);

/// Two versions of a library, the second without names; the same with other instructions: what x86-64's mean to AArch64.
fn models(folder: &Path) -> Result<()> {
    let fixtures = workspace::root()?.join("offset-db/identify/tests/fixtures");
    let scratch = tempfile::tempdir().context("make a folder")?;
    let mut builds = Vec::new();
    for version in ["-DVERSION=1", "-DVERSION=2"] {
        let library = scratch.path().join(version);
        let mut compile = process::command("gcc", &fixtures);
        compile.args([
            "-O2",
            "-fPIC",
            "-shared",
            "-nostdlib",
            "-Wl,-z,noseparate-code",
            "-s",
            version,
            "store.c",
            "-o",
        ]);
        process::run(compile.arg(&library))?;
        builds.push(std::fs::read(&library).with_context(|| format!("read {}", library.display()))?);
    }
    let write = |name: &str, builds: &[Vec<u8>]| {
        let path = folder.join(name);
        std::fs::write(&path, builds.join(NEXT)).with_context(|| format!("write {}", path.display()))
    };
    write("x86_64", &builds)?;
    for build in &mut builds {
        build[MACHINE.0..MACHINE.0 + 2].copy_from_slice(&MACHINE.1);
    }
    write("aarch64", &builds)
}

/// An archive with a library that is packed, one that is stored, and what is none. The same bytes whenever it is made.
fn wheels(folder: &Path) -> Result<()> {
    const SCRIPT: &str = "
import sys, zipfile
elf = b'\\x7fELF\\x02\\x01\\x01' + bytes(57)
with zipfile.ZipFile(sys.argv[1], 'w') as archive:
    for path, packed in (('pkg/libone.so', True), ('lib/arm64-v8a/libtwo.so', False), ('text.so', True), ('folder.so/', False)):
        entry = zipfile.ZipInfo(path)
        entry.compress_type = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
        archive.writestr(entry, b'' if path.endswith('/') else b'text' if path == 'text.so' else elf)
";
    process::run(process::command("python3", folder).arg("-c").arg(SCRIPT).arg(folder.join("zip")))
}

/// An export with a line of every kind.
const EXPORT: &str = r#"{"file":{"key":"gnu:0102/0000000000000003","build_id":"0102","text":"0000000000000003","machine":"x86_64","go_build_id":"a/b"}}
{"copy":{"hash":"00000000000000000000000000000009","size":1001}}
{"origin":{"ecosystem":"pypi","package":"grpcio","version":"1.60.1","tag":"cp310-cp310","platform":"manylinux2014_x86_64","path":"cygrpc.so"}}
{"function":{"name":"SSL_write","address":"0xfffffffffffffff0","size":64,"kind":"entry","method":"dynsym","confidence":"labelled"}}
{"function":{"name":"_ZN1a1bEv","qualified":"a::b","address":"0x20","size":0,"kind":"cold","method":"identified","confidence":"verified","evidence":["lineage: grpcio 1.40.0: 0.97"],"returns":[12,60]}}
{"file":{"key":"xxh3:00000000000000000000000000000001/7","text":"0000000000000000","machine":"aarch64"}}
{"layout":{"ecosystem":"pypi","package":"grpcio","version":"1.60.1","machine":"x86_64","configuration":"NDEBUG","name":"grpc_chttp2_stream","size":768,"source":"compiled","evidence":["x"],"fields":[{"path":"id","offset_bits":1152,"size_bits":32}]}}
"#;

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
