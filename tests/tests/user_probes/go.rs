//! A stripped Go program, Debian's prometheus-node-exporter, by the offsets where its functions return: the kernel's return probes
//! must not be used on Go's stacks.

use crate::probes::{Wanted, object, watch};
use image::Image;
use lcc_tests::skip;
use offsetdb::resolver::Resolver;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PROGRAM: &str = "/usr/bin/prometheus-node-exporter";
/// `func (w *response) Write(data []byte) (n int, err error)`
const WRITE: &str = "net/http.(*response).Write";
/// `func (sh serverHandler) ServeHTTP(rw ResponseWriter, req *Request)`
const SERVE: &str = "net/http.serverHandler.ServeHTTP";

/// The program, listening.
struct Exporter {
    child: Child,
    port: u16,
}

impl Exporter {
    fn start() -> Exporter {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let mut command = Command::new(PROGRAM);
        command
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .args(["--collector.disable-defaults", "--collector.uname"]);
        let exporter = Exporter { child: command.stderr(Stdio::null()).spawn().unwrap(), port };
        let late = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            assert!(Instant::now() < late, "it does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        exporter
    }

    /// The body of the answer to a request.
    fn get(&self, path: &str) -> Vec<u8> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).unwrap();
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let head = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        answer.split_off(head + 4)
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn root_a_stripped_go_program_tells_what_it_returns() {
    let Some(object) = object() else { return };
    let Ok(bytes) = std::fs::read(PROGRAM) else { return skip("needs prometheus-node-exporter") };
    let image = Image::parse(&bytes).unwrap();
    assert!(image.section(".symtab").is_none(), "it is not stripped");
    let facts = offsetdb::facts::labelled(&image, &BTreeSet::from([WRITE.to_owned(), SERVE.to_owned()])).unwrap();
    let ends = |name: &str| -> Vec<String> {
        let fact = facts.iter().find(|fact| fact.name == name).unwrap();
        fact.returns.iter().map(|offset| format!("{name}+{offset:#x}")).collect()
    };
    let (write_ends, serve_ends) = (ends(WRITE), ends(SERVE));
    let mut count = vec![WRITE, SERVE];
    count.extend(serve_ends.iter().map(String::as_str));
    let result = write_ends.iter().map(String::as_str).collect();
    let exporter = Exporter::start();
    let mut bodies = Vec::new();
    // Go's own table is read while it runs
    let resolver = Resolver::new(offset_db::Resolver::without_database());
    let wanted = Wanted { count, result, ..Wanted::default() };
    let seen = watch(&object, resolver, exporter.child.id(), Path::new(PROGRAM), &wanted, || {
        bodies = (0..20).map(|_| exporter.get("/metrics")).collect::<Vec<_>>();
    });
    let served = seen.counts[SERVE];
    let returned: u64 = serve_ends.iter().map(|name| seen.counts[name]).sum();
    assert_eq!((served, returned), (20, 20));
    assert_eq!(seen.counts[WRITE], seen.results.len() as u64);
    let sent: usize = bodies.iter().map(Vec::len).sum();
    assert_eq!(seen.results.iter().sum::<u64>(), sent as u64, "{:?}", seen.results);
}
