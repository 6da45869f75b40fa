//! What a check found, as one page that needs nothing else: kernels down, programs across, and a click shows why.

use std::fmt::Write as _;

use plan::{ProgramPlan, Status};

use super::CheckReport;
use super::junit::escaped;

const STYLE: &str = "
:root{color-scheme:light dark;--line:#8884;--works:#2a9d4a;--unknown:#c69214;--fails:#c8372d;--off:#8889}
body{font:14px/1.45 system-ui,sans-serif;margin:2rem;max-width:110rem}
h1{font-size:1.3rem}h2{font-size:1.1rem;margin-top:2rem}
table{border-collapse:collapse}
th,td{border:1px solid var(--line);padding:.2rem .5rem;text-align:left;vertical-align:top}
thead th{position:sticky;top:0;background:Canvas}
th.program{writing-mode:vertical-rl;transform:rotate(180deg);font-weight:normal;max-height:16rem}
td.cell{text-align:center;padding:0}
td.cell details{padding:0}
td.cell summary{list-style:none;cursor:pointer;padding:.2rem .5rem}
td.cell summary::-webkit-details-marker{display:none}
td.cell details[open]{text-align:left;max-width:34rem;padding:.3rem}
.on summary{color:var(--works)}.maybe summary{color:var(--unknown)}.unmet summary{color:var(--fails)}.idle summary{color:var(--off)}
.met{color:var(--works)}.unknown{color:var(--unknown)}.fails,.unmet b{color:var(--fails)}.degraded{color:var(--unknown)}.works{color:var(--works)}
ul{margin:.2rem 0;padding-left:1.2rem}small{opacity:.75}
";

impl CheckReport {
    /// The page, in HTML.
    pub fn page(&self) -> String {
        let mut out = String::from("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n");
        let _ = write!(
            out,
            "<meta name=\"viewport\" content=\"width=device-width\">\n<title>lcc-btf check</title>\n<style>{STYLE}</style></head><body>\n\
             <h1>Which program works on which kernel</h1>\n\
             <p>{} kernels, {} objects, by <code>lcc-btf check</code>. ● enabled, ◐ enabled as far as is known, \
             ○ not needed (another serves, or not loaded by default), ✕ cannot work. A click shows why.</p>\n",
            self.kernels.len(),
            self.objects.len()
        );
        for (at, object) in self.objects.iter().enumerate() {
            let _ = writeln!(out, "<h2>{}</h2>\n<table><thead><tr><th>kernel</th><th>object</th>", escaped(object));
            for program in self.kernels.first().into_iter().flat_map(|kernel| &kernel.plans[at].programs) {
                let (name, section) = (escaped(&program.name), escaped(&program.section));
                let _ = writeln!(out, "<th class=\"program\" title=\"{section}\">{name}</th>");
            }
            out.push_str("</tr></thead><tbody>\n");
            for kernel in &self.kernels {
                let plan = &kernel.plans[at];
                let outcome = plan.outcome.word();
                let known = if kernel.surface { "" } else { " <small>(BTF only)</small>" };
                let _ = writeln!(
                    out,
                    "<tr><th>{}{known}</th><td class=\"{outcome}\">{outcome}</td>",
                    escaped(&kernel.kernel)
                );
                for program in &plan.programs {
                    cell(&mut out, program);
                }
                out.push_str("</tr>\n");
            }
            out.push_str("</tbody></table>\n");
        }
        if !self.failures.is_empty() {
            out.push_str("<h2>Inputs that failed</h2>\n<ul>\n");
            for failure in &self.failures {
                let _ = writeln!(out, "<li>{}</li>", escaped(&failure.error));
            }
            out.push_str("</ul>\n");
        }
        out + "</body></html>\n"
    }
}

fn cell(out: &mut String, program: &ProgramPlan) {
    let (class, sign) = match (program.enabled, program.status) {
        (true, Status::Met) => ("on", "●"),
        (true, _) => ("maybe", "◐"),
        (false, Status::Unmet) => ("unmet", "✕"),
        (false, _) => ("idle", "○"),
    };
    let _ = write!(out, "<td class=\"cell {class}\"><details><summary>{sign}</summary>{}<ul>", program.reason.words());
    for requirement in &program.requirements {
        let status = requirement.status.word();
        let _ = write!(out, "<li><span class=\"{status}\">{status}</span> {}", escaped(&requirement.need.to_string()));
        if !requirement.evidence.is_empty() {
            let _ = write!(out, ": {}", escaped(&requirement.evidence));
        }
        if let Some(remedy) = &requirement.remedy {
            let _ = write!(out, " <small>{}</small>", escaped(remedy));
        }
        out.push_str("</li>");
    }
    out.push_str("</ul></details></td>\n");
}
