//! The agent on the running kernel, against a small HTTP server of the test's: as root.

mod support;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use lcc_tests::BpfFolder;
use support::{Ran, ask, may_load, program, serve, skip, tcprt};
use tcprt::record::Side;
use tcprt::{Kind, Record, log};

/// The agent while it runs.
struct Agent {
    child: Child,
    /// Its lines on standard error so far, and those to come.
    errors: mpsc::Receiver<String>,
    said: String,
    stdout: thread::JoinHandle<String>,
}

impl Agent {
    /// Starts it, and waits until it is attached.
    fn start(args: &[&str]) -> Agent {
        let mut command = program();
        command.args(args).arg("-v").stdout(Stdio::piped()).stderr(Stdio::piped());
        // without the test's terminal
        command.process_group(0);
        let mut child = command.spawn().unwrap();
        let (sender, errors) = mpsc::channel();
        let stderr = child.stderr.take().unwrap();
        thread::spawn(move || {
            BufReader::new(stderr).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        let mut out = child.stdout.take().unwrap();
        let stdout = thread::spawn(move || {
            let mut text = String::new();
            out.read_to_string(&mut text).map(|_| text).unwrap()
        });
        let mut agent = Agent { child, errors, said: String::new(), stdout };
        agent.wait_for("attached in ");
        // it listens from then on
        thread::sleep(Duration::from_millis(100));
        agent
    }

    fn wait_for(&mut self, text: &str) -> String {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            let line = self.errors.recv_timeout(end.saturating_duration_since(Instant::now()));
            let line = line.unwrap_or_else(|error| panic!("{text:?} did not come: {error}\n{}", self.said));
            self.said += &format!("{line}\n");
            if line.contains(text) {
                return line;
            }
        }
    }

    /// Ends it with a signal, once what was asked for is told.
    fn end(mut self, signal: rustix::process::Signal) -> Ran {
        thread::sleep(Duration::from_millis(200));
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
        let status = self.child.wait().unwrap();
        self.said.extend(self.errors.iter().map(|line| line + "\n"));
        Ran { code: status.code(), stdout: self.stdout.join().unwrap(), stderr: self.said }
    }

    /// The ids of the BPF programs that it holds.
    fn programs(&self) -> BTreeSet<u32> {
        let folder = format!("/proc/{}/fdinfo", self.child.id());
        let infos =
            std::fs::read_dir(folder).unwrap().filter_map(|entry| std::fs::read_to_string(entry.unwrap().path()).ok());
        let ids = infos.flat_map(|info| {
            let ids: Vec<u32> =
                info.lines().filter_map(|line| line.strip_prefix("prog_id:")?.trim().parse().ok()).collect();
            ids
        });
        ids.collect()
    }
}

fn loaded() -> BTreeSet<u32> {
    libbpf_rs::query::ProgInfoIter::default().map(|program| program.id).collect()
}

fn records(text: &str) -> Vec<Record> {
    text.lines().map(|line| log::line(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

const INT: rustix::process::Signal = rustix::process::Signal::INT;
const TERM: rustix::process::Signal = rustix::process::Signal::TERM;

#[test]
fn root_each_request_is_told_on_both_sides() {
    if !may_load() {
        return;
    }
    let server = serve();
    let port = server.port().to_string();
    let agent = Agent::start(&["--lport", &port, "--pport", &port, "--format", "json"]);
    ask(server, &["/1", "/10", "/none"]);
    let ran = agent.end(INT);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let records = records(&ran.stdout);
    let of = |kind| records.iter().filter(move |record| record.kind == kind).collect::<Vec<_>>();
    let (served, asked) = (of(Kind::Request), of(Kind::Peer));
    assert_eq!((served.len(), asked.len(), of(Kind::End).len()), (3, 3, 1), "{ran:?}");
    for (record, millis) in served.iter().chain(&asked).zip([1, 10, 0, 1, 10, 0]) {
        let service = record.process_us();
        assert!((millis * 1000..millis * 1000 + 8000).contains(&service), "{record:?}");
        let (server_bytes, client_bytes) = match record.port().side {
            Side::Server => (record.sent_bytes, record.received_bytes),
            Side::Client => (record.received_bytes, record.sent_bytes),
        };
        assert_eq!((server_bytes, record.port().number), (1000, server.port()));
        assert!((30..50).contains(&client_bytes), "{record:?}");
        // it is this test that serves and asks
        assert_eq!(record.owner.pid, std::process::id(), "{record:?}");
        assert!(!record.owner.process.is_empty());
    }
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_micros() as u64;
    assert!(served.iter().all(|record| (now - 30_000_000..now).contains(&record.start_us)), "{now}: {served:?}");
    assert!(ran.stderr.contains(&format!(":{port} server")), "the summary: {}", ran.stderr);
}

#[test]
fn root_people_get_columns_and_a_summary_and_nothing_stays() {
    if !may_load() {
        return;
    }
    let server = serve();
    let port = server.port().to_string();
    let agent = Agent::start(&["--lport", &port]);
    let programs = agent.programs();
    assert!(!programs.is_empty() && programs.is_subset(&loaded()), "{programs:?}");
    ask(server, &["/5", "/5"]);
    let status = std::fs::read_to_string(format!("/proc/{}/status", agent.child.id())).unwrap();
    let anonymous =
        status.lines().find_map(|line| line.strip_prefix("RssAnon:")?.trim().strip_suffix(" kB")?.parse().ok());
    assert!(anonymous.is_some_and(|kib: u64| kib < 5 * 1024), "{status}");
    let ran = agent.end(TERM);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let mut lines = ran.stdout.lines();
    assert!(lines.next().unwrap().starts_with("TIME (UTC)   KIND LOCAL "), "{}", ran.stdout);
    let told: Vec<&str> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
    let kinds: Vec<&str> = told.iter().map(|line| line.split_whitespace().nth(1).unwrap()).collect();
    assert_eq!(kinds, ["R", "R", "E"], "{}", ran.stdout);
    assert!(told[0].contains(&format!(" 127.0.0.1:{port} ")) && told[0].contains(" <- 127.0.0.1:"), "{}", told[0]);
    let summary: Vec<&str> = lines.collect();
    assert!(summary[0].starts_with(&format!(":{port} server ")), "{summary:?}");
    assert!(summary[0].contains(": 2 answered, 0 not, 1 connections ended; 2.0K sent"), "{summary:?}");
    assert!(summary[1].trim().starts_with("p50") && summary[3].trim().starts_with("process"), "{summary:?}");
    // the kernel takes links apart a little later
    let end = Instant::now() + Duration::from_secs(5);
    while !programs.is_disjoint(&loaded()) && Instant::now() < end {
        thread::sleep(Duration::from_millis(50));
    }
    assert!(programs.is_disjoint(&loaded()), "{programs:?}");
}

#[test]
fn root_the_vendors_lines_aggregates_and_thresholds() {
    if !may_load() {
        return;
    }
    let server = serve();
    let port = server.port().to_string();
    let folder = tempfile::tempdir().unwrap();
    let (file, stats) = (folder.path().join("v6.log"), folder.path().join("stats.log"));
    let config = folder.path().join("tcprt.yaml");
    let yaml = format!(
        "lports: {port}\nformat: v6\nmin_total: 90ms\noutput: {}\nstats_output: {}\n",
        file.display(),
        stats.display()
    );
    std::fs::write(&config, yaml).unwrap();
    let agent = Agent::start(&["--config", config.to_str().unwrap(), "--prometheus", "127.0.0.1:0"]);
    let address = agent.said.lines().find_map(|line| line.strip_prefix("tcprt: http://")?.strip_suffix("/metrics"));
    let address: SocketAddr = address.unwrap().parse().unwrap();
    ask(server, &["/1", "/100", "/1"]);
    thread::sleep(Duration::from_millis(100));
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
    let mut metrics = String::new();
    stream.read_to_string(&mut metrics).unwrap();
    let line = format!("tcprt_tasks_total{{side=\"server\",port=\"{port}\",result=\"answered\"}} 3\n");
    assert!(metrics.contains(&line), "{metrics}");
    let ran = agent.end(INT);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), ""), "{ran:?}");
    let records = records(&std::fs::read_to_string(file).unwrap());
    assert_eq!(records.len(), 1, "only what took 90 ms: {records:?}");
    assert_eq!((records[0].kind, records[0].task, records[0].sent_bytes), (Kind::Request, 2, 1000));
    // aggregates count all
    let stats = std::fs::read_to_string(stats).unwrap();
    let fields: Vec<&str> = stats.trim().split(' ').collect();
    assert_eq!((fields.len(), fields[1], fields[2], fields[11]), (12, "all", port.as_str(), "3"), "{stats}");
    assert_eq!((fields[7], fields[8], fields[10].len()), ("0", "1000", 2), "{stats}");
}

#[test]
fn root_what_is_kept_goes_on_and_is_read_without_the_agent() {
    if !may_load() {
        return;
    }
    let server = serve();
    let port = server.port().to_string();
    let folder = BpfFolder::new();
    let pins = folder.path().join("tcprt");
    let pins = pins.to_str().unwrap();
    let ran = tcprt(&["--keep", "--pins", pins, "--lport", &port, "--seconds", "0"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stderr.contains(&format!("it stays attached in {pins}: tcprt log reads")), "{ran:?}");
    // nobody listens
    ask(server, &["/1", "/2"]);
    for _ in 0..2 {
        let ran = tcprt(&["log", "--pins", pins, "--format", "v6"]);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{ran:?}");
        let kinds: Vec<Kind> = records(&ran.stdout).iter().map(|record| record.kind).collect();
        assert_eq!(kinds, [Kind::Request, Kind::Request, Kind::End], "reading takes nothing away: {}", ran.stdout);
    }
    // who follows sees what comes, and ends when it is stopped
    let child =
        program().args(["log", "--follow", "--format", "json", "--pins", pins]).stdout(Stdio::piped()).spawn().unwrap();
    thread::sleep(Duration::from_millis(200));
    ask(server, &["/3"]);
    thread::sleep(Duration::from_millis(200));
    let ran = tcprt(&["stop", "--pins", pins]);
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (Some(0), "", ""));
    let output = Ran::from(child.wait_with_output().unwrap());
    assert_eq!((output.code, records(&output.stdout).len()), (Some(0), 5), "{output:?}");
    assert_eq!((tcprt(&["stop", "--pins", pins]).code, tcprt(&["log", "--pins", pins]).code), (Some(1), Some(1)));
    assert!(!Path::new(pins).exists());
}

#[test]
fn root_the_live_view_has_each_port() {
    if !may_load() {
        return;
    }
    let server = serve();
    let port = server.port().to_string();
    let agent = Agent::start(&["top", "--lport", &port, "--interval", "0.2"]);
    ask(server, &["/1", "/2", "/3"]);
    let ran = agent.end(INT);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let frames: Vec<&str> = ran.stdout.split("\n\ntcprt ").collect();
    let frame = frames.last().unwrap();
    assert!(frames.len() >= 2 && frame.contains(&format!(":{port} server")), "{}", ran.stdout);
    assert!(frame.contains("p50") && frame.contains("p95") && frame.contains("p99"), "{frame}");
}

#[test]
fn root_the_plan_is_explained_and_nothing_is_attached() {
    if !may_load() {
        return;
    }
    let ran = tcprt(&["--explain"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    assert!(ran.stdout.starts_with("tcprt on ") && ran.stdout.contains("connections are seen by "), "{}", ran.stdout);
}

#[test]
fn root_without_the_rights_it_says_which() {
    if !may_load() {
        return;
    }
    // nobody
    let Ok(output) = program().uid(65_534).gid(65_534).output() else {
        return skip("the program cannot be run by another user");
    };
    let ran = Ran::from(output);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{ran:?}");
    assert!(ran.stderr.contains("are missing: run it as root"), "{ran:?}");
}

/// A control group of version 2 that is named as docker names a container's, which goes with the value.
struct Container {
    folder: std::path::PathBuf,
    id: String,
}

impl Container {
    fn new() -> Option<Container> {
        let mounts = std::fs::read_to_string("/proc/mounts").unwrap();
        let root = mounts.lines().find(|line| line.split(' ').nth(2) == Some("cgroup2"))?.split(' ').nth(1)?;
        let id = format!("{:08x}{}", std::process::id(), "c0ffee0123456789".repeat(4).split_at(56).0);
        let folder = Path::new(root).join(format!("tcprt-test.slice/docker-{id}.scope"));
        std::fs::create_dir_all(&folder).ok()?;
        Some(Container { folder, id })
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // its processes have just ended
        for folder in [self.folder.clone(), self.folder.parent().unwrap().to_owned()] {
            let end = Instant::now() + Duration::from_secs(2);
            while std::fs::remove_dir(&folder).is_err() && Instant::now() < end {
                thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

#[test]
fn root_a_container_is_known_and_can_be_asked_for() {
    if !may_load() {
        return;
    }
    let Some(container) = Container::new() else { return skip("needs control groups of version 2") };
    let outside = serve();
    let port = (30_000..32_000).find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap();
    let script = format!("echo $$ > {}/cgroup.procs; exec python3 -m http.server {port}", container.folder.display());
    let mut server = std::process::Command::new("sh");
    server.args(["-c", &script]).stdout(Stdio::null()).stderr(Stdio::null()).stdin(Stdio::null());
    let mut server = server.spawn().unwrap();
    let end = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < end, "python3 does not serve");
        thread::sleep(Duration::from_millis(50));
    }
    let agent = Agent::start(&["--container", &container.id[..12], "--format", "json"]);
    ask(outside, &["/1"]);
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    stream.read_to_end(&mut Vec::new()).unwrap();
    drop(stream);
    thread::sleep(Duration::from_millis(100));
    let ran = agent.end(INT);
    server.kill().unwrap();
    server.wait().unwrap();
    let records = records(&ran.stdout);
    let kinds: Vec<Kind> = records.iter().map(|record| record.kind).collect();
    assert_eq!(kinds, [Kind::Request, Kind::End], "only the container's: {ran:?}");
    for record in &records {
        let found = record.owner.container.as_ref().unwrap_or_else(|| panic!("{record:?}"));
        assert_eq!((found.id.as_str(), found.runtime), (container.id.as_str(), "docker"));
        assert_eq!((record.local.port(), record.owner.pid), (port, server.id()));
        assert_eq!(record.owner.process, "python3");
    }
}

#[test]
fn root_a_process_and_a_namespace_can_be_asked_for() {
    if !may_load() {
        return;
    }
    let server = serve();
    let port = server.port().to_string();
    let (own, other) = (std::process::id().to_string(), "1");
    let netns = std::fs::read_link("/proc/self/ns/net").unwrap();
    let inode: String = netns.to_str().unwrap().chars().filter(char::is_ascii_digit).collect();
    let told = |filters: &[&str]| {
        let agent = Agent::start(&[&["--lport", &port, "--format", "v6"], filters].concat());
        ask(server, &["/1", "/1"]);
        let ran = agent.end(INT);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        records(&ran.stdout).iter().filter(|record| record.kind == Kind::Request).count()
    };
    assert_eq!((told(&["--pid", &own]), told(&["--pid", other])), (2, 0));
    assert_eq!(
        (told(&["--netns", "/proc/self/ns/net"]), told(&["--netns", &inode]), told(&["--netns", "1"])),
        (2, 2, 0)
    );
}

#[test]
fn root_http_is_told_with_path_and_status() {
    if !may_load() {
        return;
    }
    let server = serve();
    let port = server.port().to_string();
    let agent = Agent::start(&["--mode", "http", "--lport", &port, "--format", "json"]);
    let mut stream = TcpStream::connect(server).unwrap();
    // what is no request of HTTP/1 is no task
    stream.write_all(b"\r\n").unwrap();
    drop(stream);
    ask(server, &["/5", "/none?a=b"]);
    let ran = agent.end(INT);
    let records = records(&ran.stdout);
    let told: Vec<_> = records.iter().filter(|record| record.kind == Kind::Request).collect();
    let lines: Vec<String> =
        told.iter().map(|record| record.http.as_ref().map(|http| http.line()).unwrap_or_default()).collect();
    assert_eq!(lines, ["GET /5 200", "GET /none?a=b 404"], "{ran:?}");
    assert!(
        told.iter().all(|record| record.protocol == tcprt::Protocol::Http && record.sent_bytes == 1000),
        "{told:?}"
    );
}

#[test]
fn root_requests_that_are_not_told_are_counted() {
    if !may_load() {
        return;
    }
    let listener = (20_000..30_000).find_map(|port| TcpListener::bind(("127.0.0.1", port)).ok()).unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let agent = Agent::start(&["--mode", "http", "--lport", &port, "--format", "json"]);
    let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    stream.write_all("GET / HTTP/1.1\r\n\r\n".repeat(10).as_bytes()).unwrap();
    // it answers none of them
    drop(listener.accept().unwrap());
    let ran = agent.end(INT);
    let records = records(&ran.stdout);
    let kinds: String = records.iter().map(|record| record.kind.letter()).collect();
    assert_eq!((ran.code, kinds.as_str()), (Some(0), "NNNNNE"), "{ran:?}");
    let counted = "tcprt: in all, 5 or more requests are not told by themselves: too many waited for an answer";
    assert!(ran.stderr.lines().any(|line| line == counted), "{ran:?}");
}

/// The kernel's types, as those of a kernel that cannot keep connections with their sockets.
fn types_without_socket_storage(folder: &Path) -> std::path::PathBuf {
    let mut bytes = std::fs::read("/sys/kernel/btf/vmlinux").unwrap();
    let name = b"\0BPF_FUNC_task_storage_get\0";
    let at = bytes.windows(name.len()).position(|window| window == name).unwrap();
    bytes[at + name.len() - 2] = b'x';
    let file = folder.join("vmlinux.btf");
    std::fs::write(&file, bytes).unwrap();
    file
}

#[test]
fn root_connections_that_the_full_table_pushes_out_are_told() {
    if !may_load() {
        return;
    }
    let server = serve();
    let port = server.port().to_string();
    let folder = tempfile::tempdir().unwrap();
    let btf = types_without_socket_storage(folder.path());
    let args = ["--lport", &port, "--connections", "8", "--format", "json", "--btf", btf.to_str().unwrap()];
    let agent = Agent::start(&args);
    let mut open: Vec<_> = (0..40).map(|_| TcpStream::connect(server).unwrap()).collect();
    for stream in open.iter_mut().rev().take(1) {
        stream.write_all(b"GET /1 HTTP/1.1\r\n\r\n").unwrap();
        stream.read_exact(&mut [0; 1000]).unwrap();
    }
    // the newest is still there, and is told
    drop(open);
    let ran = agent.end(INT);
    let kinds: String = records(&ran.stdout).iter().map(|record| record.kind.letter()).collect();
    assert_eq!((ran.code, kinds.as_str()), (Some(0), "RE"), "{ran:?}");
    let line = ran.stderr.lines().find_map(|line| line.strip_prefix("tcprt: in all, ")?.split_once(' '));
    let (number, what) = line.unwrap_or_else(|| panic!("{ran:?}"));
    assert_eq!(
        what,
        "connections went from the full table before their end: what they did is not told (--connections)"
    );
    assert!((32..40).contains(&number.parse().unwrap()), "{ran:?}");
}

#[test]
fn root_an_agent_that_is_killed_leaves_nothing_and_a_kept_log_goes_on() {
    if !may_load() {
        return;
    }
    let server = serve();
    let port = server.port().to_string();
    let gone = |programs: &BTreeSet<u32>| {
        let end = Instant::now() + Duration::from_secs(5);
        while !programs.is_disjoint(&loaded()) && Instant::now() < end {
            thread::sleep(Duration::from_millis(50));
        }
        programs.is_disjoint(&loaded())
    };
    let agent = Agent::start(&["--lport", &port]);
    let programs = agent.programs();
    agent.end(rustix::process::Signal::KILL);
    assert!(!programs.is_empty() && gone(&programs), "{programs:?}");

    let folder = BpfFolder::new();
    let pins = folder.path().join("tcprt");
    let pins = pins.to_str().unwrap();
    let args = ["--lport", &port, "--keep", "--pins", pins, "--format", "v6"];
    let agent = Agent::start(&args);
    ask(server, &["/1"]);
    agent.end(rustix::process::Signal::KILL);
    // nobody listens, and then somebody does again, who does not load it anew
    ask(server, &["/2"]);
    let agent = Agent::start(&args);
    assert!(agent.said.contains("not loaded"), "{}", agent.said);
    ask(server, &["/3"]);
    let ran = agent.end(INT);
    let told = |text: &str| records(text).iter().filter(|record| record.kind == Kind::Request).count();
    let log = tcprt(&["log", "--pins", pins, "--format", "v6"]);
    tcprt(&["stop", "--pins", pins]);
    assert_eq!((told(&ran.stdout), told(&log.stdout)), (1, 3), "{ran:?} {log:?}");
}
