//! Every form of KERNEL gives the same BTF.

use std::fs;
use std::process::Command;

use crate::support::{TempDir, deb, has, kernel, lcc_expect, module, rpm, run, tree};

const RELEASE: &str = "6.1.0-18-cloud-amd64";

#[test]
fn every_form_of_kernel_gives_the_same() {
    let dir = TempDir::new().unwrap();
    let at = |name: &str| dir.path().join(name);
    kernel(&at("vmlinux"), RELEASE, 1);
    lcc_expect(dir.path(), &["gen", "vmlinux", "-o", "expected.btf"], 0);
    let expected = fs::read(at("expected.btf")).unwrap();
    let mut forms = vec!["vmlinux".to_owned(), "expected.btf".to_owned()];
    for (tool, end) in [("xz", "xz"), ("gzip", "gz"), ("bzip2", "bz2"), ("zstd", "zst")] {
        if has(tool) {
            let packed = run(Command::new(tool).args(["-c", "-9"]).arg(at("vmlinux")));
            fs::write(at(&format!("vmlinux.{end}")), packed).unwrap();
            forms.push(format!("vmlinux.{end}"));
        }
    }
    if has("dpkg-deb") {
        for (name, compression, filler) in [
            ("a.deb", "none", 10),
            ("b.deb", "gzip", 10),
            ("c.ddeb", "xz", 10),
            ("d.deb", "xz", 9 << 20),
            ("e.deb", "zstd", 10),
        ] {
            deb(&at(name), &at("vmlinux"), RELEASE, compression, filler);
            forms.push(name.to_owned());
        }
    }
    for (name, compression) in [
        ("a.rpm", rpm::CompressionWithLevel::Xz(1)),
        ("b.rpm", rpm::CompressionWithLevel::Zstd(1)),
        ("c.rpm", rpm::CompressionWithLevel::Gzip(1)),
        ("d.rpm", rpm::CompressionWithLevel::None),
    ] {
        rpm(&at(name), &at("vmlinux"), RELEASE, compression);
        forms.push(name.to_owned());
    }
    fs::create_dir_all(at("hub/debian/12/x86_64")).unwrap();
    let release = format!("{RELEASE}.btf");
    fs::copy(at("expected.btf"), at("hub").join(&release)).unwrap();
    let hub = format!("hub/debian/12/x86_64/{release}.tar.xz");
    run(Command::new("tar").arg("-C").arg(at("hub")).arg("-cJf").arg(at(&hub)).arg(&release));
    forms.push(hub);

    for form in &forms {
        lcc_expect(dir.path(), &["gen", form, "-o", "got.btf"], 0);
        assert!(fs::read(at("got.btf")).unwrap() == expected, "{form}");
        // Its name comes from itself; raw BTF alone has none.
        if form != "expected.btf" {
            let ran = lcc_expect(dir.path(), &["gen", form, "--pack", "got.pack"], 0);
            assert!(ran.stdout.contains(&format!("debian/12/x86_64/{RELEASE} ")), "{form}: {}", ran.stdout);
        }
    }
}

#[test]
fn a_folder_has_all_of_its_kernels() {
    let dir = TempDir::new().unwrap();
    for (n, release) in ["6.1.0-18-amd64", "6.1.0-18-cloud-amd64", "6.1.0-18-rt-amd64"].iter().enumerate() {
        kernel(&dir.path().join(format!("in/{n}/vmlinux-{release}")), release, 1);
    }
    fs::write(dir.path().join("in/readme.txt"), "no kernel").unwrap();
    lcc_expect(dir.path(), &["gen", "in", "-o", "out"], 0);
    let files: Vec<_> = tree(&dir.path().join("out")).into_keys().filter(|p| !p.starts_with(".lcc-btf")).collect();
    let expected = ["6.1.0-18-amd64", "6.1.0-18-cloud-amd64", "6.1.0-18-rt-amd64"];
    assert_eq!(files, expected.map(|r| std::path::PathBuf::from(format!("debian/12/x86_64/{r}.btf"))));
}

