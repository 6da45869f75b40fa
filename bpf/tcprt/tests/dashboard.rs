//! The Grafana dashboard asks for metrics that are there.

use std::collections::BTreeSet;

use tcprt::prometheus::Metrics;

/// The names in a query that are metrics of ours.
fn metrics(query: &str) -> impl Iterator<Item = &str> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    query.split(move |c: char| !is_name(c)).filter(|word| word.starts_with("tcprt_"))
}

/// All queries in the dashboard.
fn queries(value: &serde_json::Value, found: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(members) => {
            for (name, value) in members {
                match value.as_str() {
                    Some(text) if ["expr", "query", "definition"].contains(&name.as_str()) => {
                        found.push(text.to_owned())
                    }
                    _ => queries(value, found),
                }
            }
        }
        serde_json::Value::Array(list) => list.iter().for_each(|value| queries(value, found)),
        _ => {}
    }
}

#[test]
fn each_metric_that_is_asked_for_is_exported_and_each_exported_one_is_asked_for() {
    let dashboard: serde_json::Value = serde_json::from_str(include_str!("../grafana.json")).unwrap();
    let exposition = Metrics::default().exposition();
    let mut exported = BTreeSet::new();
    for line in exposition.lines() {
        let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) else { continue };
        match kind {
            "histogram" => exported.extend(["_bucket", "_sum", "_count"].map(|end| format!("{name}{end}"))),
            _ => {
                exported.insert(name.to_owned());
            }
        }
    }
    let mut all = Vec::new();
    queries(&dashboard, &mut all);
    assert!(all.len() >= 10, "{all:?}");
    let asked: BTreeSet<String> = all.iter().flat_map(|query| metrics(query)).map(str::to_owned).collect();
    let unknown: Vec<_> = asked.difference(&exported).collect();
    assert!(unknown.is_empty(), "asked for and not exported: {unknown:?}");
    // sums are left to who wants means; the version is for who looks for it
    let left: Vec<_> =
        exported.difference(&asked).filter(|name| !name.ends_with("_sum") && !name.ends_with("_count")).collect();
    assert_eq!(left, ["tcprt_build_info"]);
}
