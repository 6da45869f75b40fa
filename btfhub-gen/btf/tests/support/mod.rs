//! What the differential tests share: compiling the C sources, the kernels' BTF, libbpf's answers, and ours in the same
//! words.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use btf::core_relo::{self, CoreReloKind, Target};
use btf::insn::class;
use btf::object_file::ObjectFile;

/// A folder for what the tests make, below cargo's.
pub(crate) fn scratch(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Says why a test does nothing; with `CI=true` that is a failure.
pub(crate) fn skip(why: &str) {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{why}");
    eprintln!("skipped: {why}");
}

/// Can this program be run?
pub(crate) fn has(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}

/// Are we root, as creating maps needs?
pub(crate) fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n")
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}\n{}", String::from_utf8_lossy(&output.stderr));
}

fn sources(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder)
}

/// Compiles `tests/objects/NAME.bpf.c` with clang for little-endian BPF, without DWARF. Relocations of types whose flavour is
/// `___matches` are turned from "exists" into "matches", which clang before 15 has no builtin for.
pub(crate) fn object(name: &str) -> PathBuf {
    object_for("bpfel", name)
}

/// As [`object`], for `bpfel` or `bpfeb`.
pub(crate) fn object_for(machine: &str, name: &str) -> PathBuf {
    let out = scratch(machine).join(format!("{name}.bpf.o"));
    let unfinished = scratch(machine).join(format!("{name}.{:?}.tmp", std::thread::current().id()));
    let source = sources("objects").join(format!("{name}.bpf.c"));
    run(Command::new("clang")
        .args(["-target", machine, "-mcpu=v2", "-g", "-O2", "-std=gnu11", "-Wall", "-Werror", "-c"])
        .arg(&source)
        .arg("-o")
        .arg(&unfinished));
    run(Command::new("llvm-strip").arg("-g").arg(&unfinished));
    let mut data = std::fs::read(&unfinished).unwrap();
    turn_into_matches(&mut data);
    std::fs::write(&unfinished, data).unwrap();
    std::fs::rename(&unfinished, &out).unwrap();
    out
}

/// More objects, already compiled: the files `*.o` of the folder `$LCC_OBJECTS`.
pub(crate) fn more_objects() -> Vec<PathBuf> {
    let Some(folder) = std::env::var_os("LCC_OBJECTS") else { return Vec::new() };
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut objects: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|end| end == "o")).collect();
    objects.sort_unstable();
    objects
}

/// Rewrites the kind of each relocation whose root type's name ends in `___matches`.
fn turn_into_matches(data: &mut [u8]) {
    let sections = btf::elf::btf_section(data).unwrap().unwrap();
    let ext_at = sections.ext.unwrap().as_ptr() as usize - data.as_ptr() as usize;
    let types = btf::Btf::parse(sections.btf).unwrap();
    let mut places = Vec::new();
    let ext = sections.ext.unwrap();
    let word = |at: usize| types.endian().u32_at(ext, at).unwrap() as usize;
    let (mut at, end) = (word(4) + word(24) + 4, word(4) + word(24) + word(28));
    while at < end {
        let count = word(at + 4);
        for record in (at + 8..).step_by(16).take(count) {
            let name = types.name_of(btf::TypeId(word(record + 4) as u32)).unwrap();
            if name.ends_with("___matches") && word(record + 12) == 8 {
                let low_byte = if types.endian() == btf::Endian::Little { 0 } else { 3 };
                places.push(ext_at + record + 12 + low_byte);
            }
        }
        at += 8 + count * 16;
    }
    for place in places {
        data[place] = 12;
    }
}

/// The BTF of a kernel, as a file.
pub(crate) struct Kernel {
    /// Its release.
    pub(crate) name: String,
    /// The raw BTF.
    pub(crate) path: PathBuf,
}

impl Kernel {
    /// The raw BTF, taken out of an ELF file where it lies in one.
    pub(crate) fn btf(&self) -> Vec<u8> {
        let data = std::fs::read(&self.path).unwrap();
        if btf::elf::is_elf(&data) { btf::elf::btf_section(&data).unwrap().unwrap().btf.to_vec() } else { data }
    }
}

