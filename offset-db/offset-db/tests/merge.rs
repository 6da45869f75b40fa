//! Exports and merges of any databases: nothing is lost, and the order makes no difference.

use image::VirtualAddress;
use offset_db::{Confidence, Fact, Field, Fingerprint, Kind, Layout, Method, Origin, Signature, Store, export, merge};
use proptest::prelude::*;
use proptest::sample::select;
use std::collections::BTreeSet;

/// What a database is filled with: few values of each, so that many meet.
type Filling = (Vec<(Fingerprint, Vec<Origin>, Vec<Fact>)>, Vec<Layout>, Vec<Signature>);

fn fingerprint() -> impl Strategy<Value = Fingerprint> {
    (0..3u8, any::<bool>(), 0..2u64).prop_map(|(number, has_build_id, copy)| Fingerprint {
        build_id: has_build_id.then(|| vec![number; 20]),
        text: u64::from(number),
        // a file without a build-id is told by these two
        file: u128::from(number) << 100 | if has_build_id { u128::from(copy) } else { 0 },
        size: 1000 + u64::from(number) + if has_build_id { copy } else { 0 },
        machine: ["x86_64", "aarch64", "x86_64"][usize::from(number)].to_owned(),
        go_build_id: (number == 2).then(|| "go/\u{fc}\"\\\n".to_owned()),
    })
}

fn origin() -> impl Strategy<Value = Origin> {
    (select(vec!["1.60.1", "1.9"]), select(vec!["cp38", ""])).prop_map(|(version, tag)| Origin {
        ecosystem: "pypi".to_owned(),
        package: "grpcio".to_owned(),
        version: version.to_owned(),
        tag: tag.to_owned(),
        platform: "manylinux".to_owned(),
        path: "a b/c.so".to_owned(),
    })
}

fn evidence() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(select(vec!["lineage: 1.40", "text: \u{1f980}", ""]).prop_map(str::to_owned), 0..3)
}

fn fact() -> impl Strategy<Value = Fact> {
    let place = (select(vec!["f", "_ZN1a1fEv", "\u{0}"]), select(vec![0, 16, u64::MAX]));
    let what = (
        select(vec![None, Some("a::f"), Some("b::f")]),
        select(vec![Kind::Entry, Kind::Cold]),
        select(vec![Method::Symtab, Method::Identified]),
        select(vec![Confidence::Probable, Confidence::Verified, Confidence::Labelled]),
        select(vec![0, 7, u64::MAX]),
    );
    (place, what, evidence(), prop::collection::vec(0..4u32, 0..3)).prop_map(
        |((name, address), what, evidence, returns)| {
            let (qualified, kind, method, confidence, size) = what;
            Fact {
                name: name.to_owned(),
                qualified: qualified.map(str::to_owned),
                address: VirtualAddress(address),
                size,
                kind,
                method,
                confidence,
                evidence,
                returns,
            }
        },
    )
}

fn layout() -> impl Strategy<Value = Layout> {
    (select(vec!["NDEBUG", ""]), 0..3u64, evidence(), prop::collection::vec(0..3u64, 0..3)).prop_map(
        |(configuration, size, evidence, offsets)| Layout {
            ecosystem: "pypi".to_owned(),
            package: "grpcio".to_owned(),
            version: "1.60.1".to_owned(),
            machine: "x86_64".to_owned(),
            configuration: configuration.to_owned(),
            name: "stream".to_owned(),
            size,
            source: "compiled".to_owned(),
            evidence,
            fields: offsets.iter().map(|at| Field { path: format!("f{at}"), offset_bits: *at, size_bits: 8 }).collect(),
        },
    )
}

fn signature() -> impl Strategy<Value = Signature> {
    (select(vec!["1.60.1", "1.9"]), select(vec!["f", "g"]), select(vec![0, u64::MAX])).prop_map(
        |(version, name, code)| Signature {
            ecosystem: "pypi".to_owned(),
            package: "grpcio".to_owned(),
            version: version.to_owned(),
            machine: "x86_64".to_owned(),
            name: name.to_owned(),
            scheme: 1,
            code,
        },
    )
}

