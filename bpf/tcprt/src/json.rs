//! A record as a line of JSON, both ways.
//!
//! | member | |
//! |---|---|
//! | `kind` | R, W, N, E or P |
//! | `start_us` | when it began, microseconds since 1970 |
//! | `local`, `peer` | `ADDRESS:PORT`, IPv6 addresses in brackets |
//! | `total_us`, `upload_us`, `process_us`, `download_us` | microseconds; what such a record has not is 0 |
//! | `sent_bytes`, `received_bytes`, `unacknowledged_bytes` | payload |
//! | `min_rtt_us`, `retransmissions`, `task`, `mss` | numbers |
//! | `reordered`, `joined` | there where they are true |
//! | `pid`, `process`, `cgroup`, `netns`, `container`, `runtime`, `pod` | there where they are known |
//! | `protocol` | `http` or `tls` |
//! | `method`, `path`, `path_cut`, `status` | of HTTP, as far as they are known |

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::http::Http;
use crate::log::Malformed;
use crate::record::{Container, Owner, Record};
use crate::{Kind, Protocol, containers};

#[derive(Serialize, Deserialize)]
struct Line<'r> {
    kind: char,
    start_us: u64,
    local: SocketAddr,
    peer: SocketAddr,
    #[serde(default)]
    total_us: u64,
    #[serde(default)]
    upload_us: u64,
    #[serde(default)]
    process_us: u64,
    #[serde(default)]
    download_us: u64,
    #[serde(default)]
    sent_bytes: u64,
    #[serde(default)]
    received_bytes: u64,
    #[serde(default)]
    unacknowledged_bytes: u64,
    #[serde(default)]
    min_rtt_us: u32,
    #[serde(default)]
    retransmissions: u32,
    #[serde(default)]
    task: u32,
    #[serde(default)]
    mss: u32,
    #[serde(default, skip_serializing_if = "is_default")]
    reordered: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    joined: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    pid: u32,
    #[serde(default, borrow, skip_serializing_if = "str::is_empty")]
    process: Cow<'r, str>,
    #[serde(default, skip_serializing_if = "is_default")]
    cgroup: u64,
    #[serde(default, skip_serializing_if = "is_default")]
    netns: u32,
    #[serde(default, borrow, skip_serializing_if = "str::is_empty")]
    container: Cow<'r, str>,
    #[serde(default, borrow, skip_serializing_if = "str::is_empty")]
    runtime: Cow<'r, str>,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pod: Option<Cow<'r, str>>,
    #[serde(default, skip_serializing_if = "is_default")]
    protocol: Protocol,
    #[serde(default, borrow, skip_serializing_if = "str::is_empty")]
    method: Cow<'r, str>,
    #[serde(default, borrow, skip_serializing_if = "str::is_empty")]
    path: Cow<'r, str>,
    #[serde(default, skip_serializing_if = "is_default")]
    path_cut: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    status: u16,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// The record as one line, without its end of line.
pub fn line(record: &Record) -> String {
    // numbers and strings: none of it can fail
    serde_json::to_string(&of(record)).unwrap_or_default()
}

fn of(record: &Record) -> Line<'_> {
    let owner = &record.owner;
    let container = owner.container.as_deref();
    let http = record.http.as_ref();
    Line {
        kind: record.kind.letter(),
        start_us: record.start_us,
        local: record.local,
        peer: record.peer,
        total_us: record.total_us,
        upload_us: record.upload_us(),
        process_us: record.process_us(),
        download_us: record.download_us(),
        sent_bytes: record.sent_bytes,
        received_bytes: record.received_bytes,
        unacknowledged_bytes: record.unacknowledged_bytes,
        min_rtt_us: record.min_rtt_us,
        retransmissions: record.retransmissions,
        task: record.task,
        mss: record.mss,
        reordered: record.reordered,
        joined: record.joined,
        pid: owner.pid,
        process: owner.process.as_str().into(),
        cgroup: owner.cgroup,
        netns: owner.netns,
        container: container.map_or("", |container| &container.id).into(),
        runtime: container.map_or("", |container| container.runtime).into(),
        pod: container.and_then(|container| container.pod.as_deref()).map(Cow::Borrowed),
        protocol: record.protocol,
        method: http.map_or("", |http| &http.method).into(),
        path: http.map_or("", |http| &http.path).into(),
        path_cut: http.is_some_and(|http| http.cut),
        status: http.map_or(0, |http| http.status),
    }
}

