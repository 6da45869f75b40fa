//! Records as lines for people, in columns.
//!
//! ```text
//! TIME (UTC)   KIND LOCAL          PEER           OWNER   TOTAL  UPLOAD PROCESS   DOWNL     RTT   SENT   RCVD RETR
//! 22:13:21.000 R    10.0.0.1:80 <- 10.0.0.2:40000 nginx  3.30ms    15us    24us  3.26ms  2.24ms    690    120    2  GET /a 200
//! ```

use crate::record::{Container, Port, Record, Side};
use crate::write::{self, Writer};
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
        write::text(|w| self.write_line(w, record))
    }

    /// Appends such a line, as UTF-8.
    pub fn append(&mut self, record: &Record, out: &mut Vec<u8>) {
        self.write_line(&mut Writer::new(out), record);
    }

    fn write_line(&mut self, w: &mut Writer<'_>, record: &Record) {
        units::write_time_of_day(w, record.start_us);
        w.letter(' ');
        w.letter(record.kind.letter());
        w.text(if record.joined { "+   " } else { "    " });
        self.local = self.local.max(w.left(self.local, |w| w.address(&record.local)));
        w.text(if record.port().side == Side::Client { " -> " } else { " <- " });
        self.peer = self.peer.max(w.left(self.peer, |w| w.address(&record.peer)));
        w.letter(' ');
        let owner = owner(w, record);
        self.process = self.process.max(owner.min(30));
        w.blanks(self.process.saturating_sub(owner));
        w.letter(' ');
        w.right(7, |w| units::write_micros(w, record.total_us));
        for part in [record.upload_us(), record.process_us(), record.download_us()] {
            if record.kind == Kind::End {
                w.text("       -");
            } else {
                w.letter(' ');
                w.right(7, |w| units::write_micros(w, part));
            }
        }
        match record.min_rtt_us {
            0 => w.text("       -"),
            rtt => {
                w.letter(' ');
                w.right(7, |w| units::write_micros(w, rtt.into()));
            }
        }
        for bytes in [record.sent_bytes, record.received_bytes] {
            w.letter(' ');
            w.right(6, |w| units::write_bytes(w, bytes));
        }
        w.letter(' ');
        w.right(4, |w| w.number(record.retransmissions.into()));
        notes(w, record);
    }
}

/// Appends the process, and the container that it is in; gives how many characters that is.
fn owner(w: &mut Writer<'_>, record: &Record) -> usize {
    let owner = &record.owner;
    let container = owner.container.as_deref().map(Container::short);
    let mut characters = match owner.process.as_str() {
        "" if owner.pid > 0 => w.left(0, |w| w.number(owner.pid.into())),
        "" if container.is_none() => w.shown("-"),
        process => w.shown(process),
    };
    if let Some(container) = container {
        if characters > 0 {
            w.letter('@');
            characters += 1;
        }
        w.text(container);
        characters += container.chars().count();
    }
    characters
}

/// Appends what else there is to say.
fn notes(w: &mut Writer<'_>, record: &Record) {
    let mut separator = "  ";
    let mut note = |write: &dyn Fn(&mut Writer<'_>)| {
        w.text(separator);
        write(w);
        separator = ", ";
    };
    let unacknowledged = |w: &mut Writer<'_>| {
        units::write_bytes(w, record.unacknowledged_bytes);
        w.text(" not acknowledged");
    };
    match (&record.http, record.protocol) {
        (Some(http), _) => note(&|w| http.write_line(w)),
        (None, Protocol::Tls) => note(&|w| w.text("TLS")),
        _ => {}
    }
    match record.kind {
        Kind::ClosedWhileSending => note(&|w| {
            w.text("closed while sending, ");
            unacknowledged(w);
        }),
        Kind::ClosedWhileReceiving => note(&|w| w.text("closed before the answer")),
        Kind::Peer if !record.is_answered() => note(&|w| w.text("closed before the answer")),
        Kind::End => {
            note(&|w| {
                w.text("connection ended after ");
                w.number(record.task.into());
                w.text(if record.task == 1 { " task" } else { " tasks" });
            });
            if record.unacknowledged_bytes > 0 {
                note(&unacknowledged);
            }
        }
        _ => {}
    }
    if record.reordered {
        note(&|w| w.text("out of order"));
    }
}

/// A port and a process, for headings: `:80 server nginx`.
pub(crate) fn port(port: Port, process: &str) -> String {
    if process.is_empty() { port.to_string() } else { format!("{port} {process}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Http;
    use crate::record::Owner;
    use crate::record::tests::sample;
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
