//! A server that has a processor of its own, and a client that keeps it busy.

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use lcc_tests::server::{self, Server, cpu_seconds, program, run};

use crate::Result;

/// The processors of the server, and of everything else.
pub(crate) const SERVERS: &str = "0";
pub(crate) const OTHERS: &str = "1";

/// One way to ask a server.
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    server: Server,
    client: PathBuf,
    args: Vec<String>,
    /// How many it makes; where it is not told, it prints how many they were.
    requests: Option<u64>,
}

/// What came of a turn.
pub(crate) struct Done {
    pub(crate) requests: u64,
    pub(crate) seconds: f64,
    pub(crate) server_seconds: f64,
}

impl Workload {
    /// `None`, said, where a server or client is missing.
    pub(crate) fn all(seconds: f64) -> Option<Vec<Workload>> {
        let wrk = |name, header: &[&str]| {
            let block =
                "access_log off; keepalive_requests 1000000000; location / { return 200 \"a small response\\n\"; }";
            let server = server::nginx(block)?;
            let (time, url) = (format!("-d{seconds}s"), format!("http://127.0.0.1:{}/", server.port));
            let args = ["-t1", "-c16", &time].iter().chain(header).chain([&&*url]).map(|&arg| arg.to_owned()).collect();
            Some(Workload { name, server, client: program("wrk")?, args, requests: None })
        };
        let redis = server::redis()?;
        // about as long: a quiet machine answers 50,000 in a second
        let count = (seconds * 50_000.0) as u64;
        let args = ["-p", &redis.port.to_string(), "-t", "get", "-c", "16", "-n", &count.to_string(), "--csv"];
        let args = args.map(str::to_owned).to_vec();
        let redis = Workload {
            name: "redis, GET",
            server: redis,
            client: program("redis-benchmark")?,
            args,
            requests: Some(count),
        };
        let all =
            vec![wrk("nginx, keep-alive", &[])?, wrk("nginx, a connection each", &["-H", "Connection: close"])?, redis];
        for workload in &all {
            run(Command::new("taskset").args(["-a", "-p", "-c", SERVERS, &workload.server.pid().to_string()]));
        }
        Some(all)
    }

    pub(crate) fn port(&self) -> u16 {
        self.server.port
    }

    pub(crate) fn turn(&self) -> Result<Done> {
        let before = cpu_seconds(self.server.pid())?;
        let begin = Instant::now();
        let printed = run(Command::new("taskset").args(["-c", OTHERS]).arg(&self.client).args(&self.args));
        let seconds = begin.elapsed().as_secs_f64();
        let told = |line: &str| line.split_once(" requests in ")?.0.trim().parse().ok();
        let requests = self.requests.or_else(|| printed.lines().find_map(told));
        let requests = requests.ok_or_else(|| format!("{}: {printed}", self.name))?;
        Ok(Done { requests, seconds, server_seconds: cpu_seconds(self.server.pid())? - before })
    }
}
