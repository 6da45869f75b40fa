//! The stable JSON of [`Plan`] and [`KernelFacts`]: one of everything, against goldens and against `docs/loader.md`. A new
//! variant or field does not compile here until it is added, and does not pass until the golden and the document have it.
//! `UPDATE_GOLDEN=1` rewrites the goldens.

use std::collections::{BTreeMap, BTreeSet};
use std::iter::successors;

use serde_json::Value;

use crate::facts::{self, Answer, Feature, KernelFacts, Lockdown, Security};
use crate::{Group, MapPlan, Need, Outcome, Plan, ProgramPlan, Reason, Requirement, Rule, Status, VERSION};

/// All values of an enum, from the first on; `after` has a match without a wildcard.
fn all<T: Clone>(first: T, after: impl Fn(&T) -> Option<T>) -> Vec<T> {
    successors(Some(first), after).collect()
}

fn statuses() -> Vec<Status> {
    all(Status::Met, |status| match status {
        Status::Met => Some(Status::Unknown),
        Status::Unknown => Some(Status::Unmet),
        Status::Unmet => None,
    })
}

fn outcomes() -> Vec<Outcome> {
    all(Outcome::Works, |outcome| match outcome {
        Outcome::Works => Some(Outcome::Unknown),
        Outcome::Unknown => Some(Outcome::Degraded),
        Outcome::Degraded => Some(Outcome::Fails),
        Outcome::Fails => None,
    })
}

fn reasons() -> Vec<Reason> {
    all(Reason::Met, |reason| match reason {
        Reason::Met => Some(Reason::NothingUnmet),
        Reason::NothingUnmet => Some(Reason::Unmet),
        Reason::Unmet => Some(Reason::NotAutoloaded),
        Reason::NotAutoloaded => Some(Reason::Unwanted),
        Reason::Unwanted => Some(Reason::AnotherServes),
        Reason::AnotherServes => Some(Reason::OthersMissing),
        Reason::OthersMissing => None,
    })
}

fn rules() -> Vec<Rule> {
    all(Rule::One, |rule| match rule {
        Rule::One => Some(Rule::All),
        Rule::All => None,
    })
}

fn features() -> Vec<Feature> {
    all(Feature::GlobalData, |feature| match feature {
        Feature::GlobalData => Some(Feature::Kprobe),
        Feature::Kprobe => Some(Feature::KprobeMulti),
        Feature::KprobeMulti => Some(Feature::Uprobe),
        Feature::Uprobe => Some(Feature::UprobeMulti),
        Feature::UprobeMulti => Some(Feature::Fentry),
        Feature::Fentry => Some(Feature::BpfLsm),
        Feature::BpfLsm => Some(Feature::Tracefs),
        Feature::Tracefs => Some(Feature::ControlGroups),
        Feature::ControlGroups => Some(Feature::BpfLink),
        Feature::BpfLink => Some(Feature::BpfCookie),
        Feature::BpfCookie => Some(Feature::RingBuffer),
        Feature::RingBuffer => Some(Feature::SkStorageInTracing),
        Feature::SkStorageInTracing => Some(Feature::TypedHelpers),
        Feature::TypedHelpers => None,
    })
}

fn answers() -> Vec<Answer> {
    all(Answer::Yes, |answer| match answer {
        Answer::Yes => Some(Answer::No("how that shows".to_owned())),
        Answer::No(_) => Some(Answer::Unknown("why".to_owned())),
        Answer::Unknown(_) => Some(Answer::NotAsked),
        Answer::NotAsked => None,
    })
}

fn lockdowns() -> Vec<Lockdown> {
    all(Lockdown::None, |level| match level {
        Lockdown::None => Some(Lockdown::Integrity),
        Lockdown::Integrity => Some(Lockdown::Confidentiality),
        Lockdown::Confidentiality => None,
    })
}

