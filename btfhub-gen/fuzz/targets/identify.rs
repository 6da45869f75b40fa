//! Two files against each other, whichever: frames, instructions, models, matches, verdicts, exits. What is in front of the first
//! `|NEXT|` is the labelled file; without one, the file is matched with itself.
#![no_main]

use identify::{Kind, Model, Reference, Verdict, Witness, identify, match_models};
use image::{Image, Machine, VirtualAddress};
use libfuzzer_sys::fuzz_target;

/// Between two files.
const NEXT: &[u8] = b"|NEXT|";

fuzz_target!(|data: &[u8]| {
    for machine in [Machine::X86_64, Machine::Aarch64] {
        // in a few places: where code begins says what its jumps leave
        for address in [0, 0x1000, u64::MAX - 7] {
            let code = &data[..data.len().min(4096)];
            let exits = identify::exits(machine, code, VirtualAddress(address)).expect("a set that is known").exits;
            assert!(exits.is_sorted_by_key(|exit| exit.offset));
            assert!(exits.iter().all(|exit| (exit.offset as usize) < code.len()));
        }
    }
    let at = data.windows(NEXT.len()).position(|window| window == NEXT);
    let (one, other) = at.map_or((data, data), |at| (&data[..at], &data[at + NEXT.len()..]));
    let (Ok(one), Ok(other)) = (Image::parse(one), Image::parse(other)) else { return };
    let (one, other) = (model(&one), model(&other));
    let matches = match_models(&one, &other);
    let mut to: Vec<u32> = matches.0.iter().map(|found| found.to).collect();
    to.sort_unstable();
    assert!(to.windows(2).all(|pair| pair[0] != pair[1]), "a function is matched once");
    for found in &matches.0 {
        let kinds = (one.functions[found.from as usize].kind, other.functions[found.to as usize].kind);
        assert_eq!(kinds.0, kinds.1);
        assert!((0.0..=1.0).contains(&found.similarity));
    }
    let labels = (0..one.functions.len() as u32).map(|at| (format!("f{at}"), at));
    let labels: Vec<(String, u32)> = labels.filter(|(_, at)| one.functions[*at as usize].kind == Kind::Entry).collect();
    let reference = |witness: Witness| Reference {
        name: witness.word().to_owned(),
        witness,
        model: &one,
        labels: labels.clone(),
        parted: labels.iter().step_by(3).map(|label| label.0.clone()).collect(),
    };
    for answer in identify(&other, &[reference(Witness::Lineage), reference(Witness::Compiled)]) {
        if let Verdict::Verified(function) = answer.verdict {
            assert_eq!(other.functions[function as usize].kind, Kind::Entry, "a part is no answer");
        }
    }
});

fn model(image: &Image<'_>) -> Model {
    let model = Model::of(image);
    assert!(model.functions.windows(2).all(|pair| pair[0].address < pair[1].address));
    let count = model.functions.len() as u32;
    for function in 0..count {
        assert!(model.callers(function).iter().all(|caller| *caller < count));
        let _ = model.references(function);
        assert!(model.fields(function).is_sorted());
        let _ = identify::lines(image, &model, function);
    }
    let _ = model.named("grpc_call_start_batch").count();
    model
}
