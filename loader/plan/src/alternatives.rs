//! Programs that stand for each other: for one hook an fentry program, a kprobe and a tracepoint, of which the first that
//! works is taken.
//!
//! An object declares them by tags on its functions (clang's `btf_decl_tag`; `bpf/lcc.bpf.h` has macros):
//!
//! | tag | meaning |
//! |---|---|
//! | `lcc:one:GROUP:RANK` | one rank of the group is enabled: the lowest of which all programs work |
//! | `lcc:all:GROUP` | all programs of the group, or none |
//! | `lcc:optional` | the object does without the program (or the whole of its group) |
//!
//! A program without a tag stands for itself, and the object needs it. What the object's author did not foresee, the API
//! can: [`Choice`] by program name.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

/// What a program is to its object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// The group it belongs to.
    pub group: Option<Member>,
    /// The object does without it.
    pub optional: bool,
}

/// A place in a group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Member {
    /// Name of the group.
    pub group: String,
    /// How the group is decided.
    pub rule: Rule,
    /// Which of several ways it is, the best first; 0 where the rule is [`Rule::All`].
    pub rank: u32,
}

/// How a group is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// One rank: the first that works whole.
    One,
    /// All or none.
    All,
}

/// What the tags of a program say; those that are not understood, besides.
pub fn choice(tags: &[String]) -> (Choice, Vec<String>) {
    let (mut choice, mut strange) = (Choice::default(), Vec::new());
    for tag in tags.iter().filter_map(|tag| tag.strip_prefix("lcc:").map(|rest| (tag, rest))) {
        let parts: Vec<&str> = tag.1.split(':').collect();
        match parts.as_slice() {
            ["optional"] => choice.optional = true,
            ["all", group] => choice.group = Some(Member { group: (*group).to_owned(), rule: Rule::All, rank: 0 }),
            ["one", group, rank] if rank.parse::<u32>().is_ok() => {
                let rank = rank.parse().unwrap_or(0);
                choice.group = Some(Member { group: (*group).to_owned(), rule: Rule::One, rank });
            }
            _ => strange.push(tag.0.clone()),
        }
    }
    (choice, strange)
}

/// What became of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// How it is decided.
    pub rule: Rule,
    /// The rank that was taken; `None` where none works.
    pub taken: Option<u32>,
    /// The object does without it.
    pub optional: bool,
    /// Programs by rank.
    pub ranks: BTreeMap<u32, Vec<String>>,
}

/// Decides all groups. `works` says of a program whether it can work; each program comes with its name and choice.
pub(crate) fn decide<'p>(programs: impl Iterator<Item = (&'p str, &'p Choice, bool)>) -> Vec<Group> {
    let mut groups: BTreeMap<&str, Group> = BTreeMap::new();
    let mut broken: BTreeSet<(&str, u32)> = BTreeSet::new();
    for (name, choice, works) in programs {
        let Some(member) = &choice.group else { continue };
        let group = groups.entry(&member.group).or_insert_with(|| Group {
            name: member.group.clone(),
            rule: member.rule,
            taken: None,
            optional: false,
            ranks: BTreeMap::new(),
        });
        group.optional |= choice.optional;
        group.ranks.entry(member.rank).or_default().push(name.to_owned());
        if !works {
            broken.insert((&member.group, member.rank));
        }
    }
    for (name, group) in &mut groups {
        group.taken = group.ranks.keys().copied().find(|&rank| !broken.contains(&(name, rank)));
    }
    groups.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(tags: &[&str]) -> Choice {
        let tags: Vec<String> = tags.iter().map(|tag| (*tag).to_owned()).collect();
        choice(&tags).0
    }

    #[track_caller]
    fn check(programs: &[(&str, &str, bool)], taken: &[(&str, Option<u32>)]) {
        let choices: Vec<Choice> = programs.iter().map(|(_, tag, _)| of(&[tag])).collect();
        let programs = programs.iter().zip(&choices).map(|(&(name, _, works), choice)| (name, choice, works));
        let groups = decide(programs);
        let found: Vec<_> = groups.iter().map(|group| (group.name.as_str(), group.taken)).collect();
        assert_eq!(found, taken);
    }

    #[test]
    fn the_first_rank_that_works_whole_is_taken() {
        let (a, b, c, d) = ("lcc:one:recv:1", "lcc:one:recv:1", "lcc:one:recv:2", "lcc:one:recv:3");
        check(&[("a", a, true), ("b", b, true), ("c", c, true), ("d", d, true)], &[("recv", Some(1))]);
        check(&[("a", a, true), ("b", b, false), ("c", c, true), ("d", d, true)], &[("recv", Some(2))]);
        check(&[("d", d, true), ("c", c, false), ("b", b, false), ("a", a, true)], &[("recv", Some(3))]);
        check(&[("a", a, false), ("c", c, false)], &[("recv", None)]);
    }

    #[test]
    fn all_or_none() {
        check(&[("a", "lcc:all:pair", true), ("b", "lcc:all:pair", true)], &[("pair", Some(0))]);
        check(&[("a", "lcc:all:pair", true), ("b", "lcc:all:pair", false)], &[("pair", None)]);
    }

    #[test]
    fn tags_of_others_are_of_no_account_and_strange_ones_of_ours_are_told() {
        let tags = ["user", "lcc:optional", "lcc:one:recv", "lcc:one:recv:x"].map(str::to_owned);
        let (choice, strange) = choice(&tags);
        assert!(choice.optional && choice.group.is_none());
        assert_eq!(strange, ["lcc:one:recv", "lcc:one:recv:x"]);
    }
}
