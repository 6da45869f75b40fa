//! Which BTF is taken, on a file system made for the test.

use std::path::{Path, PathBuf};

use btf::Btf;
use btf::core_relo::Target;
use btf::object_file::ObjectFile;
use loader::choose::{Chosen, NotTaken, Places, choose};
use pack::{Builder, Entry, Hash, KernelId};
use plan::KernelFacts;

/// Compiles a source of the crate's or its neighbour's fixtures.
fn compiled(source: &str) -> Option<Vec<u8>> {
    compile::for_test(Path::new(env!("CARGO_MANIFEST_DIR")), Path::new(source), &["-I", "../bpf"])
}

/// An object, and minimal BTF of a kernel: for it, and for another object.
struct Fixture {
    object: Vec<u8>,
    minimal: Vec<u8>,
    of_another: Vec<u8>,
    root: tempfile::TempDir,
}

fn fixture() -> Option<Fixture> {
    let object = compiled("lcc-load/tests/fixtures/mixed.bpf.c")?;
    let other = compiled("plan/tests/fixtures/programs.bpf.c")?;
    let kernel = compiled("plan/tests/fixtures/kernel.c")?;
    let types = Btf::parse(btf::elf::btf_section(&kernel).unwrap().unwrap().btf).unwrap();
    let minimal = |object: &[u8]| {
        let object = ObjectFile::parse("o", object).unwrap();
        btf::minimize::minimize(&Target::kernel(&types), &[object]).unwrap().btf
    };
    let (minimal, of_another) = (minimal(&object), minimal(&other));
    Some(Fixture { object, minimal, of_another, root: tempfile::tempdir().unwrap() })
}

fn pack(release: &str, bytes: &[u8]) -> Vec<u8> {
    let id = KernelId::new("debian", "12", "x86_64", release).unwrap();
    let mut builder = Builder::new();
    builder.add(Entry::vmlinux(id, Hash::of(bytes)));
    let mut out = Vec::new();
    builder.write(&mut out, 1, &|_| Ok(bytes.to_vec())).unwrap();
    out
}

const RELEASE: &str = "6.1.0-56-amd64";

impl Fixture {
    fn choose(&self, places: Places) -> Result<Chosen, NotTaken> {
        let mut facts = KernelFacts::unknown();
        facts.distribution = Some(("debian".to_owned(), "12".to_owned()));
        facts.arch = Some("x86_64".to_owned());
        facts.release = Some(RELEASE.to_owned());
        let object = ObjectFile::parse("mixed.bpf.o", &self.object).unwrap();
        choose(&object, &facts, &Places { root: self.root.path().to_owned(), ..places })
    }

    /// The place that is taken, and what was found at all of them.
    #[track_caller]
    fn check(&self, places: Places, taken: Option<&str>, found: &[&str]) {
        let chosen = self.choose(places).unwrap();
        let root = self.root.path().to_str().unwrap();
        let steady = |text: &str| text.replace(root, "");
        assert_eq!(chosen.btf.map(|types| steady(&types.place)).as_deref(), taken);
        let steps: Vec<String> = chosen.steps.iter().map(|step| steady(&step.to_string())).collect();
        assert_eq!(steps, found);
    }

    fn write(&self, path: &str, bytes: &[u8]) -> PathBuf {
        let path = self.root.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

const NO_OWN: &str = "the kernel's own BTF: /sys/kernel/btf/vmlinux: No such file or directory (os error 2)";
const NOT_OWN: &str = "taken; it serves relocations, not fentry and the like, which need the kernel's own";

#[test]
fn places_are_tried_in_order() {
    let Some(fixture) = fixture() else { return };
    fixture.check(Places::default(), None, &[NO_OWN]);
    let packs = || {
        vec![
            ("a".to_owned(), pack("6.1.0-55-amd64", &fixture.minimal)),
            ("b".to_owned(), pack(RELEASE, &fixture.minimal)),
        ]
    };
    let not_there = "pack a: it does not have debian/12/x86_64/6.1.0-56-amd64";
    fixture.check(
        Places { packs: packs(), ..Places::default() },
        Some("pack b"),
        &[NO_OWN, not_there, &format!("pack b: {NOT_OWN}")],
    );
    let near = "pack a: debian/12/x86_64/6.1.0-55-amd64, a near release";
    fixture.check(
        Places { packs: packs(), near: true, ..Places::default() },
        Some(near),
        &[NO_OWN, &format!("{near}: {NOT_OWN}")],
    );
    fixture.write("sys/kernel/btf/vmlinux", &fixture.minimal);
    fixture.check(
        Places { packs: packs(), ..Places::default() },
        Some("the kernel's own BTF"),
        &["the kernel's own BTF: taken"],
    );
}

#[test]
fn minimal_btf_of_other_objects_is_refused() {
    let Some(fixture) = fixture() else { return };
    fixture.write(&format!("hub/debian/12/x86_64/{RELEASE}.btf"), &fixture.minimal);
    let places = Places {
        packs: vec![("stale".to_owned(), pack(RELEASE, &fixture.of_another))],
        folders: vec![fixture.root.path().join("empty"), fixture.root.path().join("hub")],
        ..Places::default()
    };
    let taken = format!("/hub/debian/12/x86_64/{RELEASE}.btf");
    fixture.check(
        places,
        Some(&taken),
        &[
            NO_OWN,
            "pack stale: made for other objects: 3 of this one's 3 relocations are not in it",
            &format!("folder /empty: debian/12/x86_64/{RELEASE}.btf: No such file or directory (os error 2)"),
            &format!("{taken}: {NOT_OWN}"),
        ],
    );
}

#[test]
fn what_was_asked_for_and_cannot_be_taken_is_an_error() {
    let Some(fixture) = fixture() else { return };
    let check = |bytes: &[u8], expected: &str| {
        let explicit = Some(fixture.write("given.btf", bytes));
        let error = fixture.choose(Places { explicit, ..Places::default() }).unwrap_err().to_string();
        assert_eq!(error.replace(fixture.root.path().to_str().unwrap(), ""), expected);
    };
    check(&fixture.of_another, "/given.btf: made for other objects: 3 of this one's 3 relocations are not in it");
    check(&fixture.minimal[..20], "/given.btf: BTF header at offset 0x4: header length 24 exceeds the file's 20 bytes");
    check(b"", "/given.btf: not BTF: starts with [], expected [9f, eb] or [eb, 9f]");
}
