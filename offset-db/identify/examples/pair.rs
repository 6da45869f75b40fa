//! `pair LABELLED OTHER`: how many functions of the other file are found, and, where it has symbols, how many of them rightly.
use identify::{Evidence, Model, match_models};
use image::Image;
use std::collections::{BTreeMap, BTreeSet};

const TARGETS: &[&str] = &[
    "grpc_chttp2_data_parser_parse",
    "grpc_chttp2_list_pop_writable_stream",
    "grpc_chttp2_maybe_complete_recv_initial_metadata",
    "grpc_chttp2_maybe_complete_recv_trailing_metadata",
    "grpc_chttp2_mark_stream_closed",
    "grpc_chttp2_begin_write",
    "grpc_chttp2_end_write",
    "grpc_call_start_batch",
    "SSL_read",
    "SSL_write",
    "SSL_do_handshake",
];

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
    let part = if part.contains("cold") {
        ".cold"
    } else if part.contains("part") {
        ".part"
    } else {
        ""
    };
    out + part
}

fn names<'d>(image: &Image<'d>, model: &Model) -> Vec<BTreeSet<String>> {
    let mut names = vec![BTreeSet::new(); model.functions.len()];
    for symbol in image.functions() {
        if let Some(at) = model.at(symbol.address) {
            names[at as usize].insert(stem(&String::from_utf8_lossy(symbol.name)));
        }
    }
    names
}

fn groups(one: &identify::Match) -> String {
    let e = one.evidence;
    let content = if e.has(Evidence::EXACT) {
        "exact"
    } else if e.has(Evidence::SHAPE) {
        "shape"
    } else if one.similarity >= 0.75 {
        "alike"
    } else if one.similarity >= 0.5 {
        "like"
    } else {
        ""
    };
    let mut count = Vec::new();
    if !content.is_empty() {
        count.push(content);
    }
    if e.has(Evidence::TEXTS) {
        count.push("texts");
    }
    if e.has(Evidence::CALLS) || e.has(Evidence::TABLE) {
        count.push("calls");
    }
    if e.has(Evidence::CALLED) {
        count.push("called");
    }
    if e.has(Evidence::ORDER) {
        count.push("order");
    }
    count.join("+")
}

fn main() {
    let paths: Vec<String> = std::env::args().skip(1).collect();
    let bytes: Vec<Vec<u8>> = paths.iter().map(|path| std::fs::read(path).unwrap()).collect();
    let start = std::time::Instant::now();
    let images: Vec<Image<'_>> = bytes.iter().map(|bytes| Image::parse(bytes).unwrap()).collect();
    let models: Vec<Model> = images.iter().map(Model::of).collect();
    let modelled = start.elapsed();
    let matches = match_models(&models[0], &models[1]);
    let all = start.elapsed();
    let left = names(&images[0], &models[0]);
    let right = names(&images[1], &models[1]);
    let known: BTreeMap<&String, u32> =
        right.iter().enumerate().flat_map(|(at, names)| names.iter().map(move |name| (name, at as u32))).collect();
    let (mut correct, mut wrong) = (0, 0);
    let mut by: BTreeMap<String, (u32, u32, u32)> = BTreeMap::new();
    let mut to_of: BTreeMap<u32, u32> = BTreeMap::new();
    for one in &matches.0 {
        to_of.insert(one.from, one.to);
        let (l, r) = (&left[one.from as usize], &right[one.to as usize]);
        if l.is_empty() || r.is_empty() {
            continue;
        }
        let fits = !l.is_disjoint(r);
        let group = groups(one);
        let entry = by.entry(group).or_default();
        if !fits && !l.iter().any(|name| known.contains_key(name)) {
            entry.2 += 1;
            continue;
        }
        if fits {
            correct += 1;
            entry.0 += 1
        } else {
            wrong += 1;
            entry.1 += 1;
            if std::env::var("W").is_ok() && wrong < 60 {
                println!(
                    "WRONG {:?} sim {:.2} {:?} -> {:?} insns {} {}",
                    one.found,
                    one.similarity,
                    l.iter().next(),
                    r.iter().next(),
                    models[0].functions[one.from as usize].instructions,
                    models[1].functions[one.to as usize].instructions
                );
            }
        }
    }
    let possible = left.iter().filter(|names| names.iter().any(|name| known.contains_key(name))).count();
    println!(
        "functions {} {}; models {modelled:?}, all {all:?}; matched {}; possible {possible}; precision {:.4} recall {:.4}",
        models[0].functions.len(),
        models[1].functions.len(),
        matches.0.len(),
        correct as f64 / (correct + wrong).max(1) as f64,
        correct as f64 / possible.max(1) as f64
    );
    for (evidence, (correct, wrong, renamed)) in by {
        println!("  {evidence:>28}: {correct} right, {wrong} wrong, {renamed} renamed");
    }
    for target in TARGETS {
        let is = |names: &BTreeSet<String>| {
            names.iter().any(|name| {
                name == target || name.starts_with("_Z") && name.contains(&format!("{}{target}", target.len()))
            })
        };
        for (at, _) in left
            .iter()
            .enumerate()
            .filter(|(at, names)| is(names) && models[0].functions[*at].kind == identify::Kind::Entry)
        {
            let to = to_of.get(&(at as u32));
            let verdict = match to {
                None => "missed".into(),
                Some(to) if right[*to as usize].is_empty() => {
                    format!("{:#x}", models[1].functions[*to as usize].address.0)
                }
                Some(to) => {
                    if right[*to as usize].is_disjoint(&left[at]) {
                        "WRONG".to_string()
                    } else {
                        "right".into()
                    }
                }
            };
            let m = matches.0.iter().find(|m| m.from == at as u32);
            println!("  {target:54} {verdict} {:?}", m.map(|m| (m.similarity, m.found.0, m.evidence.0)));
        }
    }
}
