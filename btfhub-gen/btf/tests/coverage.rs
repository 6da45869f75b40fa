//! Whether a minimal BTF is taken for fitting an object only where it is.

mod support;

use btf::Btf;
use btf::core_relo::Target;
use btf::coverage::{Coverage, Fit};
use btf::minimize::minimize;
use btf::object_file::ObjectFile;

#[test]
fn an_object_is_covered_by_what_was_made_for_it_or_for_its_questions() {
    if !support::has("clang") {
        return support::skip("clang is missing");
    }
    let read = |machine, name| std::fs::read(support::object_for(machine, name)).unwrap();
    let made_for = ["tcplife", "types"].map(|name| (name, read("bpfel", name)));
    let objects: Vec<ObjectFile<'_>> =
        made_for.iter().map(|(name, data)| ObjectFile::parse(name, data).unwrap()).collect();
    let kernel = made_for[0].1.clone();
    let kernel = Btf::parse(btf::elf::btf_section(&kernel).unwrap().unwrap().btf).unwrap();
    let minimal = minimize(&Target::kernel(&kernel), &objects).unwrap().btf;
    let coverage = Coverage::read(&Btf::parse(&minimal).unwrap()).unwrap();
    assert_eq!(coverage.objects().len(), 2);

    let check = |data: &[u8]| coverage.check(&ObjectFile::parse("new", data).unwrap());
    assert_eq!(check(&made_for[0].1), Fit::Object);
    assert_eq!(check(&made_for[1].1), Fit::Object);
    // Compiled for the other byte order, it is another file that asks the same.
    assert_eq!(check(&read("bpfeb", "tcplife")), Fit::Questions);
    assert_eq!(check(&read("bpfeb", "types")), Fit::Questions);
    let mut longer = made_for[0].1.clone();
    longer.push(0);
    assert_eq!(check(&longer), Fit::Questions);
    let flavours = read("bpfel", "flavours");
    let object = ObjectFile::parse("flavours", &flavours).unwrap();
    let Fit::Stale { missing } = coverage.check(&object) else { panic!() };
    let asked = |number: usize| {
        let relo = &object.relocations()[number];
        btf::core_relo::AccessSpec::parse(object.btf(), relo.kind, relo.root, relo.access)
            .unwrap()
            .display(object.btf())
    };
    let missing: Vec<String> = missing.into_iter().map(asked).collect();
    assert!(missing.contains(&"struct task_struct.__state".to_owned()), "{missing:?}");
    // tcplife asks for it too.
    assert!(!missing.contains(&"struct tcp_sock.srtt_us".to_owned()), "{missing:?}");
}
