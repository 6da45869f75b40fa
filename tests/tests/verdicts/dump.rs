//! A kernel's types as `bpftool btf dump file` prints them: a reader that shares nothing with the one under test.

use std::collections::HashMap;

/// One type: its kind and name, `type_id=` (or `ret_type_id=`), and its lines: members, enumerators, parameters.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    pub(crate) kind: String,
    pub(crate) name: String,
    to: u32,
    lines: Vec<Line>,
}

/// A member or parameter with its type, or an enumerator with its value.
#[derive(Debug)]
struct Line {
    name: String,
    to: u32,
    value: Option<u64>,
    at_start: bool,
}

/// All types, by number and by name.
#[derive(Debug, Default)]
pub(crate) struct Dump {
    entries: HashMap<u32, Entry>,
    by_name: HashMap<String, Vec<u32>>,
}

fn number<T: std::str::FromStr>(text: &str, key: &str) -> Option<T> {
    let word = text.split(' ').find_map(|word| word.strip_prefix(key)?.strip_prefix('='))?;
    word.parse().ok()
}

/// What stands between the first two quotes, and what comes behind.
fn quoted(text: &str) -> Option<(&str, &str)> {
    text.split_once('\'')?.1.split_once('\'')
}

impl Dump {
    /// Reads the text: `[7] STRUCT 'name' size=…`, and below it a line with a tab for each part.
    pub(crate) fn read(text: &str) -> Dump {
        let mut dump = Dump::default();
        let mut last = 0;
        for line in text.lines() {
            if let Some((id, rest)) = line.strip_prefix('[').and_then(|line| line.split_once("] ")) {
                let Some((name, attributes)) = quoted(rest) else { continue };
                last = id.parse().expect("a type's number");
                let kind = rest.split(' ').next().unwrap_or_default().to_owned();
                let to = number(attributes, "type_id").or_else(|| number(attributes, "ret_type_id")).unwrap_or(0);
                dump.by_name.entry(name.to_owned()).or_default().push(last);
                dump.entries.insert(last, Entry { kind, name: name.to_owned(), to, lines: Vec::new() });
            } else if let (Some((name, attributes)), Some(entry)) = (quoted(line), dump.entries.get_mut(&last)) {
                let value = attributes.split(' ').find_map(|word| word.strip_prefix("val="));
                entry.lines.push(Line {
                    name: name.to_owned(),
                    to: number(attributes, "type_id").unwrap_or(0),
                    // negative ones are none of BPF's numbers
                    value: value.and_then(|value| value.parse().ok()),
                    at_start: number(attributes, "bits_offset") == Some(0u64),
                });
            }
        }
        dump
    }

    fn named<'d>(&'d self, kinds: &'d [&str], name: &str) -> impl Iterator<Item = u32> + 'd {
        let all = self.by_name.get(name).map(Vec::as_slice).unwrap_or_default();
        all.iter().copied().filter(move |id| kinds.contains(&self.entries[id].kind.as_str()))
    }

    /// Whether there is a type of this kind and name.
    pub(crate) fn has(&self, kind: &str, name: &str) -> bool {
        self.named(&[kind], name).next().is_some()
    }

    /// Whether there is a typedef whose name begins so.
    pub(crate) fn has_typedef_like(&self, prefix: &str) -> bool {
        self.entries.values().any(|entry| entry.kind == "TYPEDEF" && entry.name.starts_with(prefix))
    }

    /// Whether there are functions at all.
    pub(crate) fn has_functions(&self) -> bool {
        self.entries.values().any(|entry| entry.kind == "FUNC")
    }

    /// Whether an enum has an enumerator of this name.
    pub(crate) fn has_enumerator(&self, of: &str, name: &str) -> bool {
        let mut all = self.named(&["ENUM", "ENUM64"], of);
        all.any(|id| self.entries[&id].lines.iter().any(|line| line.name == name))
    }

    /// The enumerator of this value whose name begins so; not the one that counts the others.
    pub(crate) fn enumerator_at(&self, of: &str, prefix: &str, value: u64) -> Option<&str> {
        let all = self.named(&["ENUM", "ENUM64"], of);
        all.flat_map(|id| &self.entries[&id].lines)
            .filter(|line| line.value == Some(value) && line.name.starts_with(prefix) && !line.name.contains("MAX"))
            .map(|line| line.name.as_str())
            .next()
    }

    /// A type without its modifiers and typedefs.
    fn strip(&self, mut id: u32) -> u32 {
        for _ in 0..32 {
            match self.entries.get(&id) {
                Some(entry) if matches!(&*entry.kind, "CONST" | "VOLATILE" | "RESTRICT" | "TYPEDEF" | "TYPE_TAG") => {
                    id = entry.to;
                }
                _ => break,
            }
        }
        id
    }

    /// The parameters of each function of that name.
    pub(crate) fn parameters_of_function(&self, name: &str) -> Vec<Vec<u32>> {
        let all = self.named(&["FUNC"], name);
        all.map(|id| self.entries[&self.entries[&id].to].lines.iter().map(|line| line.to).collect()).collect()
    }

