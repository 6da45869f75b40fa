//! BPF objects: .BTF.ext, and its relocations resolved, carried out and reported against the object's own types, so that one
//! input is both a hostile object and a hostile kernel; and the minimal BTF of these types.
#![no_main]

use btf::core_relo::{Target, relocate, report, resolve_all, search_candidates};
use btf::coverage::{Coverage, Fit};
use btf::minimize::minimize;
use btf::object_file::ObjectFile;
use btf::reach::reachable;
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
        let btf = btf::Btf::parse(&minimal.btf).expect("what was written can be read");
        let coverage = Coverage::read(&btf).expect("the coverage is in it");
        assert_eq!(coverage.check(&object), Fit::Object);
    }
});
