//! Whose a socket is, beyond what the kernel's side tells: the container by the control group, and of a server that has not read
//! yet the process that listens.

use std::os::unix::fs::DirEntryExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;
use tcprt::Record;
use tcprt::containers;
use tcprt::record::{Container, Side};

/// What is kept of each kind at most; then it is forgotten, and found again.
const MOST: usize = 8192;
/// Folders of control groups that are looked at in one walk, and how deep.
const FOLDERS: usize = 50_000;
const DEPTH: usize = 24;
/// How long what may change is believed, and how often all folders are looked at.
const BELIEVED: Duration = Duration::from_secs(10);
const WALK: Duration = Duration::from_secs(1);

/// What was found of a process or port, and when.
type Known<K, V> = FxHashMap<K, (Instant, V)>;

/// Who knows.
pub(crate) struct Owners {
    /// The root of the control groups, version 2.
    hierarchy: Option<PathBuf>,
    walked: Option<Instant>,
    groups: FxHashMap<u64, Option<Arc<Container>>>,
    /// By process: where the control groups that name containers are of version 1.
    processes: Known<u32, Option<Arc<Container>>>,
    listeners: Known<u16, Option<(u32, String)>>,
    /// The own network namespace.
    netns: u32,
    /// When what comes now was taken.
    now: Instant,
    last: Option<Last>,
}

/// Whose the last record was.
struct Last {
    cgroup: u64,
    pid: u32,
    container: Option<Arc<Container>>,
}

impl Owners {
    pub(crate) fn new() -> Owners {
        use std::os::unix::fs::MetadataExt;
        let netns = std::fs::metadata("/proc/self/ns/net").ok().and_then(|meta| u32::try_from(meta.ino()).ok());
        Owners {
            hierarchy: hierarchy(),
            walked: None,
            groups: FxHashMap::default(),
            processes: FxHashMap::default(),
            listeners: FxHashMap::default(),
            netns: netns.unwrap_or(0),
            now: Instant::now(),
            last: None,
        }
    }

    /// What comes from now on is of this time.
    pub(crate) fn begin(&mut self, now: Instant) {
        self.now = now;
        self.last = None;
    }

    /// Adds what is known.
    pub(crate) fn complete(&mut self, record: &mut Record) {
        let (pid, port) = (record.owner.pid, record.port());
        let is_here = record.owner.netns == 0 || record.owner.netns == self.netns;
        if pid == 0
            && port.side == Side::Server
            && is_here
            && let Some((pid, process)) = self.listener(port.number)
        {
            record.owner.pid = *pid;
            record.owner.process.clone_from(process);
        }
        let (cgroup, pid) = (record.owner.cgroup, record.owner.pid);
        if self.last.as_ref().is_none_or(|last| (last.cgroup, last.pid) != (cgroup, pid)) {
            let container = self.of_group(cgroup).or_else(|| self.of_process(pid));
            self.last = Some(Last { cgroup, pid, container });
        }
        record.owner.container = self.last.as_ref().and_then(|last| last.container.clone());
    }

    fn of_group(&mut self, cgroup: u64) -> Option<Arc<Container>> {
        if cgroup == 0 {
            return None;
        }
        if let Some(known) = self.groups.get(&cgroup) {
            return known.clone();
        }
        let root = self.hierarchy.clone()?;
        if self.walked.is_some_and(|walked| self.now.duration_since(walked) < WALK) {
            return None;
        }
        self.walked = Some(self.now);
        self.groups.clear();
        let mut found = FxHashMap::default();
        walk(&root, &mut |path, inode| {
            if found.len() < MOST || inode == cgroup {
                found.insert(inode, containers::of_path(path).map(Arc::new));
            }
        });
        self.groups = found;
        // one that is gone already
        self.groups.entry(cgroup).or_insert(None).clone()
    }

    fn of_process(&mut self, pid: u32) -> Option<Arc<Container>> {
        if pid == 0 {
            return None;
        }
        let known = remembered(&mut self.processes, pid, self.now, || {
            let paths = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
            let paths = paths.lines().filter_map(|line| line.splitn(3, ':').nth(2));
            paths.filter_map(containers::of_path).next().map(Arc::new)
        });
        known.clone()
    }

    fn listener(&mut self, port: u16) -> Option<&(u32, String)> {
        let known = remembered(&mut self.listeners, port, self.now, || {
            let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
            let tables = tables.iter().filter_map(|path| std::fs::read_to_string(path).ok());
            let socket = tables.into_iter().find_map(|table| listening(&table, port))?;
            let pid = holder(Path::new("/proc"), &format!("socket:[{socket}]"))?;
            let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
            Some((pid, printable(name.trim_end())))
        });
        known.as_ref()
    }
}

