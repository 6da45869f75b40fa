//! PostgreSQL, asked by pgbench.

use std::collections::BTreeMap;
use std::process::Command;

use lcc_tests::server::{self, Server, program, run};
use tcprt::Kind;

use crate::{alone, at, check_service, object, observe, requests};

const CLIENTS: usize = 8;

/// Milliseconds of the statements, in their order, of each client's port.
fn durations(postgres: &Server) -> BTreeMap<u16, Vec<f64>> {
    let mut of = BTreeMap::<u16, Vec<f64>>::new();
    for line in postgres.read("said").lines() {
        // 127.0.0.1(40000) LOG:  duration: 0.123 ms  statement: SELECT 1
        let Some((client, rest)) = line.split_once(" LOG:  duration: ") else { continue };
        let port = client.trim_end_matches(')').rsplit('(').next().and_then(|port| port.parse().ok());
        let duration = rest.split(' ').next().and_then(|duration| duration.parse().ok());
        of.entry(port.expect("a port")).or_default().push(duration.expect("a duration"));
    }
    of
}

/// pgbench, for what is at that port.
fn pgbench(port: u16, args: &[&str]) -> Option<String> {
    let mut pgbench = Command::new(program("pgbench")?);
    pgbench.args(["-h", "127.0.0.1", "-U", "lcc", "-p", &port.to_string()]).args(args).arg("postgres");
    // no question first whether the server has these
    pgbench.envs([("PGSSLMODE", "disable"), ("PGGSSENCMODE", "disable")]);
    Some(run(&mut pgbench))
}

/// A PostgreSQL with pgbench's tables.
fn prepared() -> Option<Server> {
    let postgres = server::postgres()?;
    pgbench(postgres.port, &["-i", "-q", "-n", "-s", "1"])?;
    Some(postgres)
}

#[test]
fn root_postgresql_counts_the_same_statements() {
    let _alone = alone();
    let Some(object) = object() else { return };
    for protocol in ["simple", "extended", "prepared"] {
        let Some(mut postgres) = prepared() else { return };
        let each = requests() / CLIENTS;
        let (clients, transactions) = (CLIENTS.to_string(), each.to_string());
        let (seen, printed) = observe(object, &at(postgres.port), || {
            pgbench(postgres.port, &["-S", "-n", "-M", protocol, "-c", &clients, "-t", &transactions]).unwrap()
        });
        postgres.end();
        let of = format!("pgbench -M {protocol} and PostgreSQL: {}", seen.summary());
        eprintln!("{of}");
        let processed = format!("number of transactions actually processed: {0}/{0}", each * CLIENTS);
        assert!(printed.contains(&processed), "{printed}");
        assert_eq!(seen.lost, 0, "{of}");
        // one more asks for the scale before they begin, and for what it is made of
        assert_eq!(seen.count(Kind::End), CLIENTS + 1, "{of}");
        let first = seen.of(Kind::End).map(|event| event.task).min();
        let first = first.expect("an end") as usize;
        // a connection's first task is its startup; its last is no task: nobody answers a Terminate
        let prepares = usize::from(protocol == "prepared");
        assert_eq!(seen.count(Kind::Request), CLIENTS * (1 + prepares + each) + first - 1, "{of}");
        assert_eq!(seen.count(Kind::ClosedWhileReceiving), CLIENTS + 1, "{of}");
        assert!(seen.of(Kind::ClosedWhileReceiving).all(|event| event.received_bytes == TERMINATE), "{of}");
    }
}

#[test]
fn root_postgresql_takes_as_long_as_it_says() {
    let _alone = alone();
    let Some(object) = object() else { return };
    if program("pgbench").is_none() || program("initdb").is_none() {
        return;
    }
    check_service("PostgreSQL, pgbench -S", || {
        // another one each time: what it says is whole when it has ended
        let mut postgres = prepared().expect("it was there before");
        postgres.prefer();
        let (seen, _) = observe(object, &at(postgres.port), || {
            pgbench(postgres.port, &["-S", "-n", "-M", "simple", "-c", "1", "-t", "2000"])
        });
        postgres.end();
        let ports: Vec<u16> = seen.of(Kind::End).map(|event| event.peer.port()).collect();
        let mut logged = durations(&postgres);
        logged.retain(|port, _| ports.contains(port));
        // each statement is a task, and so is a connection's startup
        assert_eq!(seen.count(Kind::Request), logged.values().map(Vec::len).sum::<usize>() + logged.len());
        let (mut measured, mut own) = (Vec::new(), Vec::new());
        for event in seen.of(Kind::Request).filter(|event| event.task > 1) {
            measured.push(event.service_us as f64);
            own.push(logged[&event.peer.port()][event.task as usize - 2] * 1000.0);
        }
        (measured, own)
    });
}

/// Bytes of the message that ends a session.
const TERMINATE: u64 = 5;