/// Reads a line. Members that are not known are passed over, so that a log of a later version can be read.
///
/// # Errors
/// It is no such line: the column, and what is wrong there.
pub fn parse(line: &str) -> Result<Record, Malformed> {
    let line: Line<'_> = serde_json::from_str(line).map_err(|error| {
        let what = error.to_string();
        let what = what.split(" at line ").next().unwrap_or_default().to_owned();
        Malformed::new(error.column().max(1), what)
    })?;
    let kind = u8::try_from(line.kind).ok().and_then(Kind::of);
    let kind =
        kind.ok_or_else(|| Malformed::new(1, format!("kind {:?}: expected one of R, W, N, E and P", line.kind)))?;
    let container = Container {
        id: line.container.into_owned(),
        runtime: containers::runtime(&line.runtime),
        pod: line.pod.map(Cow::into_owned),
    };
    let (method, path) = (line.method.into_owned(), line.path.into_owned());
    let http = Http { method, path, cut: line.path_cut, status: line.status };
    Ok(Record {
        kind,
        start_us: line.start_us,
        local: line.local,
        peer: line.peer,
        total_us: line.total_us,
        receive_us: if kind == Kind::Peer { line.download_us } else { line.upload_us },
        service_us: line.process_us,
        sent_bytes: line.sent_bytes,
        received_bytes: line.received_bytes,
        unacknowledged_bytes: line.unacknowledged_bytes,
        min_rtt_us: line.min_rtt_us,
        retransmissions: line.retransmissions,
        task: line.task,
        mss: line.mss,
        reordered: line.reordered,
        joined: line.joined,
        owner: Owner {
            pid: line.pid,
            process: line.process.into_owned(),
            cgroup: line.cgroup,
            netns: line.netns,
            container: (container != Container::default()).then(|| Arc::new(container)),
        },
        http: (http != Http::default()).then_some(http),
        protocol: line.protocol,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::sample;
    use crate::v6::tests::records;
    use proptest::prelude::*;

    fn owned() -> Record {
        let container = Container { id: "ab".repeat(32), runtime: "docker", pod: None };
        Record {
            owner: Owner {
                pid: 812,
                process: "nginx".to_owned(),
                cgroup: 4711,
                netns: 4_026_531_840,
                container: Some(Arc::new(container)),
            },
            http: Some(Http { method: "GET".into(), path: "/a\"b".into(), cut: false, status: 404 }),
            protocol: Protocol::Http,
            ..sample()
        }
    }

    #[test]
    fn a_line_has_what_is_known() {
        let text = line(&sample());
        let expected = concat!(
            r#"{"kind":"R","start_us":1700000001000002,"local":"10.0.0.1:80","peer":"[2001:db8::2]:40000","#,
            r#""total_us":3303,"upload_us":15,"process_us":24,"download_us":3264,"sent_bytes":690,"received_bytes":120,"#,
            r#""unacknowledged_bytes":0,"min_rtt_us":2240,"retransmissions":2,"task":10,"mss":1448,"reordered":true}"#,
        );
        assert_eq!(text, expected);
        let text = line(&owned());
        let id = "ab".repeat(32);
        let tail = format!(
            r#""pid":812,"process":"nginx","cgroup":4711,"netns":4026531840,"container":"{id}","runtime":"docker",{}"#,
            r#""protocol":"http","method":"GET","path":"/a\"b","status":404}"#
        );
        assert!(text.ends_with(&tail), "{text}");
    }

    #[test]
    fn what_is_written_is_read_again() {
        for record in [sample(), owned(), Record { kind: Kind::Peer, ..owned() }] {
            assert_eq!(parse(&line(&record)), Ok(record));
        }
    }

    #[test]
    fn errors_say_where() {
        let error = parse(r#"{"kind":"R","start_us":-1}"#).unwrap_err();
        assert_eq!(error.to_string(), "25: invalid value: integer `-1`, expected u64");
        let text = line(&sample()).replace("\"R\"", "\"Q\"");
        assert_eq!(parse(&text).unwrap_err().to_string(), "1: kind 'Q': expected one of R, W, N, E and P");
    }

    proptest! {
        #[test]
        fn any_record_is_read_again(record in records()) {
            // an end has no parts
            let record = if record.kind == Kind::End {
                Record { receive_us: 0, service_us: 0, ..record }
            } else {
                record
            };
            prop_assert_eq!(parse(&line(&record)), Ok(record));
        }

        #[test]
        fn no_text_is_a_panic(text in "\\{.{0,100}\\}") {
            let _ = parse(&text);
        }
    }
}
