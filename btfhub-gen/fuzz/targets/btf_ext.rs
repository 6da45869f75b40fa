//! BPF objects: .BTF.ext, and its relocations resolved and patched against the object's own types, so that one input
//! is both a hostile object and a hostile kernel.
#![no_main]

use btf::core_relo::{Target, patch, resolve_object, search_candidates};
use btf::object_file::ObjectFile;
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
    let resolutions = resolve_object(&object, &target, &candidates, |_| true);
    assert_eq!(resolutions.len(), object.relocations().len());
    for (relocation, resolution) in object.relocations().iter().zip(&resolutions) {
        let Some(resolution) = resolution else { continue };
        if let (Ok(spec), Some(mismatch)) = (&resolution.local, &resolution.mismatch) {
            let _ = mismatch.describe(object.btf(), spec);
        }
        if let Ok(outcome) = &resolution.outcome {
            let mut insns = object.sections()[relocation.section].insns.clone();
            let _ = patch(&mut insns, relocation.insn, outcome);
        }
    }
});