    /// The parameters of a tracepoint's handler, the first of which no program sees.
    pub(crate) fn parameters_of_tracepoint(&self, name: &str) -> Option<Vec<u32>> {
        let id = self.named(&["TYPEDEF"], &format!("btf_trace_{name}")).next()?;
        let proto = self.entries[&self.strip(id)].to;
        Some(self.entries[&proto].lines.iter().skip(1).map(|line| line.to).collect())
    }

    /// Whether this is a pointer to the structure, or to one that it begins with, or that begins with it. `None` for a
    /// pointer to anything.
    pub(crate) fn points_to(&self, id: u32, structure: &str) -> Option<bool> {
        let Some(pointer) = self.entries.get(&self.strip(id)).filter(|entry| entry.kind == "PTR") else {
            return Some(false);
        };
        let target = self.entries.get(&self.strip(pointer.to))?;
        Some(
            target.name == structure
                || self.begins_with(structure, &target.name, 0)
                || self.begins_with(&target.name, structure, 0),
        )
    }

    fn begins_with(&self, outer: &str, inner: &str, depth: u32) -> bool {
        let firsts = self.named(&["STRUCT", "UNION"], outer);
        let mut firsts = firsts.flat_map(|id| self.entries[&id].lines.iter().filter(|line| line.at_start));
        firsts.any(|line| {
            let Some(first) = self.entries.get(&self.strip(line.to)) else { return false };
            let named = first.name != "(anon)" && matches!(&*first.kind, "STRUCT" | "UNION");
            named && (first.name == inner || (depth < 8 && self.begins_with(&first.name, inner, depth + 1)))
        })
    }

    /// Whether some type has this way of members: `struct sock.__sk_common.skc_net.net`, `struct page`.
    pub(crate) fn has_access(&self, access: &str) -> bool {
        let (word, rest) = access.split_once(' ').unwrap_or(("", access));
        let mut parts = rest.split('.').map(|part| part.split('[').next().unwrap_or(part));
        let name = parts.next().unwrap_or_default();
        let name = name.split("___").next().unwrap_or(name);
        let path: Vec<&str> = parts.collect();
        let kinds: &[&str] = match word {
            "struct" => &["STRUCT"],
            "union" => &["UNION"],
            "enum" => &["ENUM", "ENUM64"],
            _ => &["STRUCT", "UNION", "ENUM", "ENUM64", "TYPEDEF"],
        };
        self.named(kinds, name).any(|id| self.has_path(id, &path))
    }

    fn has_path(&self, id: u32, path: &[&str]) -> bool {
        let Some((first, rest)) = path.split_first() else { return true };
        let Some(entry) = self.entries.get(&self.strip(id)) else { return false };
        match &*entry.kind {
            "ARRAY" => self.has_path(entry.to, path),
            "ENUM" | "ENUM64" => entry.lines.iter().any(|line| line.name == *first),
            _ => entry.lines.iter().any(|line| match line.name == *first {
                true => self.has_path(line.to, rest),
                false => line.name == "(anon)" && self.has_path(line.to, path),
            }),
        }
    }
}

#[test]
fn types_are_read_off_the_text() {
    let dump = Dump::read(
        "[1] STRUCT 'sock' size=8 vlen=2\n\t'(anon)' type_id=2 bits_offset=0\n\t'all' type_id=9 bits_offset=32\n\
         [2] UNION '(anon)' size=4 vlen=1\n\t'inner' type_id=3 bits_offset=0\n[3] INT 'int' size=4 bits_offset=0\n\
         [4] STRUCT 'tcp_sock' size=8 vlen=1\n\t'sk' type_id=1 bits_offset=0\n[5] PTR '(anon)' type_id=6\n\
         [6] CONST '(anon)' type_id=1\n[7] FUNC_PROTO '(anon)' ret_type_id=3 vlen=2\n\t'sk' type_id=5\n\t'n' type_id=3\n\
         [8] FUNC 'tcp_ack' type_id=7 linkage=static\n[9] ARRAY '(anon)' type_id=4 index_type_id=3 nr_elems=2\n\
         [10] ENUM 'bpf_func_id' size=4 vlen=2\n\t'BPF_FUNC_a' val=1\n\t'__BPF_FUNC_MAX_ID' val=2\n",
    );
    let check = |access: &str, expected: bool| assert_eq!(dump.has_access(access), expected, "{access}");
    check("struct sock.inner", true);
    check("struct sock___old.all[1].sk.inner", true);
    check("struct sock.outer", false);
    check("struct sick", false);
    check("enum bpf_func_id.BPF_FUNC_a", true);
    assert_eq!(dump.enumerator_at("bpf_func_id", "BPF_FUNC_", 1), Some("BPF_FUNC_a"));
    assert_eq!(dump.enumerator_at("bpf_func_id", "BPF_FUNC_", 2), None);
    let parameters = &dump.parameters_of_function("tcp_ack")[0];
    assert_eq!((parameters.len(), dump.points_to(parameters[0], "tcp_sock")), (2, Some(true)));
    assert_eq!(
        (dump.points_to(parameters[0], "sk_buff"), dump.points_to(parameters[1], "sock")),
        (Some(false), Some(false))
    );
}
