//! Real servers as plain children in a temporary folder, on a free port, which end with the value that is them.

use std::fs::File;
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream};
use std::os::unix::fs::chown;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, setpriority_process};
use tempfile::TempDir;

use crate::skip;

/// How long a server may take to begin, and to end before it is killed.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running server.
pub struct Server {
    child: Child,
    /// Where it listens, at 127.0.0.1.
    pub port: u16,
    /// Its files. What it says is in `said`.
    pub folder: TempDir,
    end: Signal,
}

impl Server {
    /// Starts it and waits until it accepts connections. `end` makes it end in order.
    fn start(mut command: Command, port: u16, folder: TempDir, end: Signal) -> Server {
        let said = File::create(folder.path().join("said")).expect("a file");
        command.stdin(Stdio::null()).stdout(said.try_clone().expect("a file")).stderr(said);
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let mut server = Server { child, port, folder, end };
        let late = Instant::now() + PATIENCE;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            let status = server.child.try_wait().expect("a child");
            assert!(status.is_none() && Instant::now() < late, "{command:?}: {status:?}: {}", server.read("said"));
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }

    /// Waits for the rest of its beginning.
    fn await_that(&self, is_so: impl Fn(&Server) -> bool) {
        let late = Instant::now() + PATIENCE;
        while !is_so(self) {
            assert!(Instant::now() < late, "it does not begin: {}", self.read("said"));
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// A file of its folder, as text.
    ///
    /// # Panics
    /// It is not there.
    pub fn read(&self, name: &str) -> String {
        let bytes = std::fs::read(self.folder.path().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Has it, and what it starts from now on, run before what else the machine does.
    ///
    /// # Panics
    /// Not root.
    pub fn prefer(&self) {
        prefer(Some(self.id()));
    }

    fn id(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    fn signal(&self, signal: Signal) {
        // an error: it has just ended
        let _ = kill_process(self.id(), signal);
    }

    /// Ends it in order, so that its logs are whole, and waits for that.
    pub fn end(&mut self) {
        let late = Instant::now() + PATIENCE;
        while let Ok(None) = self.child.try_wait() {
            self.signal(if Instant::now() < late { self.end } else { Signal::KILL });
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

/// What all threads of a process ran, by the scheduler's count in nanoseconds. (Those of `stat` are ticks.)
///
/// # Errors
/// There is no such process, or the kernel does not count.
pub fn cpu_seconds(pid: u32) -> std::io::Result<f64> {
    let mut nanoseconds = 0_u64;
    for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        // it may have ended
        let Ok(text) = std::fs::read_to_string(thread?.path().join("schedstat")) else { continue };
        let first = text.split(' ').next().unwrap_or_default();
        nanoseconds += first.parse::<u64>().map_err(std::io::Error::other)?;
    }
    Ok(nanoseconds as f64 / 1e9)
}

/// Has a process, or the calling thread, run before what else the machine does.
///
/// # Panics
/// Not root.
pub fn prefer(process: Option<Pid>) {
    setpriority_process(process, -15).expect("setpriority");
}

/// A port that nobody listens at, below those that the kernel gives to clients.
///
/// # Panics
/// There is none.
pub fn free_port() -> u16 {
    // tests run in threads of one process, and in processes
    let begin = 20_000 + (std::process::id() % 64) as u16 * 150;
    let is_free = |&port: &u16| {
        TcpListener::bind((Ipv6Addr::LOCALHOST, port)).is_ok() && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
    };
    (begin..begin + 150).find(is_free).expect("a free port")
}

/// A program of the search path and of where Debian keeps those of administrators and of PostgreSQL. `None`, said, where there is
/// none.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let postgres = versions.map(|version| version.path().join("bin"));
    let folders = std::env::split_paths(&path).chain(postgres).chain(["/usr/sbin".into()]);
    let found = folders.map(|folder| folder.join(name)).find(|path| path.is_file());
    if found.is_none() {
        skip(&format!("no {name}"));
    }
    found
}

/// nginx as one process, with what stands in its `server` block. Its access log, `access`, has a line for each request: the client's
/// port, the number of the request on its connection, its bytes, the response's bytes, the status.
///
/// # Panics
/// It does not start.
pub fn nginx(block: &str) -> Option<Server> {
    let program = program("nginx")?;
    let folder = tempfile::tempdir().expect("a folder");
    let (at, port) = (folder.path().display(), free_port());
    let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(|of| format!("{of}_temp_path {at}/{of};\n"));
    let configuration = format!(
        "daemon off;\nmaster_process off;\npid {at}/pid;\nerror_log stderr error;\nevents {{ worker_connections 1024; }}\n\
         http {{\n{}log_format lcc '$remote_port $connection_requests $request_length $bytes_sent $status';\n\
         access_log {at}/access lcc;\nserver {{\nlisten 127.0.0.1:{port} {};\n{block}\n}}\n}}\n",
        paths.concat(),
        if block.contains("ssl_certificate") { "ssl" } else { "" },
    );
    std::fs::write(folder.path().join("nginx.conf"), configuration).expect("a file");
    let mut command = Command::new(program);
    command.arg("-c").arg(folder.path().join("nginx.conf")).arg("-p").arg(folder.path());
    command.args(["-e", "stderr"]);
    Some(Server::start(command, port, folder, Signal::QUIT))
}

/// A certificate and its key for `localhost`, as files `certificate` and `key` in the folder. `None`, said, without openssl.
///
/// # Panics
/// openssl fails.
pub fn certificate(folder: &Path) -> Option<()> {
    let mut openssl = Command::new(program("openssl")?);
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]);
    openssl.args(["-subj", "/CN=localhost", "-keyout", "key", "-out", "certificate"]).current_dir(folder);
    run(&mut openssl);
    Some(())
}

/// redis-server, which keeps nothing; also at the socket `socket` in its folder.
///
/// # Panics
/// It does not start.
pub fn redis() -> Option<Server> {
    let program = program("redis-server")?;
    let (folder, port) = (tempfile::tempdir().expect("a folder"), free_port());
    let mut command = Command::new(program);
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--unixsocket", "socket"]);
    command.args(["--save", "", "--appendonly", "no", "--enable-debug-command", "yes"]);
    // its housekeeping, if due, comes between a command and its answer: once in a second, not ten times
    command.args(["--hz", "1", "--dynamic-hz", "no"]);
    command.args(["--slowlog-log-slower-than", "0", "--slowlog-max-len", "200000"]);
    command.arg("--dir").arg(folder.path()).current_dir(folder.path());
    let server = Server::start(command, port, folder, Signal::TERM);
    // it comes after the port
    server.await_that(|server| UnixStream::connect(server.folder.path().join("socket")).is_ok());
    Some(server)
}

/// PostgreSQL with an empty database `postgres` and its user `lcc`, trusting 127.0.0.1. It says each statement and its duration:
/// lines of `PORT duration: 0.123 ms ...`.
///
/// # Panics
/// It does not start.
pub fn postgres() -> Option<Server> {
    let (initdb, program) = (program("initdb")?, program("postgres")?);
    let (folder, port) = (tempfile::tempdir().expect("a folder"), free_port());
    // it does not run as root
    chown(folder.path(), Some(NOBODY), Some(NOBODY)).expect("chown");
    let command = |program: &Path| {
        let mut command = Command::new(program);
        command.uid(NOBODY).gid(NOBODY).current_dir(folder.path()).env("LC_ALL", "C");
        command
    };
    run(command(&initdb).args(["--no-sync", "--auth=trust", "--username=lcc", "--encoding=UTF8", "-D", "data"]));
    let mut server = command(&program);
    server.args(["-D", "data", "-p", &port.to_string()]);
    for option in [
        "listen_addresses=127.0.0.1",
        "unix_socket_directories=",
        "fsync=off",
        "autovacuum=off",
        "log_min_duration_statement=0",
        "log_line_prefix=%r ",
        "max_connections=50",
        "jit=off",
    ] {
        server.args(["-c", option]);
    }
    let server = Server::start(server, port, folder, Signal::INT);
    // it listens before it lets anybody in
    server.await_that(|server| server.read("said").contains("ready to accept connections"));
    Some(server)
}

/// Debian's user `nobody`, and its group.
const NOBODY: u32 = 65534;

/// Runs a program to its end and gives what it wrote to its standard output.
///
/// # Panics
/// It cannot be started, or fails: with what it said.
pub fn run(command: &mut Command) -> String {
    let Output { status, stdout, stderr } =
        command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let out = String::from_utf8_lossy(&stdout).into_owned();
    assert!(status.success(), "{command:?}: {status}: {out}{}", String::from_utf8_lossy(&stderr));
    out
}