fn needs() -> Vec<Need> {
    let text = str::to_owned;
    all(Need::Section { name: text("what/ever") }, |need| match need {
        Need::Section { .. } => Some(Need::ProgramType { name: text("BPF_PROG_TYPE_TRACING") }),
        Need::ProgramType { .. } => Some(Need::AttachType { name: text("BPF_TRACE_FENTRY") }),
        Need::AttachType { .. } => Some(Need::Types),
        Need::Types => Some(Need::OwnBtf),
        Need::OwnBtf => Some(Need::Feature { feature: Feature::Fentry }),
        Need::Feature { .. } => Some(Need::Target { kind: "function", name: text("tcp_ack") }),
        Need::Target { .. } => {
            Some(Need::Argument { function: text("tcp_ack"), number: 1, structure: text("tcp_sock") })
        }
        Need::Argument { .. } => Some(Need::Helper { number: 130, name: Some(text("bpf_ringbuf_output")) }),
        Need::Helper { .. } => Some(Need::Kfunc { name: text("bpf_task_acquire") }),
        Need::Kfunc { .. } => {
            Some(Need::MapType { map: text("events"), number: 27, name: Some(text("BPF_MAP_TYPE_RINGBUF")) })
        }
        Need::MapType { .. } => Some(Need::Relocation {
            access: text("struct tcp_sock.rtt_min"),
            kind: text("byte_off"),
            line: Some(text("agent.bpf.c:69: return tp->rtt_min;")),
        }),
        Need::Relocation { .. } => Some(Need::Relocations { resolved: 12, guarded: 3 }),
        Need::Relocations { .. } => Some(Need::Variable { name: text("jiffies") }),
        Need::Variable { .. } => Some(Need::Config { name: text("CONFIG_HZ") }),
        Need::Config { .. } => Some(Need::Consent {
            stage: "load",
            access: Some("struct tcp_sock.rtt_min".to_owned()),
            line: Some("programs.bpf.c:57: u32 value = 0;".to_owned()),
        }),
        Need::Consent { .. } => Some(Need::Capability { name: "CAP_BPF" }),
        Need::Capability { .. } => None,
    })
}

/// One of everything that a plan can have.
fn one_of_each_plan() -> Vec<Plan> {
    let requirements = needs().into_iter().zip(statuses().into_iter().cycle()).map(|(need, status)| Requirement {
        need,
        status,
        evidence: "how that is known".to_owned(),
        remedy: (status != Status::Met).then(|| "what can be done".to_owned()),
    });
    let mut requirements: Vec<Requirement> = requirements.collect();
    let of_map = Requirement {
        need: Need::MapType { map: "events".to_owned(), number: 4, name: None },
        status: Status::Met,
        evidence: String::new(),
        remedy: None,
    };
    let programs = reasons().into_iter().map(|reason| ProgramPlan {
        name: format!("{reason:?}").to_lowercase(),
        section: "fentry/tcp_ack".to_owned(),
        enabled: matches!(reason, Reason::Met | Reason::NothingUnmet),
        reason,
        status: Status::Met,
        optional: false,
        group: (reason == Reason::AnotherServes).then(|| "ack".to_owned()),
        requirements: std::mem::take(&mut requirements),
    });
    let groups = rules().into_iter().map(|rule| Group {
        name: "ack".to_owned(),
        rule,
        taken: (rule == Rule::One).then_some(1),
        optional: true,
        ranks: BTreeMap::from([(1, vec!["met".to_owned()]), (2, vec!["anotherserves".to_owned()])]),
    });
    let plan = Plan {
        version: VERSION,
        object: "agent.o".to_owned(),
        object_hash: "0".repeat(32),
        kernel: Some("6.1.0-56-amd64".to_owned()),
        arch: Some("x86_64".to_owned()),
        outcome: Outcome::Works,
        programs: programs.collect(),
        groups: groups.collect(),
        maps: vec![MapPlan { name: "events".to_owned(), enabled: true, map_type: 4, requirement: of_map }],
        notes: vec!["met: the tag lcc:one:ack is not understood".to_owned()],
    };
    let others = outcomes().into_iter().skip(1).map(|outcome| Plan {
        outcome,
        kernel: None,
        arch: None,
        programs: Vec::new(),
        groups: Vec::new(),
        maps: Vec::new(),
        notes: Vec::new(),
        ..plan.clone()
    });
    std::iter::once(plan.clone()).chain(others).collect()
}

