//! One page that needs nothing else: kernels down, features and programs across; a click shows what was predicted, what was observed,
//! and why.

use std::fmt::Write as _;

use vm_guest::words::{Outcome, Program};

use super::{FEATURES, Known, btf, duration, escaped, feature, objects, observed, program_names, programs};
use crate::results::{EntryResult, Results};

const STYLE: &str = "
:root{color-scheme:light dark;--line:#8884;--good:#2a9d4a;--bad:#c8372d;--off:#8889;--maybe:#c69214}
body{font:14px/1.45 system-ui,sans-serif;margin:2rem}
h1{font-size:1.3rem}h2{font-size:1.1rem;margin-top:2rem}
table{border-collapse:collapse}
th,td{border:1px solid var(--line);padding:.2rem .5rem;text-align:left;vertical-align:top}
th.across{writing-mode:vertical-rl;transform:rotate(180deg);font-weight:normal;max-height:18rem}
thead th{position:sticky;top:0;background:Canvas}tbody th{font-weight:normal;white-space:nowrap}
td.cell{text-align:center;padding:0}td.cell summary{list-style:none;cursor:pointer;padding:.2rem .5rem}
td.cell summary::-webkit-details-marker{display:none}
td.cell details[open]{text-align:left;max-width:34rem;padding:.3rem}
.good{color:var(--good)}.bad{color:var(--bad);font-weight:bold}.off{color:var(--off)}.maybe{color:var(--maybe)}
pre{white-space:pre-wrap;margin:.2rem 0}small{opacity:.75}
";

/// The page, in HTML.
pub fn page(results: &Results) -> String {
    let mut out = String::from("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n");
    let programs: usize = results.entries.iter().filter(|entry| entry.booted).map(EntryResult::programs).sum();
    let differing: usize = results.entries.iter().map(EntryResult::differing).sum();
    let _ = write!(
        out,
        "<meta name=\"viewport\" content=\"width=device-width\">\n<title>lcc: compatibility</title>\n<style>{STYLE}</style></head><body>\n\
         <h1>What works on which kernel: predicted, and observed</h1>\n\
         <p>{}, {} entries, {programs} programs held against booted kernels, <span class=\"{}\">{differing} did otherwise than \
         predicted</span>; {} in all. A click on a sign shows what was predicted, what the kernel did, and why.</p>\n\
         <p><span class=\"good\">●</span> works, as predicted; <span class=\"off\">✕</span> does not, as predicted; \
         <span class=\"maybe\">◐</span> was not predicted; <span class=\"bad\">‼</span> did otherwise than predicted; \
         <span class=\"off\">○</span> not booted.</p>\n",
        escaped(&results.date),
        results.entries.len(),
        if differing == 0 { "good" } else { "bad" },
        duration(results.seconds),
    );
    kernels(&mut out, results);
    for object in objects(&results.entries) {
        grid(&mut out, results, object);
    }
    tests(&mut out, results);
    out + "</body></html>\n"
}

fn kernels(out: &mut String, results: &Results) {
    out.push_str("<h2>Kernels</h2>\n<table><thead><tr><th>entry</th><th>kernel</th><th>BTF</th><th>result</th><th>boot</th><th>in all</th>");
    for (name, _) in &FEATURES {
        let _ = write!(out, "<th class=\"across\">{}</th>", escaped(name));
    }
    out.push_str("</tr></thead><tbody>\n");
    for entry in &results.entries {
        let class = if entry.passed() { "good" } else { "bad" };
        let _ = write!(
            out,
            "<tr><th>{}<br><small>{}</small></th><td>{}<br><small>{} {}</small></td><td>{}</td><td class=\"{class}\">{}</td><td>{}</td><td>{}</td>",
            escaped(&entry.name),
            escaped(&entry.about),
            escaped(&entry.release),
            escaped(&entry.package),
            escaped(&entry.version),
            btf(entry),
            escaped(&entry.verdict()),
            entry.boot_seconds.map_or_else(String::new, duration),
            duration(entry.seconds),
        );
        for (_, key) in FEATURES {
            let known = feature(entry, key);
            let class = match known {
                Known::Yes => "good",
                Known::No | Known::Unknown => "off",
            };
            let why = entry.facts["features"][key]["no"].as_str().unwrap_or_default();
            let _ = write!(out, "<td class=\"{class}\" title=\"{}\">{}</td>", escaped(why), known.sign());
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table>\n");
}

fn grid(out: &mut String, results: &Results, object: &str) {
    let names = program_names(&results.entries, object);
    let about = results.about.get(object).map_or_else(String::new, |about| format!("<p>{}</p>\n", escaped(about)));
    let _ =
        write!(out, "<h2>{}</h2>\n{about}<table><thead><tr><th>entry</th><th>object</th><th>BTF</th>", escaped(object));
    for name in &names {
        let _ = write!(out, "<th class=\"across\">{}</th>", escaped(name));
    }
    out.push_str("</tr></thead><tbody>\n");
    for entry in &results.entries {
        let Some(verified) = entry.objects.iter().find(|one| one.object == object) else { continue };
        let _ = write!(
            out,
            "<tr><th>{}</th><td>{}</td><td title=\"{}\">{}</td>",
            escaped(&entry.name),
            verified.outcome,
            escaped(&verified.places.join("\n")),
            escaped(verified.btf.as_deref().unwrap_or("none"))
        );
        for name in &names {
            match programs(entry, object).iter().find(|program| program.program == *name) {
                Some(program) => cell(out, entry, program),
                None => out.push_str("<td></td>"),
            }
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table>\n");
}

fn cell(out: &mut String, entry: &EntryResult, program: &Program) {
    let works = program.refused.is_none() && !program.silently;
    let (class, sign) = match (entry.booted, program.differs, &*program.predicted, works) {
        (false, ..) => ("off", "○"),
        (true, true, ..) => ("bad", "‼"),
        (true, false, "unknown", _) => ("maybe", "◐"),
        (true, false, _, true) => ("good", "●"),
        (true, false, _, false) => ("off", "✕"),
    };
    let why: String = program.why.iter().map(|why| format!("<li>{}</li>", escaped(why))).collect();
    let _ = write!(
        out,
        "<td class=\"cell\"><details><summary class=\"{class}\">{sign}</summary>{}<br>predicted: {}; observed: {}<ul>{why}</ul></details></td>",
        escaped(&program.section),
        program.predicted,
        escaped(&observed(entry, program)),
    );
}

fn tests(out: &mut String, results: &Results) {
    out.push_str("<h2>Tests</h2>\n<table><thead><tr><th>entry</th><th>program</th><th>test</th><th></th><th>time</th></tr></thead><tbody>\n");
    for entry in &results.entries {
        for test in &entry.tests {
            let (class, word) = match test.outcome {
                Outcome::Passed => ("good", "passed"),
                Outcome::Skipped => ("off", "cannot be done there"),
                Outcome::Failed => ("bad", "failed"),
            };
            let said = if test.said.is_empty() { String::new() } else { format!("<pre>{}</pre>", escaped(&test.said)) };
            let _ = writeln!(
                out,
                "<tr><th>{}</th><td>{}</td><td>{}</td><td class=\"{class}\">{word}{said}</td><td>{}</td></tr>",
                escaped(&entry.name),
                escaped(&test.program),
                escaped(&test.test),
                duration(test.seconds)
            );
        }
    }
    out.push_str("</tbody></table>\n");
}