/// A process gives itself a name as it likes: what would move a terminal's cursor is shown as U+FFFD.
fn printable(name: &str) -> String {
    name.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

fn remembered<K: Copy + Eq + std::hash::Hash, V>(
    known: &mut Known<K, V>,
    key: K,
    now: Instant,
    find: impl Fn() -> V,
) -> &V {
    if known.len() >= MOST && !known.contains_key(&key) {
        known.clear();
    }
    let (when, value) = known.entry(key).or_insert_with(|| (now, find()));
    if now.duration_since(*when) >= BELIEVED {
        (*when, *value) = (now, find());
    }
    value
}

/// The root of the control groups, version 2.
pub(crate) fn hierarchy() -> Option<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").ok()?;
    let found = mounts.lines().find(|line| line.split(' ').nth(2) == Some("cgroup2"));
    found.and_then(|line| line.split(' ').nth(1)).map(PathBuf::from)
}

/// Calls `each` with the path, from the root on, and the inode number of every folder below.
pub(crate) fn walk(root: &Path, each: &mut dyn FnMut(&str, u64)) {
    let mut waiting = vec![(root.to_owned(), String::new(), 0)];
    let mut left = FOLDERS;
    while let Some((folder, path, depth)) = waiting.pop() {
        // a folder may be gone meanwhile
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) || left == 0 {
                continue;
            }
            left -= 1;
            let path = format!("{path}/{}", entry.file_name().to_string_lossy());
            each(&path, entry.ino());
            if depth < DEPTH {
                waiting.push((entry.path(), path, depth + 1));
            }
        }
    }
}

/// The inode number of the socket that listens on the port, in a table as `/proc/net/tcp`.
fn listening(table: &str, port: u16) -> Option<u64> {
    let end = format!(":{port:04X}");
    table.lines().skip(1).find_map(|line| {
        let mut fields = line.split_whitespace();
        let (local, state) = (fields.nth(1)?, fields.nth(1)?);
        let inode = fields.nth(5)?;
        (local.ends_with(&end) && state == "0A").then(|| inode.parse().ok()).flatten()
    })
}

/// The first process that has such a file open.
fn holder(proc: &Path, link: &str) -> Option<u32> {
    let mut pids: Vec<u32> =
        std::fs::read_dir(proc).ok()?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    pids.into_iter().find(|pid| {
        let files = std::fs::read_dir(proc.join(format!("{pid}/fd"))).into_iter().flatten().flatten();
        files.into_iter().any(|file| std::fs::read_link(file.path()).is_ok_and(|to| to.as_os_str() == link))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_name_does_nothing_to_a_terminal() {
        assert_eq!(printable("a\x1b[2J\nb \u{9b}ä"), "a\u{fffd}[2J\u{fffd}b \u{fffd}ä");
    }

    #[test]
    fn a_control_group_is_known_by_its_inode() {
        let root = tempfile::tempdir().unwrap();
        let id = "ab".repeat(32);
        let folder = root.path().join("system.slice").join(format!("docker-{id}.scope"));
        std::fs::create_dir_all(&folder).unwrap();
        let mut owners = Owners { hierarchy: Some(root.path().to_owned()), ..Owners::new() };
        let inode = std::fs::metadata(&folder).unwrap().ino();
        let found = owners.of_group(inode).unwrap();
        assert_eq!((found.id.as_str(), found.runtime), (id.as_str(), "docker"));
        // known without another walk, also when it is gone; what was never seen waits for the next one
        std::fs::remove_dir(&folder).unwrap();
        assert_eq!(owners.of_group(inode), Some(found));
        assert_eq!((owners.of_group(1), owners.of_group(0)), (None, None));
        owners.walked = None;
        assert_eq!((owners.of_group(1), owners.groups.get(&1)), (None, Some(&None)));
    }

    #[test]
    fn a_listener_is_known_by_its_port() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut owners = Owners::new();
        let port = listener.local_addr().unwrap().port();
        let (pid, name) = owners.listener(port).unwrap();
        assert_eq!(*pid, std::process::id());
        assert_eq!(*name, std::fs::read_to_string("/proc/self/comm").unwrap().trim_end());
        assert_eq!(owners.listener(1), None);
    }

    #[test]
    fn only_sockets_that_listen_count() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
                     \x20  0: 0100007F:1F90 0100007F:D431 01 00000000:00000000 00:00000000 00000000     0        0 7 1\n\
                     \x20  1: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1\n";
        assert_eq!((listening(table, 8080), listening(table, 80), listening("", 80)), (Some(4711), None, None));
    }
}