fn filling() -> impl Strategy<Value = Filling> {
    let files = (fingerprint(), prop::collection::vec(origin(), 0..3), prop::collection::vec(fact(), 0..6));
    (
        prop::collection::vec(files, 0..5),
        prop::collection::vec(layout(), 0..4),
        prop::collection::vec(signature(), 0..4),
    )
}

fn filled((files, layouts, signatures): &Filling) -> Store {
    let mut store = Store::in_memory().unwrap();
    for (fingerprint, origins, facts) in files {
        store.add(fingerprint, origins, facts).unwrap();
    }
    store.add_layouts(layouts).unwrap();
    store.add_signatures(signatures).unwrap();
    store
}

fn text_of(store: &Store) -> String {
    let mut text = Vec::new();
    export(store, &mut text).unwrap();
    String::from_utf8(text).unwrap()
}

fn merged(texts: &[&str]) -> String {
    let mut store = Store::in_memory().unwrap();
    for text in texts {
        merge(&mut store, &mut text.as_bytes()).unwrap();
    }
    text_of(&store)
}

/// The places that facts are of: what no merge may lose.
fn places(text: &str) -> BTreeSet<String> {
    let mut file = String::new();
    let mut places = BTreeSet::new();
    for line in text.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let of = |kind: &str, parts: &[&str]| {
            let value = &line[kind];
            let parts: Vec<String> = parts.iter().map(|part| value[*part].to_string()).collect();
            (!value.is_null()).then(|| format!("{kind} {}", parts.join(" ")))
        };
        if let Some(key) = of("file", &["key"]) {
            file = key;
        }
        let here = of("function", &["name", "address", "method"])
            .or_else(|| of("copy", &["hash", "size"]))
            .or_else(|| of("origin", &["version", "tag"]));
        places.extend(here.map(|place| format!("{file} {place}")));
        places.extend(of("layout", &["configuration", "fields"]));
        places.extend(of("signature", &["version", "name", "code"]));
    }
    places
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_export_merged_into_nothing_exports_the_same(one in filling()) {
        let text = text_of(&filled(&one));
        prop_assert_eq!(merged(&[&text]), text.clone());
        prop_assert_eq!(merged(&[&text, &text]), text);
    }

    #[test]
    fn the_order_of_merges_makes_no_difference(one in filling(), two in filling(), three in filling()) {
        let [one, two, three] = [&one, &two, &three].map(|filling| text_of(&filled(filling)));
        let all = merged(&[&one, &two, &three]);
        prop_assert_eq!(&merged(&[&three, &two, &one]), &all);
        prop_assert_eq!(&merged(&[&two, &one, &three]), &all);
        prop_assert_eq!(&merged(&[&one, &merged(&[&two, &three])]), &all);
    }

    #[test]
    fn what_differs_is_kept(one in filling(), two in filling()) {
        let [one, two] = [&one, &two].map(|filling| text_of(&filled(filling)));
        let both: BTreeSet<String> = places(&one).union(&places(&two)).cloned().collect();
        prop_assert_eq!(places(&merged(&[&one, &two])), both);
    }

    #[test]
    fn what_is_surer_wins(facts in prop::collection::vec(fact(), 2)) {
        let [one, other] = &facts[..] else { return Ok(()) };
        let other = Fact { name: one.name.clone(), address: one.address, method: one.method, ..other.clone() };
        let file = Fingerprint { build_id: Some(vec![1]), text: 1, file: 0, size: 0, machine: String::new(), go_build_id: None };
        let texts = [one, &other].map(|fact| text_of(&filled(&(vec![(file.clone(), Vec::new(), vec![fact.clone()])], Vec::new(), Vec::new()))));
        let mut store = Store::in_memory().unwrap();
        for text in &texts {
            merge(&mut store, &mut text.as_bytes()).unwrap();
        }
        let known = store.known(&file).unwrap().unwrap();
        let kept = store.facts(&known).unwrap();
        prop_assert_eq!(kept.len(), 1);
        prop_assert_eq!(kept[0].confidence, one.confidence.max(other.confidence));
        let winner = if one.confidence >= other.confidence { one } else { &other };
        let ties = one.confidence == other.confidence;
        prop_assert!(ties || kept[0].evidence == winner.evidence && kept[0].size == winner.size);
    }
}
