//! libbpf relocates the project's objects, and one with every kind of relocation, to the same instructions with the BTF made
//! here as with the BTF that the kernel was built with: what BTF is for.
//!
//! Needs root (libbpf creates an object's maps before it relocates), clang, libbpf and kernels in the cache:
//! `cargo xtask test --kernels`. `LCC_KERNELS="6.1-amd64 6.12-amd64"` restricts it to these.

use std::path::Path;
use std::process::Command;

use dwarf::{Compat, Input, Options};
use lcc_tests::{kernels, project};

/// What libbpf patched where, by program and relocation.
fn relocated(oracle: &Path, object: &Path, btf: &Path) -> Vec<String> {
    let output = Command::new(oracle).arg(object).arg(btf).output().expect("running libbpf");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().filter(|line| line.contains(": patched ")).map(str::to_owned).collect()
}

fn run(command: &mut Command) -> bool {
    command.status().is_ok_and(|status| status.success())
}

#[test]
#[ignore = "reads gigabytes"]
fn root_libbpf_relocates_with_our_btf_as_with_the_kernels_own() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let oracle = folder.path().join("relocate");
    let source = project().join("btfhub-gen/btf/tests/oracle/relocate.c");
    assert!(
        run(Command::new("cc").arg("-o").arg(&oracle).arg(source).args(["-lbpf", "-lelf", "-lz"])),
        "cc with libbpf"
    );
    let mut objects = Vec::new();
    for source in ["bpf/tcprt/tcprt.bpf.c", "bpf/pingtrace/pingtrace.bpf.c", "tests/tests/fixtures/relocations.bpf.c"] {
        let source = project().join(source);
        let name = source.file_stem().expect("a file").to_string_lossy().into_owned();
        let object = folder.path().join(&name).with_extension("o");
        let headers = project().join("bpf");
        let mut clang = Command::new("clang");
        clang
            .args(["-target", "bpf", "-mcpu=v2", "-g", "-O2", "-I"])
            .arg(headers)
            .arg("-c")
            .arg(source)
            .arg("-o")
            .arg(&object);
        assert!(run(clang.args(["-idirafter", "/usr/include/x86_64-linux-gnu"])), "clang {name}");
        objects.push(object);
    }
    let mut compared = 0;
    for kernel in kernels::debian() {
        let elf = kernels::map(&kernel);
        let Some(own) = btf::elf::btf_section(&elf).expect("reading a kernel") else {
            eprintln!("skipped: {} has no BTF of its own", kernel.display());
            continue;
        };
        // libbpf on this machine takes only BTF of its own byte order
        if !own.btf.starts_with(&btf::Endian::NATIVE.u16_bytes(btf::raw::MAGIC)) {
            eprintln!("skipped: {} has the other byte order", kernel.display());
            continue;
        }
        let decompress = |_: dwarf::Compression, _: &[u8], _: usize| Err("not needed for these kernels".to_owned());
        let options = Options {
            jobs: 2,
            compat: Compat::LATEST,
            base: None,
            rust: false,
            decompress: &decompress,
            release: None,
        };
        let output = dwarf::encode(&Input { elf: &elf, supplementary: None }, &options).expect("encoding a kernel");
        let (own_path, our_path) = (folder.path().join("own.btf"), folder.path().join("ours.btf"));
        std::fs::write(&own_path, own.btf).expect("writing");
        std::fs::write(&our_path, &output.btf).expect("writing");
        for object in &objects {
            let expected = relocated(&oracle, object, &own_path);
            assert_eq!(relocated(&oracle, object, &our_path), expected, "{} on {}", object.display(), kernel.display());
            // an object's relocations are a compiler's matter, not so that there are any
            assert!(expected.len() > 10, "{} relocations of {}", expected.len(), object.display());
            compared += expected.len();
        }
    }
    match compared {
        0 => eprintln!("skipped: no kernel with BTF of its own in the cache (cargo xtask kernels)"),
        count => eprintln!("{count} relocations are the same"),
    }
}
