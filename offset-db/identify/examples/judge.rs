//! `judge FILE [COMPILED|-] LINEAGE…`: verdicts of targets; where the file has symbols, whether they are right.
use identify::{Model, Reference, Verdict, Witness, identify};
use image::Image;
use std::collections::{BTreeMap, BTreeSet};
fn stem(name: &str) -> String {
    let options = cpp_demangle::DemangleOptions::new().no_params().no_return_type();
    let (base, part) = match name.find('.') {
        Some(at) => (&name[..at], &name[at..]),
        None => (name, ""),
    };
    let plain = cpp_demangle::Symbol::new(base)
        .ok()
        .and_then(|s| s.demangle_with_options(&options).ok())
        .unwrap_or_else(|| base.to_owned());
    let mut out = String::new();
    for piece in plain.split("::") {
        if !piece.starts_with("lts_") {
            if !out.is_empty() {
                out.push_str("::");
            }
            out.push_str(piece);
        }
    }
    out + if part.contains("cold") {
        ".cold"
    } else if part.contains("part") {
        ".part"
    } else {
        ""
    }
}
fn labels(image: &Image<'_>, model: &Model) -> Vec<(String, u32)> {
    let mut all: BTreeMap<String, BTreeSet<u32>> = BTreeMap::new();
    for symbol in image.functions() {
        if let Some(at) = model.at(symbol.address) {
            all.entry(stem(&String::from_utf8_lossy(symbol.name))).or_default().insert(at);
        }
    }
    // a name that several functions have says nothing
    all.into_iter()
        .filter(|(name, at)| {
            at.len() == 1
                && !name.contains(".cold")
                && !name.contains(".part")
                && !name.starts_with("__pyx")
                && !name.contains("GLOBAL__sub_I")
        })
        .map(|(name, at)| (name, *at.iter().next().unwrap()))
        .collect()
}
fn main() {
    let paths: Vec<String> = std::env::args().skip(1).collect();
    let bytes: Vec<Option<Vec<u8>>> = paths.iter().map(|path| std::fs::read(path).ok()).collect();
    let images: Vec<Option<Image<'_>>> = bytes.iter().map(|bytes| Image::parse(bytes.as_ref()?).ok()).collect();
    let models: Vec<Option<Model>> = images.iter().map(|image| Some(Model::of(image.as_ref()?))).collect();
    let target = models[0].as_ref().unwrap();
    let truth: BTreeMap<String, u32> = labels(images[0].as_ref().unwrap(), target).into_iter().collect();
    let names_at: BTreeMap<u32, Vec<String>> = {
        let mut m: BTreeMap<u32, Vec<String>> = BTreeMap::new();
        for s in images[0].as_ref().unwrap().functions() {
            if let Some(at) = target.at(s.address) {
                m.entry(at).or_default().push(stem(&String::from_utf8_lossy(s.name)));
            }
        }
        m
    };
    let mut references = Vec::new();
    for at in 1..paths.len() {
        let (Some(model), Some(image)) = (&models[at], &images[at]) else { continue };
        references.push(Reference {
            name: paths[at].clone(),
            witness: if at == 1 { Witness::Compiled } else { Witness::Lineage },
            model,
            labels: labels(image, model),
        });
    }
    let answers = identify(target, &references);
    let compiled: BTreeSet<&str> = references
        .iter()
        .filter(|r| r.witness == Witness::Compiled)
        .flat_map(|r| r.labels.iter().map(|l| l.0.as_str()))
        .collect();
    let mut count = [[0; 3]; 3];
    for answer in &answers {
        if !compiled.is_empty() && !compiled.contains(answer.name.as_str()) && std::env::var("ALL").is_err() {
            continue;
        }
        let (row, f) = match answer.verdict {
            Verdict::Verified(f) => (0, Some(f)),
            Verdict::Probable(f) => (1, Some(f)),
            _ => (2, None),
        };
        let column = match (f, truth.get(&answer.name)) {
            (Some(f), _) if names_at.get(&f).is_some_and(|n| n.contains(&answer.name)) => 0,
            (Some(f), Some(_)) if names_at.contains_key(&f) => 1,
            (None, Some(_)) => 0,
            _ => 2,
        };
        count[row][column] += 1;
        if row == 0 && column == 1 || (row == 0 && column == 2 && !truth.is_empty() && std::env::var("W").is_ok()) {
            println!(
                "WRONG {column} {} is {:?}, said {:?}: {:?}",
                answer.name,
                truth.get(&answer.name),
                f.and_then(|f| names_at.get(&f)),
                answer
                    .testimonies
                    .iter()
                    .map(|t| format!(
                        "{:?} f{} {:.2} {} {}",
                        t.witness, t.function, t.similarity, t.evidence.0, t.is_strong
                    ))
                    .collect::<Vec<_>>()
            );
        }
        if std::env::var("TARGETS").is_ok_and(|t| t.split(',').any(|t| t == answer.name)) {
            println!(
                "  {} {:?} {:?}",
                answer.name,
                answer.verdict,
                answer
                    .testimonies
                    .iter()
                    .map(|t| format!(
                        "{:?} f{} {:.2} {} {}",
                        t.witness, t.function, t.similarity, t.evidence.0, t.is_strong
                    ))
                    .collect::<Vec<_>>()
            );
        }
    }
    println!(
        "{}: verified {} right {} wrong {} gone; probable {} right {} wrong {} gone; unknown {} (of {} also gone)",
        paths[0],
        count[0][0],
        count[0][1],
        count[0][2],
        count[1][0],
        count[1][1],
        count[1][2],
        count[2][0],
        count[2][2]
    );
}
