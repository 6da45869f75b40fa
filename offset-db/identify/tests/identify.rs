//! Functions of a stripped library by those of other builds of its source: compiled here, so that the truth is known.

use identify::{Answer, Evidence, Kind, Model, Reference, SourceLine, Verdict, Witness, identify, lines, match_models};
use image::Image;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

/// The fixture as a library: its bytes.
fn compile(arguments: &[&str]) -> Vec<u8> {
    compile_of("store.c", arguments)
}

fn compile_of(source: &str, arguments: &[&str]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let library = folder.path().join("library.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(source);
    let mut command = Command::new("gcc");
    command
        .args(["-shared", "-fPIC", "-Wall", "-Wextra", "-Werror"])
        .args(arguments)
        .arg("-o")
        .arg(&library)
        .arg(source);
    assert!(command.status().unwrap().success());
    std::fs::read(library).unwrap()
}

fn labels(image: &Image<'_>, model: &Model) -> Vec<(String, u32)> {
    let name = |symbol: image::Symbol<'_>| String::from_utf8_lossy(symbol.name).into_owned();
    let labels: BTreeMap<String, u32> =
        image.functions().filter_map(|symbol| Some((name(symbol), model.at(symbol.address)?))).collect();
    labels.into_iter().collect()
}

/// Looks for the functions of some builds in another, which has symbols: by them, the name of what was found for each name.
fn find(file: &[u8], references: &[(Witness, &[u8])]) -> Vec<(Answer, Option<String>)> {
    let image = Image::parse(file).unwrap();
    let model = Model::of(&image);
    let truth = labels(&image, &model);
    let images: Vec<Image<'_>> = references.iter().map(|(_, bytes)| Image::parse(bytes).unwrap()).collect();
    let models: Vec<Model> = images.iter().map(Model::of).collect();
    let references: Vec<Reference<'_>> = references
        .iter()
        .zip(images.iter().zip(&models))
        .map(|((witness, _), (image, model))| Reference {
            name: witness.word().to_owned(),
            witness: *witness,
            model,
            labels: labels(image, model).into_iter().filter(|(name, _)| !name.starts_with('_')).collect(),
            parted: BTreeSet::new(),
        })
        .collect();
    let named = |function: u32| truth.iter().find(|(_, at)| *at == function).map(|(name, _)| name.clone());
    let answers = identify(&model, &references);
    answers
        .into_iter()
        .map(|answer| match answer.verdict {
            Verdict::Verified(function) | Verdict::Probable(function) => (answer, named(function)),
            _ => (answer, None),
        })
        .collect()
}

fn check_right(found: &[(Answer, Option<String>)], at_least: usize) {
    let mut right = 0;
    for (answer, name) in found {
        if let Some(name) = name {
            assert_eq!(name, &answer.name, "{answer:?}");
            right += 1;
        }
    }
    assert!(right >= at_least, "{right} of {}: {found:?}", found.len());
}

#[test]
fn the_next_version_of_the_same_compiler_is_found() {
    let (one, two) = (compile(&["-O2", "-DVERSION=1"]), compile(&["-O2", "-DVERSION=2"]));
    let found = find(&two, &[(Witness::Lineage, &one)]);
    let moved = found.iter().find(|(answer, _)| answer.name == "store_put").unwrap();
    assert_ne!(moved.1.as_deref(), Some("store_put"), "this fixture's body has moved");
    let others: Vec<_> = found.into_iter().filter(|(answer, _)| answer.name != "store_put").collect();
    check_right(&others, 10);
}

#[test]
fn a_body_that_moved_is_not_verified_where_its_lineage_went() {
    let (one, two) = (compile(&["-O2", "-DVERSION=1"]), compile(&["-O2", "-DVERSION=2"]));
    let source = compile(&["-O3", "-DVERSION=2"]);
    let found = find(&two, &[(Witness::Lineage, &one), (Witness::Compiled, &source)]);
    for (answer, name) in &found {
        if let Verdict::Verified(_) = answer.verdict {
            assert_eq!(name.as_deref(), Some(&*answer.name), "{answer:?}");
        }
    }
    let verified = found.iter().filter(|(answer, _)| matches!(answer.verdict, Verdict::Verified(_))).count();
    assert!(verified >= 6, "{verified}: {found:?}");
}

#[test]
fn other_optimisation_finds_less_and_nothing_wrong() {
    let (one, two) = (compile(&["-O2", "-DVERSION=2"]), compile(&["-O3", "-DVERSION=2"]));
    check_right(&find(&two, &[(Witness::Compiled, &one)]), 8);
    check_right(&find(&one, &[(Witness::Compiled, &two)]), 8);
}

#[test]
fn a_file_is_all_of_itself() {
    let file = compile(&["-O2", "-DVERSION=2"]);
    let image = Image::parse(&file).unwrap();
    let model = Model::of(&image);
    for found in match_models(&model, &model).0 {
        assert_eq!(found.from, found.to);
    }
}

#[test]
fn cold_parts_are_no_functions() {
    let file = compile(&["-O2", "-DVERSION=2"]);
    let image = Image::parse(&file).unwrap();
    let model = Model::of(&image);
    for symbol in image.functions() {
        let Some(at) = model.at(symbol.address) else { continue };
        let is_cold = String::from_utf8_lossy(symbol.name).contains(".cold");
        let expected = if is_cold { Kind::Cold } else { Kind::Entry };
        assert_eq!(model.functions[at as usize].kind, expected, "{}", String::from_utf8_lossy(symbol.name));
    }
}

#[test]
fn the_same_files_give_the_same_matches() {
    let (one, two) = (compile(&["-O2", "-DVERSION=1"]), compile(&["-O3", "-DVERSION=2"]));
    let (one, two) = (Image::parse(&one).unwrap(), Image::parse(&two).unwrap());
    let first = match_models(&Model::of(&one), &Model::of(&two));
    for _ in 0..3 {
        assert_eq!(match_models(&Model::of(&one), &Model::of(&two)).0, first.0);
    }
}

#[test]
fn broken_files_are_read_as_far_as_they_go() {
    let file = compile(&["-O2", "-DVERSION=1"]);
    for length in (64..file.len()).step_by(509) {
        if let Ok(image) = Image::parse(&file[..length]) {
            let _ = Model::of(&image);
        }
    }
    for at in (0..file.len()).step_by(251) {
        let mut broken = file.clone();
        broken[at] ^= 0xff;
        if let Ok(image) = Image::parse(&broken) {
            let _ = Model::of(&image);
        }
    }
}

/// Functions alike but for the fields that they access, in another order in the one file: nothing else tells them apart.
#[test]
fn fields_tell_twins_apart() {
    let (file, source) = (compile_of("fields.c", &["-O1"]), compile_of("fields.c", &["-O2", "-DOTHER_ORDER"]));
    let found = find(&file, &[(Witness::Compiled, &source)]);
    let mut told = 0;
    let image = Image::parse(&file).unwrap();
    let truth = labels(&image, &Model::of(&image));
    for (answer, _) in found.iter().filter(|(answer, _)| answer.name.starts_with("sum_")) {
        for one in answer.testimonies.iter().filter(|one| one.witness == Witness::Fields) {
            assert!(truth.contains(&(answer.name.clone(), one.function)), "{answer:?}");
            told += 1;
        }
    }
    assert_eq!(told, 4, "{found:?}");
}

#[test]
fn a_function_that_was_split_is_not_told() {
    let file = compile(&["-O2", "-DVERSION=2"]);
    let image = Image::parse(&file).unwrap();
    let model = Model::of(&image);
    let verdict = |parted: &str| {
        let reference = |witness| Reference {
            name: "the same".to_owned(),
            witness,
            model: &model,
            labels: labels(&image, &model),
            parted: BTreeSet::from([parted.to_owned()]),
        };
        let answers = identify(&model, &[reference(Witness::Lineage), reference(Witness::Compiled)]);
        answers.into_iter().find(|answer| answer.name == "store_get").unwrap().verdict
    };
    assert!(matches!(verdict("nothing"), Verdict::Verified(_)));
    assert_eq!(verdict("store_get"), Verdict::Unknown);
}

#[test]
fn code_tells_lines_of_its_source() {
    if !cfg!(target_arch = "x86_64") {
        return eprintln!("skipped: the fixture is compiled for this machine, and only x86-64's calls are read");
    }
    for optimisation in ["-O1", "-O2", "-O3", "-Os"] {
        let file = compile_of("lines.c", &[optimisation]);
        let image = Image::parse(&file).unwrap();
        let model = Model::of(&image);
        for (name, expected) in [("checked", vec![("src/lines.c", 100), ("src/lines.c", 200)]), ("silent", vec![])] {
            let function = labels(&image, &model).into_iter().find(|label| label.0 == name).unwrap().1;
            let expected: BTreeSet<SourceLine> =
                expected.into_iter().map(|(file, line)| SourceLine { file: file.to_owned(), line }).collect();
            assert_eq!(lines(&image, &model, function), expected, "{name} {optimisation}");
        }
    }
}

/// What functions of a library refer to, by name.
fn refers(file: &[u8], name: &str) -> Vec<String> {
    let image = Image::parse(file).unwrap();
    let model = Model::of(&image);
    let labels = labels(&image, &model);
    let of = |at: &u32| labels.iter().find(|label| label.1 == *at).unwrap().0.clone();
    let at = labels.iter().find(|label| label.0 == name).unwrap().1;
    let word = |reference: &identify::Refers| match reference {
        identify::Refers::Call(at) => format!("calls {}", of(at)),
        identify::Refers::Address(at) => format!("address of {}", of(at)),
        identify::Refers::Data(_) => "data".to_owned(),
        other => format!("{other:?}"),
    };
    model.references(at).iter().map(word).collect()
}

#[test]
fn what_goes_by_a_slot_is_the_same_as_what_does_not() {
    let slots = compile_of("linked.c", &["-O2"]);
    let direct = compile_of("linked.c", &["-O2", "-Wl,-Bsymbolic"]);
    for file in [&slots, &direct] {
        assert_eq!(refers(file, "both"), ["address of step", "calls times", "data", "calls step"]);
    }
    let (one, two) = (Image::parse(&slots).unwrap(), Image::parse(&direct).unwrap());
    let code = |image: &Image<'_>| {
        let both = image.functions().find(|symbol| symbol.name == b"both").unwrap();
        image.bytes_at(both.address, both.size).unwrap().to_vec()
    };
    assert_ne!(code(&one).first_chunk::<12>(), code(&two).first_chunk::<12>(), "the linker spares no slot");
    let (from, to) = (Model::of(&one), Model::of(&two));
    let both = labels(&one, &from).into_iter().find(|label| label.0 == "both").unwrap().1;
    let matches = match_models(&from, &to);
    let found = matches.0.iter().find(|found| found.from == both).unwrap();
    assert!(found.evidence.has(Evidence::EXACT), "{found:?}");
}

#[test]
fn a_trace_in_a_cold_part_tells_of_the_function() {
    let file = compile_of("linked.c", &["-O2"]);
    let image = Image::parse(&file).unwrap();
    let model = Model::of(&image);
    let at = |name: &str| labels(&image, &model).into_iter().find(|label| label.0 == name).unwrap().1;
    assert_eq!(model.named("traced_function").collect::<Vec<_>>(), [at("traced")]);
    let has_text = |name: &str| model.references(at(name)).iter().any(|one| matches!(one, identify::Refers::Text(_)));
    assert!(has_text("traced.cold") && !has_text("traced"));
}
