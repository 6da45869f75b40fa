//! The program under test, golden texts, and a server to be asked.
#![allow(dead_code, reason = "each test takes what it needs")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Duration;

/// What the program did.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Ran {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tcprt"));
    command.env_remove("RUST_BACKTRACE").env_remove("LCC_BTF").stdin(Stdio::null());
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures"));
    command
}

/// Runs the program among the fixtures.
pub(crate) fn tcprt(args: &[&str]) -> Ran {
    program().args(args).output().expect("the program was built").into()
}

/// Holds a text against a file below `golden`; `UPDATE_GOLDEN=1` rewrites it.
#[track_caller]
pub(crate) fn golden(name: &str, text: &str) {
    let file: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&file, text).unwrap();
    }
    let expected = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    assert!(text == expected, "{} is otherwise:\n{text}", file.display());
}

/// Says that a test is skipped. Where `CI=true` none may be, and it fails.
pub(crate) fn skip(why: &str) {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "skipped where nothing may be: {why}");
    eprintln!("skipped: {why}");
}

/// Whether BPF can be loaded here; where not, that is said.
pub(crate) fn may_load() -> bool {
    let may = rustix::process::geteuid().is_root() && Path::new("/sys/kernel/btf/vmlinux").exists();
    if !may {
        skip("needs root, and a kernel with BTF of its own");
    }
    may
}

/// A server of HTTP/1.1 with keep-alive, which thinks as many milliseconds as the path says, and answers with 1000 bytes; 404
/// where the path is no number.
pub(crate) fn serve() -> SocketAddr {
    // below the ports that the kernel gives to clients
    let listener = (20_000..30_000).find_map(|port| TcpListener::bind(("127.0.0.1", port)).ok()).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                while let Some(Ok(first)) = lines.next() {
                    while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
                    let number = first.split(' ').nth(1).and_then(|path| path.strip_prefix('/')?.parse().ok());
                    thread::sleep(Duration::from_millis(number.unwrap_or(0)));
                    let status = if number.is_some() { "200 OK" } else { "404 Not Found" };
                    let head = format!("HTTP/1.1 {status}\r\nContent-Length: 900\r\n\r\n");
                    let body = "y".repeat(1000 - head.len());
                    stream
                        .write_all(format!("{head}{body}").replace("900", &body.len().to_string()).as_bytes())
                        .unwrap();
                }
            });
        }
    });
    address
}

/// Asks for these paths, one after the other, on one connection.
pub(crate) fn ask(server: SocketAddr, paths: &[&str]) {
    let mut stream = TcpStream::connect(server).unwrap();
    for path in paths {
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n").as_bytes()).unwrap();
        stream.read_exact(&mut [0; 1000]).unwrap();
    }
    // what is acknowledged late is no part of the test
    thread::sleep(Duration::from_millis(60));
}