/// The running kernel, and those of a folder in BTFHub's layout: `$LCC_BTFHUB`, or `../shared/btfhub` beside the checkout.
pub(crate) fn kernels() -> &'static [Kernel] {
    static KERNELS: OnceLock<Vec<Kernel>> = OnceLock::new();
    KERNELS.get_or_init(|| {
        let mut kernels = Vec::new();
        let running = Path::new("/sys/kernel/btf/vmlinux");
        if running.exists() {
            kernels.push(Kernel { name: "running".to_owned(), path: running.to_owned() });
        }
        let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/btfhub");
        let hub = std::env::var_os("LCC_BTFHUB").map_or(beside, PathBuf::from);
        if !hub.exists() {
            eprintln!("no archive of old kernels at {}: only the running kernel is tested", hub.display());
            return kernels;
        }
        let output = Command::new("find").arg(&hub).args(["-name", "*.btf.tar.xz"]).output().unwrap();
        let mut archives: Vec<&str> = std::str::from_utf8(&output.stdout).unwrap().lines().collect();
        archives.sort_unstable();
        let folder = scratch("kernels");
        for archive in archives {
            let name = Path::new(archive).file_name().unwrap().to_str().unwrap().trim_end_matches(".btf.tar.xz");
            let path = folder.join(format!("{name}.btf"));
            if !path.exists() {
                let own = scratch(&format!("kernels/{}", std::process::id()));
                run(Command::new("tar").arg("-xJf").arg(archive).arg("-C").arg(&own));
                std::fs::rename(own.join(format!("{name}.btf")), &path).unwrap();
            }
            kernels.push(Kernel { name: name.to_owned(), path });
        }
        kernels
    })
}

/// The C program that asks libbpf, compiled once. `None`, with the reason on standard error, where that is not possible.
pub(crate) fn oracle() -> Option<&'static Path> {
    static ORACLE: OnceLock<Option<PathBuf>> = OnceLock::new();
    ORACLE.get_or_init(|| c_program("relocate")).as_deref()
}

/// The C program that gives BTF to the kernel, as [`oracle`].
pub(crate) fn loader() -> Option<&'static Path> {
    static LOADER: OnceLock<Option<PathBuf>> = OnceLock::new();
    LOADER.get_or_init(|| c_program("load")).as_deref()
}

fn c_program(name: &str) -> Option<PathBuf> {
    if !has("clang") || !has("cc") || !Path::new("/usr/include/bpf/libbpf.h").exists() {
        skip("clang, cc or libbpf-dev is missing");
        return None;
    }
    if !is_root() {
        skip("not root: libbpf creates maps before it relocates, and the kernel takes BTF from root only");
        return None;
    }
    let out = scratch("oracle").join(format!("{name}.{}", std::process::id()));
    let source = sources("oracle").join(format!("{name}.c"));
    let mut compile = Command::new("cc");
    compile.arg("-O1");
    // Another libbpf than the system's: the folder it was installed to.
    match std::env::var_os("LCC_LIBBPF").map(PathBuf::from) {
        None => compile.arg(source).arg("-o").arg(&out).arg("-lbpf"),
        Some(folder) => compile
            .arg("-I")
            .arg(folder.join("usr/include"))
            .arg(source)
            .arg("-o")
            .arg(&out)
            .arg(folder.join("usr/lib64/libbpf.a"))
            .args(["-lelf", "-lz"]),
    };
    run(&mut compile);
    Some(out)
}

/// What libbpf does to each instruction, one line each, in its words. Ends with `refused PROGRAM #N` where it gives up.
///
/// With a program's name, only that one is loaded.
pub(crate) fn libbpf_results(oracle: &Path, object: &Path, btf: &Path, program: Option<&str>) -> Vec<String> {
    let output = Command::new(oracle).arg(object).arg(btf).args(program).output().unwrap();
    let mut results = Vec::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        if line.contains(": patched insn #") || line.contains(": substituting insn #") {
            results.push(line.to_owned());
        } else if line.contains(": failed to relocate") || line.contains(": failed to patch insn") {
            let (place, _) = line.split_once(": failed").unwrap();
            results.push(format!("{place}: refused"));
        }
    }
    assert!(output.status.success(), "libbpf cannot open {}: {output:?}", object.display());
    results
}