/// One of everything that is known of a kernel.
fn one_of_each_facts() -> Vec<KernelFacts> {
    let names = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>());
    let facts = KernelFacts {
        version: facts::VERSION,
        release: Some("6.1.0-56-amd64".to_owned()),
        distribution: Some(("debian".to_owned(), "12".to_owned())),
        arch: Some("x86_64".to_owned()),
        config: Some(BTreeMap::from([("CONFIG_HZ".to_owned(), "250".to_owned())])),
        own_btf: Answer::Yes,
        features: features().into_iter().zip(answers().into_iter().cycle()).collect(),
        helpers: BTreeMap::from([("KPROBE".to_owned(), BTreeMap::from([(4, Answer::Yes)]))]),
        kprobe_functions: names(&["tcp_ack"]),
        kprobe_functions_asked: names(&["tcp_ack", "tcp_v0_rcv"]),
        tracepoints: names(&["sock/inet_sock_set_state"]),
        security: Security {
            capabilities: Some(vec!["CAP_BPF".to_owned()]),
            lockdown: Some(Lockdown::None),
            kptr_restrict: Some(1),
            unprivileged_bpf_disabled: Some(2),
        },
        btf: Some("eJw=".to_owned()),
    };
    let others = lockdowns().into_iter().skip(1).map(|level| KernelFacts {
        security: Security { lockdown: Some(level), ..Security::default() },
        ..KernelFacts::unknown()
    });
    std::iter::once(facts).chain(others).collect()
}

/// The names of all members, and the texts of those that have few values: what somebody who reads it has to know.
fn words(value: &Value, out: &mut BTreeSet<String>) {
    /// Members whose values are words of this format.
    const CLOSED: [&str; 7] = ["what", "status", "reason", "outcome", "rule", "feature", "lockdown"];
    /// Members whose own members are data.
    const DATA: [&str; 3] = ["ranks", "config", "helpers"];
    match value {
        Value::Array(values) => values.iter().for_each(|value| words(value, out)),
        Value::Object(members) => {
            for (name, value) in members {
                out.insert(name.clone());
                match value {
                    Value::String(word) if CLOSED.contains(&name.as_str()) => drop(out.insert(word.clone())),
                    _ if DATA.contains(&name.as_str()) => {}
                    value => words(value, out),
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[track_caller]
    fn check_golden<T: serde::Serialize>(name: &str, values: &[T]) {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let path = here.join("tests/golden").join(name);
        let text = serde_json::to_string_pretty(values).unwrap() + "\n";
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let expected = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(expected == text, "{}: not as expected (UPDATE_GOLDEN=1 accepts it)\n{text}", path.display());

        let mut known = BTreeSet::new();
        words(&serde_json::from_str(&text).unwrap(), &mut known);
        assert!(known.len() > 20, "{known:?}");
        let document = std::fs::read_to_string(here.join("../../docs/loader.md")).unwrap();
        let missing: Vec<_> = known.iter().filter(|word| !document.contains(&format!("`{word}`"))).collect();
        assert!(missing.is_empty(), "docs/loader.md does not say what these are: {missing:?}");
    }

    #[test]
    fn the_json_of_a_plan_is_stable_and_documented() {
        check_golden("plan.json", &one_of_each_plan());
    }

    #[test]
    fn the_json_of_facts_is_stable_and_documented() {
        check_golden("facts.json", &one_of_each_facts());
        for facts in one_of_each_facts() {
            let text = serde_json::to_string(&facts).unwrap();
            assert_eq!(serde_json::from_str::<KernelFacts>(&text).unwrap(), facts);
        }
    }
}
