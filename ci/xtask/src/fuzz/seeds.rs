//! Makes the committed seeds from the C files in `fuzz/seed-sources`: one for each format and each trait of it.

use crate::{process, workspace};
use anyhow::{Context, Result};
use std::path::Path;

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

/// Replaces everything in `<fuzz>/seeds`.
///
/// # Errors
/// A compiler or another tool failed, or a file cannot be written.
pub(crate) fn make(fuzz: &Path) -> Result<()> {
    let sources = fuzz.join("seed-sources");
    let seeds = fuzz.join("seeds");
    let folder = |target: &str| workspace::create(seeds.join(target));
    if seeds.exists() {
        std::fs::remove_dir_all(&seeds).with_context(|| format!("remove {}", seeds.display()))?;
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
    std::fs::remove_file(from("v5-linked")).context("remove the linked seed")?;
    // gcc puts the skeleton's other half beside it.
    let _ = std::fs::remove_file(dwarf.join("skeleton.dwo"));
    let _ = std::fs::remove_file(dwarf.join("types.dwo"));

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
