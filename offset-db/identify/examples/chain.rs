//! `chain LABELLED NEXT…`: carries the labels of targets from file to file, and holds each against what was carried two files before.
use identify::{Kind, Model, match_models};
use image::Image;
use std::collections::BTreeMap;

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

fn main() {
    let paths: Vec<String> = std::env::args().skip(1).collect();
    let load = |path: &String| {
        let bytes = std::fs::read(path).unwrap();
        let image = Image::parse(&bytes).unwrap();
        Model::of(&image)
    };
    let bytes = std::fs::read(&paths[0]).unwrap();
    let image = Image::parse(&bytes).unwrap();
    let mut history: Vec<(Model, BTreeMap<String, u32>)> = Vec::new();
    let model = Model::of(&image);
    let mut labels = BTreeMap::new();
    for symbol in image.functions() {
        let name = String::from_utf8_lossy(symbol.name).into_owned();
        for target in TARGETS {
            let is = name == *target
                || name.starts_with("_Z") && name.contains(&format!("{}{target}", target.len())) && !name.contains('.');
            if let (true, Some(at)) = (is, model.at(symbol.address)) {
                if model.functions[at as usize].kind == Kind::Entry {
                    labels.insert(target.to_string(), at);
                }
            }
        }
    }
    println!("{labels:?}");
    history.push((model, labels));
    for path in &paths[1..] {
        let model = load(path);
        let mut votes: BTreeMap<String, BTreeMap<u32, Vec<String>>> = BTreeMap::new();
        for (back, (reference, labels)) in history.iter().rev().take(3).enumerate() {
            let matches = match_models(reference, &model);
            for (name, at) in labels {
                if let Some(found) = matches.0.iter().find(|one| one.from == *at) {
                    votes.entry(name.clone()).or_default().entry(found.to).or_default().push(format!(
                        "-{} {:.2} {:?}",
                        back + 1,
                        found.similarity,
                        found.evidence.0
                    ));
                }
            }
        }
        let mut labels = BTreeMap::new();
        println!("== {path} {} functions", model.functions.len());
        for target in TARGETS {
            let Some(found) = votes.get(*target) else {
                println!("  {target:50} MISSED");
                continue;
            };
            let best = found.iter().max_by_key(|(_, by)| by.len()).unwrap();
            println!(
                "  {target:50} {:#x} {}{}",
                model.functions[*best.0 as usize].address.0,
                if found.len() > 1 { "CONFLICT " } else { "" },
                found.iter().map(|(f, by)| format!("{f}: {}", by.join(", "))).collect::<Vec<_>>().join(" | ")
            );
            labels.insert(target.to_string(), *best.0);
        }
        history.push((model, labels));
        if history.len() > 3 {
            history.remove(0);
        }
    }
}
