//! Servers and the requests to them.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::time::Instant;

use lcc_tests::server::{self, Server, program, run};

use crate::Result;

/// Bytes of a request and of its response.
const REQUEST: usize = 100;
const RESPONSE: usize = 300;
/// A request of redis, and its answer where there is no such key.
const GET: &[u8] = b"*2\r\n$3\r\nGET\r\n$16\r\nkey:000000000042\r\n";
const MISSING: usize = b"$-1\r\n".len();
/// Connections of `redis-benchmark`.
const CONNECTIONS: u64 = 16;

/// The servers, which run as long as this.
pub(crate) struct Loads {
    redis: Server,
    requests: u64,
    /// Where the servers listen.
    pub(crate) ports: Vec<u16>,
}

impl Loads {
    /// What [`Loads::turn`] gives, nanoseconds for a request: of both sides together, and of redis' process alone.
    pub(crate) const FIGURES: [&str; 4] =
        ["ping-pong", "redis, one connection", "redis, 16 connections", "redis, 16 connections: the server's process"];

    /// # Errors
    /// redis is not there, or does not do as it is told.
    pub(crate) fn start(requests: u64) -> Result<Loads> {
        let listener = TcpListener::bind(("127.0.0.1", server::free_port()))?;
        let echo = listener.local_addr()?.port();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                // who asks has ended
                let _ = stream.and_then(|stream| answer(&stream));
            }
        });
        let redis = server::redis().ok_or("no redis-server")?;
        // what the tests want of it, and users do not
        let mut stream = TcpStream::connect(("127.0.0.1", redis.port))?;
        stream.write_all(b"CONFIG SET slowlog-log-slower-than -1\r\n")?;
        let mut said = [0; 5];
        stream.read_exact(&mut said)?;
        if &said != b"+OK\r\n" {
            return Err(String::from_utf8_lossy(&said).into());
        }
        Ok(Loads { ports: vec![echo, redis.port], redis, requests })
    }

    /// Requests of redis-benchmark's two runs: their difference leaves out its start and its end.
    fn benchmarks(&self) -> [u64; 2] {
        [self.requests, 10 * self.requests]
    }

    /// How many tasks a turn has.
    pub(crate) fn tasks(&self) -> u64 {
        let warm = self.requests / 10;
        2 * (self.requests + warm) + self.benchmarks().iter().sum::<u64>()
    }

    /// Requests to the server that does nothing: nanoseconds for each, and how many they were with those that are not timed.
    ///
    /// # Errors
    /// The connection breaks.
    pub(crate) fn ping_pong(&self) -> Result<(f64, u64)> {
        let took = ask(self.ports[0], &[b'x'; REQUEST], RESPONSE, self.requests)?;
        Ok((took, self.requests + self.requests / 10))
    }

    /// # Errors
    /// A connection breaks, or redis-benchmark fails.
    pub(crate) fn turn(&self) -> Result<Vec<f64>> {
        let (echo, _) = self.ping_pong()?;
        let redis = ask(self.ports[1], GET, MISSING, self.requests)?;
        let [few, many] = self.benchmarks();
        let ((short, short_own), (long, long_own)) = (self.benchmark(few)?, self.benchmark(many)?);
        let more = (many - few) as f64;
        Ok(vec![echo, redis, (long - short) / more, (long_own - short_own) / more])
    }

    /// Nanoseconds that it takes, and what the server's process does.
    fn benchmark(&self, requests: u64) -> Result<(f64, f64)> {
        let mut benchmark = Command::new(program("redis-benchmark").ok_or("no redis-benchmark")?);
        let (port, requests, connections) = (self.ports[1].to_string(), requests.to_string(), CONNECTIONS.to_string());
        benchmark.args(["-p", &port, "-t", "get", "-c", &connections, "-n", &requests, "--csv"]);
        let (begin, before) = (Instant::now(), server::cpu_seconds(self.redis.pid())?);
        run(&mut benchmark);
        let own = server::cpu_seconds(self.redis.pid())? - before;
        Ok((begin.elapsed().as_nanos() as f64, own * 1e9))
    }
}

fn answer(mut stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    loop {
        stream.read_exact(&mut [0; REQUEST])?;
        stream.write_all(&[b'y'; RESPONSE])?;
    }
}

/// Nanoseconds for a request, of so many on a connection.
fn ask(port: u16, request: &[u8], response: usize, count: u64) -> Result<f64> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_nodelay(true)?;
    let mut once = |buffer: &mut [u8]| stream.write_all(request).and_then(|()| stream.read_exact(buffer));
    let mut buffer = vec![0; response];
    for _ in 0..count / 10 {
        once(&mut buffer)?;
    }
    let begin = Instant::now();
    for _ in 0..count {
        once(&mut buffer)?;
    }
    Ok(begin.elapsed().as_nanos() as f64 / count as f64)
}