/// The same lines from this library.
pub(crate) fn our_results(object: &ObjectFile<'_>, target: &Target<'_>, program: Option<&str>) -> Vec<String> {
    let candidates = core_relo::search_candidates(target, [object]);
    let is_loaded = |relo: &btf::object_file::CoreRelo| {
        let Some(function) = relo.function.map(|number| &object.functions()[number]) else { return false };
        match program {
            Some(program) => !object.is_entry(function) || function.name == program,
            None => object.sections()[relo.section].autoload,
        }
    };
    let resolutions = core_relo::resolve_object(object, target, &candidates, is_loaded);
    let mut code: Vec<_> = object.sections().iter().map(|section| section.insns.clone()).collect();
    let mut results = Vec::new();
    for (relo, resolution) in object.relocations().iter().zip(resolutions) {
        let Some(resolution) = resolution else { continue };
        let function = &object.functions()[relo.function.unwrap()];
        let place = format!("prog '{}': relo #{}", function.name, relo.index);
        let at = relo.insn - function.start;
        let section = &mut code[relo.section];
        let before = section[relo.insn];
        let high = section.get(relo.insn + 1).map_or(0, |insn| insn.imm);
        let patched = resolution
            .outcome
            .and_then(|outcome| core_relo::patch(section, relo.insn, &outcome).map(|poisoned| (outcome, poisoned)));
        let Ok((outcome, poisoned)) = patched else {
            results.push(format!("{place}: refused"));
            break;
        };
        if poisoned {
            if before.is_ldimm64() {
                results.push(format!("{place}: substituting insn #{} w/ invalid insn", at + 1));
            }
            results.push(format!("{place}: substituting insn #{at} w/ invalid insn"));
            continue;
        }
        let new = outcome.target;
        let (form, old) = match before.class() {
            class::ALU | class::ALU64 => ("(ALU/ALU64) imm", i64::from(before.imm) as u64),
            class::LD => ("(LDIMM64) imm64", u64::from(before.imm as u32) | (high as u64) << 32),
            _ => ("(LDX/ST/STX) off", i64::from(before.off) as u64),
        };
        results.push(format!("{place}: patched insn #{at} {form} {old} -> {new}"));
        if !matches!(before.class(), class::ALU | class::ALU64 | class::LD) && outcome.sizes.0 != outcome.sizes.1 {
            let (old, new) = outcome.sizes;
            results.push(format!("{place}: patched insn #{at} (LDX/ST/STX) mem_sz {old} -> {new}"));
        }
    }
    results
}

/// Takes the new value out of the lines whose relocation asks for the id of a type in the target: types are renumbered.
pub(crate) fn without_type_ids(object: &ObjectFile<'_>, results: &[String]) -> Vec<String> {
    let places: Vec<String> = object
        .relocations()
        .iter()
        .filter(|relo| relo.kind == CoreReloKind::TypeIdTarget)
        .filter_map(|relo| Some(format!("prog '{}': relo #{}: ", object.functions()[relo.function?].name, relo.index)))
        .collect();
    let blank = |line: &String| match line.rsplit_once(" -> ") {
        Some((place, value)) if value != "0" && places.iter().any(|known| line.starts_with(known)) => {
            format!("{place} -> some id")
        }
        _ => line.clone(),
    };
    results.iter().map(blank).collect()
}

/// The minimal BTF that `bpftool gen min_core_btf` makes; `None` where it fails.
pub(crate) fn bpftool_minimal(btf: &Path, objects: &[PathBuf], out: &Path) -> Option<Vec<u8>> {
    let output = Command::new("bpftool").args(["gen", "min_core_btf"]).arg(btf).arg(out).args(objects).output().ok()?;
    if !output.status.success() {
        eprintln!("bpftool: {}", String::from_utf8_lossy(&output.stderr));
        return None;
    }
    Some(std::fs::read(out).unwrap())
}
