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

use serde::Deserialize;

use crate::http::Http;
use crate::log::Malformed;
use crate::record::{Container, Owner, Record};
use crate::write::{self, Writer};
use crate::{Kind, Protocol, containers};

#[derive(Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
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
    #[serde(default)]
    #[cfg_attr(test, serde(skip_serializing_if = "is_default"))]
    reordered: bool,
    #[serde(default)]
    #[cfg_attr(test, serde(skip_serializing_if = "is_default"))]
    joined: bool,
    #[serde(default)]
    #[cfg_attr(test, serde(skip_serializing_if = "is_default"))]
    pid: u32,
    #[serde(default, borrow)]
    #[cfg_attr(test, serde(skip_serializing_if = "str::is_empty"))]
    process: Cow<'r, str>,
    #[serde(default)]
    #[cfg_attr(test, serde(skip_serializing_if = "is_default"))]
    cgroup: u64,
    #[serde(default)]
    #[cfg_attr(test, serde(skip_serializing_if = "is_default"))]
    netns: u32,
    #[serde(default, borrow)]
    #[cfg_attr(test, serde(skip_serializing_if = "str::is_empty"))]
    container: Cow<'r, str>,
    #[serde(default, borrow)]
    #[cfg_attr(test, serde(skip_serializing_if = "str::is_empty"))]
    runtime: Cow<'r, str>,
    #[serde(default, borrow)]
    #[cfg_attr(test, serde(skip_serializing_if = "Option::is_none"))]
    pod: Option<Cow<'r, str>>,
    #[serde(default)]
    #[cfg_attr(test, serde(skip_serializing_if = "is_default"))]
    protocol: Protocol,
    #[serde(default, borrow)]
    #[cfg_attr(test, serde(skip_serializing_if = "str::is_empty"))]
    method: Cow<'r, str>,
    #[serde(default, borrow)]
    #[cfg_attr(test, serde(skip_serializing_if = "str::is_empty"))]
    path: Cow<'r, str>,
    #[serde(default)]
    #[cfg_attr(test, serde(skip_serializing_if = "is_default"))]
    path_cut: bool,
    #[serde(default)]
    #[cfg_attr(test, serde(skip_serializing_if = "is_default"))]
    status: u16,
}

#[cfg(test)]
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// The record as one line, without its end of line.
pub fn line(record: &Record) -> String {
    write::text(|w| write_line(w, record))
}

/// Appends such a line, as UTF-8.
pub fn append(record: &Record, out: &mut Vec<u8>) {
    write_line(&mut Writer::new(out), record);
}

fn write_line(w: &mut Writer<'_>, record: &Record) {
    w.text("{\"kind\":\"");
    w.letter(record.kind.letter());
    w.text("\",\"start_us\":");
    w.number(record.start_us);
    w.text(",\"local\":\"");
    w.address(&record.local);
    w.text("\",\"peer\":\"");
    w.address(&record.peer);
    w.letter('"');
    number(w, ",\"total_us\":", record.total_us);
    number(w, ",\"upload_us\":", record.upload_us());
    number(w, ",\"process_us\":", record.process_us());
    number(w, ",\"download_us\":", record.download_us());
    number(w, ",\"sent_bytes\":", record.sent_bytes);
    number(w, ",\"received_bytes\":", record.received_bytes);
    number(w, ",\"unacknowledged_bytes\":", record.unacknowledged_bytes);
    number(w, ",\"min_rtt_us\":", record.min_rtt_us.into());
    number(w, ",\"retransmissions\":", record.retransmissions.into());
    number(w, ",\"task\":", record.task.into());
    number(w, ",\"mss\":", record.mss.into());
    if record.reordered {
        w.text(",\"reordered\":true");
    }
    if record.joined {
        w.text(",\"joined\":true");
    }
    let owner = &record.owner;
    known(w, ",\"pid\":", owner.pid.into());
    string(w, ",\"process\":", &owner.process);
    known(w, ",\"cgroup\":", owner.cgroup);
    known(w, ",\"netns\":", owner.netns.into());
    if let Some(container) = owner.container.as_deref() {
        string(w, ",\"container\":", &container.id);
        string(w, ",\"runtime\":", container.runtime);
        if let Some(pod) = &container.pod {
            quoted(w, ",\"pod\":", pod);
        }
    }
    match record.protocol {
        Protocol::Any => {}
        Protocol::Http => w.text(",\"protocol\":\"http\""),
        Protocol::Tls => w.text(",\"protocol\":\"tls\""),
    }
    if let Some(http) = &record.http {
        string(w, ",\"method\":", &http.method);
        string(w, ",\"path\":", &http.path);
        if http.cut {
            w.text(",\"path_cut\":true");
        }
        known(w, ",\"status\":", http.status.into());
    }
    w.letter('}');
}

#[inline(always)]
fn number(w: &mut Writer<'_>, name: &str, value: u64) {
    w.text(name);
    w.number(value);
}

/// What is 0 is not known.
#[inline(always)]
fn known(w: &mut Writer<'_>, name: &str, value: u64) {
    if value > 0 {
        number(w, name, value);
    }
}

/// What is empty is not known.
fn string(w: &mut Writer<'_>, name: &str, value: &str) {
    if !value.is_empty() {
        quoted(w, name, value);
    }
}

fn quoted(w: &mut Writer<'_>, name: &str, value: &str) {
    w.text(name);
    if value.bytes().any(|byte| matches!(byte, 0..b' ' | b'"' | b'\\')) {
        // a string: it cannot fail
        return w.text(&serde_json::to_string(value).unwrap_or_default());
    }
    w.letter('"');
    w.text(value);
    w.letter('"');
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

    #[track_caller]
    fn check_by_serde(record: &Record) {
        assert_eq!(line(record), serde_json::to_string(&of(record)).unwrap());
    }

    #[test]
    fn a_line_is_as_serde_has_it() {
        check_by_serde(&sample());
        check_by_serde(&Record { joined: true, protocol: Protocol::Tls, http: Some(Http::default()), ..owned() });
        let strange = "a\"\\\u{8}\u{c}\n\r\t\u{1f}\u{7f}\u{9b}ä/".to_owned();
        let http = Http { method: strange.clone(), path: strange.repeat(30), cut: true, status: 999 };
        let container = Container { id: strange.clone(), runtime: "", pod: Some(strange.clone()) };
        let container = Some(Arc::new(container));
        let owner = Owner { pid: u32::MAX, process: strange, cgroup: u64::MAX, netns: u32::MAX, container };
        check_by_serde(&Record { owner, http: Some(http), ..sample() });
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
        fn any_record_is_as_serde_has_it(record in records()) {
            prop_assert_eq!(line(&record), serde_json::to_string(&of(&record)).unwrap());
        }

        #[test]
        fn no_text_is_a_panic(text in "\\{.{0,100}\\}") {
            let _ = parse(&text);
        }
    }
}
