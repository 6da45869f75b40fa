//! BPF objects: .BTF.ext, and its relocations resolved, carried out and reported against the object's own types, so that one
//! input is both a hostile object and a hostile kernel; and the minimal BTF of these types.
#![no_main]

use btf::core_relo::{Target, relocate, report, resolve_all, search_candidates};
use btf::coverage::{Coverage, Fit};
use btf::minimize::{ByName, Enumerator, minimize, minimize_merged};
use btf::object_file::ObjectFile;
use btf::reach::reachable;
use btf::{Btf, Kind};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(object) = ObjectFile::parse("fuzzed.o", data) else { return };
    for (number, section) in object.sections().iter().enumerate() {
        for insn in 0..section.insns.len() {
            let _ = object.source_line(number, insn);
            let _ = object.function_at(number, insn);
            let _ = object.referred_function(number, insn);
        }
    }
    let target = Target::kernel(object.btf());
    let candidates = search_candidates(&target, [&object]);
    let resolutions = resolve_all(&object, &target, &candidates);
    assert_eq!(resolutions.len(), object.relocations().len());
    let fates = report(&object, &target, &resolutions);
    assert_eq!(fates.relocations.len(), resolutions.len());
    let code = relocate(&object, &resolutions);
    reachable(&object, &code.sections, 0..object.functions().len());
    if let Ok(minimal) = minimize(&target, std::slice::from_ref(&object)) {
        let btf = Btf::parse(&minimal.btf).expect("what was written can be read");
        let coverage = Coverage::read(&btf).expect("the coverage is in it");
        assert_eq!(coverage.check(&object), Fit::Object);
    }
    let named = |id| Some((object.btf().name_of(id).ok()?.to_owned(), object.btf().kind_of(id).ok()??));
    let mut by_name = ByName::default();
    by_name.types.extend(object.btf().ids().filter_map(named).filter(|(name, _)| !name.is_empty()));
    by_name.heads.extend(by_name.types.iter().filter(|(_, kind)| *kind == Kind::Struct).map(|(name, _)| name.clone()));
    by_name.enumerators.extend(by_name.types.iter().map(|(name, _)| (name.clone(), Enumerator::Valued(1))));
    if let Ok(minimal) = minimize_merged(&target, std::slice::from_ref(&object), &by_name) {
        let btf = Btf::parse(&minimal.btf).expect("what was written can be read");
        let coverage = Coverage::read(&btf).expect("the coverage is in it");
        assert!(by_name.types.iter().all(|(name, kind)| coverage.has_name(name, *kind)));
    }
});
