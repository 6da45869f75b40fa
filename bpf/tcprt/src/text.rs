//! Records as lines for people, in columns.
//!
//! ```text
//! TIME (UTC)   KIND LOCAL          PEER           OWNER   TOTAL  UPLOAD PROCESS   DOWNL     RTT   SENT   RCVD RETR
//! 22:13:21.000 R    10.0.0.1:80 <- 10.0.0.2:40000 nginx  3.30ms    15us    24us  3.26ms  2.24ms    690    120    2  GET /a 200
//! ```

use std::borrow::Cow;
use std::fmt::Write;

use crate::record::{Port, Record, Side};
use crate::units::Micros;
use crate::{Kind, Protocol, units};

/// Widths of the columns, which grow with what is in them.
#[derive(Clone, Debug)]
pub struct Table {
    local: usize,
    peer: usize,
    process: usize,
}

impl Default for Table {
    fn default() -> Table {
        Table { local: 15, peer: 15, process: 12 }
    }
}

impl Table {
    /// The columns' names.
    pub fn heading(&self) -> String {
        let Table { local, peer, process } = self;
        let numbers = "  TOTAL  UPLOAD PROCESS   DOWNL     RTT   SENT   RCVD RETR";
        format!("TIME (UTC)   KIND {:local$}    {:peer$} {:process$} {numbers}", "LOCAL", "PEER", "OWNER")
    }

    /// A line without its end. Whoever asked stands at the arrow's foot.
    pub fn line(&mut self, record: &Record) -> String {
        let mut line = String::new();
        self.write(record, &mut line);
        line
    }

    /// Appends such a line.
    pub fn write(&mut self, record: &Record, out: &mut String) {
        // a text takes whatever is written
        let _ = self.try_write(record, out);
    }

    fn try_write(&mut self, record: &Record, out: &mut String) -> std::fmt::Result {
        let (local, peer) = (record.local.to_string(), record.peer.to_string());
        let owner = owner(record);
        self.local = self.local.max(local.len());
        self.peer = self.peer.max(peer.len());
        self.process = self.process.max(owner.chars().count().min(30));
        let arrow = if record.port().side == Side::Client { "->" } else { "<-" };
        let Table { local: for_local, peer: for_peer, process } = self;
        let (time, letter) = (units::time_of_day(record.start_us), record.kind.letter());
        let joined = if record.joined { '+' } else { ' ' };
        write!(out, "{time} {letter}{joined}   {local:for_local$} {arrow} {peer:for_peer$} {owner:process$} ")?;
        write!(out, "{:>7}", Micros(record.total_us))?;
        for part in [record.upload_us(), record.process_us(), record.download_us()] {
            if record.kind == Kind::End {
                out.push_str("       -");
            } else {
                write!(out, " {:>7}", Micros(part))?;
            }
        }
        match record.min_rtt_us {
            0 => out.push_str("       -"),
            rtt => write!(out, " {:>7}", Micros(rtt.into()))?,
        }
        let (sent, received) = (units::bytes(record.sent_bytes), units::bytes(record.received_bytes));
        write!(out, " {sent:>6} {received:>6} {:>4}", record.retransmissions)?;
        let mut separator = "  ";
        for note in notes(record) {
            write!(out, "{separator}{note}")?;
            separator = ", ";
        }
        Ok(())
    }
}

/// The process, and the container that it is in.
fn owner(record: &Record) -> Cow<'_, str> {
    let owner = &record.owner;
    let process = match owner.process.as_str() {
        "" if owner.pid > 0 => Cow::Owned(owner.pid.to_string()),
        process if process.chars().any(char::is_control) => {
            Cow::Owned(process.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect())
        }
        process => Cow::Borrowed(process),
    };
    match &owner.container {
        Some(container) if process.is_empty() => container.short().into(),
        Some(container) => format!("{process}@{}", container.short()).into(),
        None if process.is_empty() => "-".into(),
        None => process,
    }
}

fn notes(record: &Record) -> Vec<String> {
    let mut notes = Vec::new();
    match (&record.http, record.protocol) {
        (Some(http), _) => notes.push(http.line()),
        (None, Protocol::Tls) => notes.push("TLS".to_owned()),
        _ => {}
    }
    match record.kind {
        Kind::ClosedWhileSending => {
            notes.push(format!("closed while sending, {} not acknowledged", units::bytes(record.unacknowledged_bytes)));
        }
        Kind::ClosedWhileReceiving => notes.push("closed before the answer".to_owned()),
        Kind::Peer if !record.is_answered() => notes.push("closed before the answer".to_owned()),
        Kind::End => {
            let tasks = if record.task == 1 { "task" } else { "tasks" };
            notes.push(format!("connection ended after {} {tasks}", record.task));
            if record.unacknowledged_bytes > 0 {
                notes.push(format!("{} not acknowledged", units::bytes(record.unacknowledged_bytes)));
            }
        }
        _ => {}
    }
    if record.reordered {
        notes.push("out of order".to_owned());
    }
    notes
}

/// A port and a process, for headings: `:80 server nginx`.
pub(crate) fn port(port: Port, process: &str) -> String {
    if process.is_empty() { port.to_string() } else { format!("{port} {process}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Http;
    use crate::record::tests::sample;
    use crate::record::{Container, Owner};
    use std::sync::Arc;

    #[test]
    fn columns_stand_below_their_names() {
        let mut table = Table::default();
        let four = |kind| Record { kind, peer: "10.0.0.2:40000".parse().unwrap(), reordered: false, ..sample() };
        let http = Http { method: "GET".into(), path: "/a".into(), cut: true, status: 200 };
        let container = Arc::new(Container { id: "ab".repeat(32), ..Container::default() });
        let owner = Owner { pid: 7, process: "nginx".into(), container: Some(container), ..Owner::default() };
        let records = [
            Record { owner: Owner { process: "redis-server".into(), ..Owner::default() }, ..four(Kind::Request) },
            Record { owner, http: Some(http), joined: true, ..four(Kind::Request) },
            Record { unacknowledged_bytes: 7, protocol: Protocol::Tls, ..four(Kind::ClosedWhileSending) },
            Record { owner: Owner { pid: 7, ..Owner::default() }, min_rtt_us: 0, ..four(Kind::ClosedWhileReceiving) },
            four(Kind::Peer),
            four(Kind::End),
            sample(),
        ];
        let mut lines: Vec<String> = records.iter().map(|record| table.line(record)).collect();
        // widths are the last ones'
        lines.insert(0, table.heading());
        let text = lines.join("\n") + "\n";
        let golden = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/lines.txt");
        crate::golden::check(&golden, &text);
    }
}