#[test]
fn a_name_can_be_given() {
    let dir = TempDir::new().unwrap();
    kernel(&dir.path().join("vmlinux"), RELEASE, 1);
    lcc_expect(dir.path(), &["gen", "vmlinux", "--id", "my/own/x86_64/6.1.0-mine", "-o", "out"], 0);
    assert!(dir.path().join("out/my/own/x86_64/6.1.0-mine.btf").exists());
    let ran = lcc_expect(dir.path(), &["gen", "vmlinux", "--id", "my/own", "-o", "out"], 2);
    assert!(ran.stderr.contains("`my/own` is not of the form distro/version/arch/release"), "{}", ran.stderr);
}

#[test]
fn the_running_kernel_is_found_below_a_root() {
    let dir = TempDir::new().unwrap();
    let at = |name: &str| dir.path().join(name);
    kernel(&at("vmlinux"), RELEASE, 1);
    fs::create_dir_all(at("root/sys/kernel/btf")).unwrap();
    fs::create_dir_all(at("root/proc/sys/kernel")).unwrap();
    lcc_expect(dir.path(), &["gen", "vmlinux", "-o", "root/sys/kernel/btf/vmlinux.btf"], 0);
    fs::rename(at("root/sys/kernel/btf/vmlinux.btf"), at("root/sys/kernel/btf/vmlinux")).unwrap();
    fs::write(at("root/proc/sys/kernel/osrelease"), "6.6.1-mine\n").unwrap();
    fs::write(at("root/proc/sys/kernel/arch"), "x86_64\n").unwrap();
    fs::create_dir_all(at("root/etc")).unwrap();
    fs::write(at("root/etc/os-release"), "ID=fedora\nVERSION_ID=39\n").unwrap();
    lcc_expect(dir.path(), &["gen", "running", "--root", "root", "-o", "out"], 0);
    let expected = fs::read(at("root/sys/kernel/btf/vmlinux")).unwrap();
    assert!(fs::read(at("out/fedora/39/x86_64/6.6.1-mine.btf")).unwrap() == expected);
}

#[test]
fn modules_go_with_their_kernel() {
    let dir = TempDir::new().unwrap();
    let at = |name: &str| dir.path().join(name);
    kernel(&at("in/vmlinux"), RELEASE, 1);
    module(&at("in/kernel/probe-mod.ko"), RELEASE);
    module(&at("other.ko"), "5.10.0-1-amd64");
    // Not asked for, not taken.
    lcc_expect(dir.path(), &["gen", "in", "-o", "without"], 0);
    assert!(!at("without").join(format!("debian/12/x86_64/{RELEASE}/probe_mod.btf")).exists());
    lcc_expect(dir.path(), &["gen", "in", "--modules", "-o", "out"], 0);
    let split = at("out").join(format!("debian/12/x86_64/{RELEASE}/probe_mod.btf"));
    let base = at("out").join(format!("debian/12/x86_64/{RELEASE}.btf"));
    let listing =
        lcc_expect(dir.path(), &["dump", "-f", "raw", "-B", base.to_str().unwrap(), split.to_str().unwrap()], 0);
    assert!(listing.stdout.contains("STRUCT 'probe' size=16"), "{}", listing.stdout);
    assert!(!listing.stdout.contains("STRUCT 'cred'"), "the kernel has it: {}", listing.stdout);
    // Named, taken; of another kernel, refused.
    lcc_expect(dir.path(), &["gen", "in/vmlinux", "in/kernel/probe-mod.ko", "--pack", "p"], 0);
    let ran = lcc_expect(dir.path(), &["pack", "list", "p"], 0);
    assert!(ran.stdout.lines().any(|line| line.ends_with(&format!("{RELEASE} probe_mod"))), "{}", ran.stdout);
    let ran = lcc_expect(dir.path(), &["gen", "in/vmlinux", "other.ko", "--pack", "p"], 2);
    let expected =
        "other.ko: is a module of kernel 5.10.0-1-amd64, which is not among the inputs: give its vmlinux too";
    assert!(ran.stderr.contains(expected), "{}", ran.stderr);
}
