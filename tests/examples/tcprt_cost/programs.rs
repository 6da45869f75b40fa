//! The BPF programs of a process, and what the kernel counted of each.

use std::collections::BTreeMap;

/// A BPF program of a process, and what the kernel counted of it.
#[derive(Clone, Default)]
pub(crate) struct Program {
    pub(crate) name: String,
    pub(crate) runs: u64,
    pub(crate) nanoseconds: u64,
}

/// The BPF programs that a process holds, by their ids.
pub(crate) fn programs(pid: u32) -> BTreeMap<u64, Program> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(format!("/proc/{pid}/fdinfo")).into_iter().flatten().flatten() {
        let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
        let figure = |key: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
            value.and_then(|value| value.trim().parse::<u64>().ok())
        };
        // a link's has only the id
        if let (Some(id), Some(nanoseconds), Some(runs)) = (figure("prog_id"), figure("run_time_ns"), figure("run_cnt"))
        {
            found.insert(id, Program { name: name(id), runs, nanoseconds });
        }
    }
    found
}

/// A program's name, by its id.
fn name(id: u64) -> String {
    let all = libbpf_rs::query::ProgInfoIter::default();
    let found = all.into_iter().find(|program| u64::from(program.id) == id);
    found.map_or_else(|| id.to_string(), |program| program.name.to_string_lossy().into_owned())
}
