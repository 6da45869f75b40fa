//! The command line.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as Group, Parser, Subcommand, ValueEnum};
use serde::Deserialize;
use tcprt::{ports, units};

/// Tell the response time of each request of the TCP servers and clients on this machine.
///
/// A task is a request and its response on a connection that carries one at a time (HTTP/1.1, MySQL, Redis, …). For each that is
/// over there is a line: how long the request was coming (upload), the server took (process), and the response was going
/// (download), with the bytes, the round trip time and what had to be sent again. It ends with Ctrl-C, or SIGTERM, and then sums up
/// each port.
///
/// It needs CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN, or CAP_SYS_ADMIN before Linux 5.8. Nothing stays attached when it ends, unless
/// --keep says so.
///
/// Exit status: 0 done, 1 the answer is no (nothing can be measured, nothing is kept), 2 an error.
#[derive(Debug, Parser)]
#[command(name = "tcprt", version, max_term_width = 120, args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    /// What else to do.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) live: Live,
}

/// What else to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// A live view: of each port the rate, and p50, p95 and p99 of upload, process, download, total and round trip time.
    ///
    /// It ends with q or Ctrl-C. Where standard output is no terminal, each view is printed below the one before.
    Top(Top),
    /// Print the log that `tcprt --keep` left, from its oldest record on
    Log(Log),
    /// Detach what `tcprt --keep` left, and forget its log
    Stop {
        /// The folder in a BPF file system
        #[arg(long, value_name = "DIR", default_value = PINS)]
        pins: PathBuf,
    },
    /// Read logs, ours and the vendor's (V6 and JSON lines): print, sum up, or draw them.
    ///
    /// Lines that are none are told on standard error and passed over.
    Parse(Parse),
    /// Print a shell's completions
    #[command(hide = true)]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write the man pages into a folder
    #[command(hide = true)]
    Man {
        /// The folder
        folder: PathBuf,
    },
}

/// Where `--keep` pins.
pub(crate) const PINS: &str = "/sys/fs/bpf/tcprt";

/// How records are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// Columns for people
    #[default]
    Text,
    /// The vendor's lines
    V6,
    /// A JSON object on each line
    Json,
    /// Not each, but for each interval and port a line as in rt-network-stats
    Stats,
}

/// What is a task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    /// Whatever is sent and answered
    #[default]
    Default,
    /// What begins with a request of HTTP/1, told with method, path and status
    Http,
    /// Application data of TLS, without handshakes and alerts
    Https,
}

/// Which connections, and what of them is a task.
#[derive(Clone, Debug, Default, Group)]
pub(crate) struct Filters {
    /// Servers' ports and ranges, as 80,8000-8999; can be given several times. Else, without --pport, all
    #[arg(long, value_name = "PORTS", value_parser = ports::parse)]
    pub(crate) lport: Vec<Vec<RangeInclusive<u16>>>,
    /// Ports of servers that this machine's clients talk to
    #[arg(long, value_name = "PORTS", value_parser = ports::parse)]
    pub(crate) pport: Vec<Vec<RangeInclusive<u16>>>,
    /// Only sockets of this control group and those below it: its folder, or its id (the folder's inode number)
    #[arg(long, value_name = "PATH|ID", conflicts_with = "container")]
    pub(crate) cgroup: Option<String>,
    /// Only this container: its id, or the first digits of it
    #[arg(long, value_name = "ID")]
    pub(crate) container: Option<String>,
    /// Only connections that this process reads from
    #[arg(long, value_name = "PID")]
    pub(crate) pid: Option<u32>,
    /// Only this network namespace: a file as /proc/PID/ns/net or /run/netns/NAME, or its inode number
    #[arg(long, value_name = "PATH|INODE")]
    pub(crate) netns: Option<String>,
    /// What is a task
    #[arg(long, value_enum, value_name = "MODE")]
    pub(crate) mode: Option<Mode>,
}

/// Where it attaches.
#[derive(Clone, Debug, Default, Group)]
pub(crate) struct Loading {
    /// The BTF to relocate against; also LCC_BTF. Else the kernel's own
    #[arg(long, value_name = "FILE")]
    pub(crate) btf: Option<PathBuf>,
    /// Room for so many records on each processor before the oldest is overwritten; a power of two. Else 8192
    #[arg(long, value_name = "N")]
    pub(crate) slots: Option<u32>,
    /// Room for so many connections at a time, where they are kept in a table: before Linux 5.11, and at kprobes. Else 65536
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) connections: Option<u32>,
    /// Do without this program, as --explain names them, so that another way is taken; can be given several times
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) without: Vec<String>,
    /// Tell on standard error how it is loaded, and what that costs
    #[arg(short, long)]
    pub(crate) verbose: bool,
}

/// What `tcprt` alone takes.
#[derive(Clone, Debug, Group)]
pub(crate) struct Live {
    #[command(flatten)]
    pub(crate) filters: Filters,
    /// How records are told; else text
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub(crate) format: Option<Format>,
    /// The interval of --format stats, of --stats-output, and of telling what was lost; else 60 s
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) stats_interval: Option<Duration>,
    /// Write to a file; the summary then goes to standard error
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Write lines as in rt-network-stats to this file, besides the records
    #[arg(long, value_name = "FILE")]
    pub(crate) stats_output: Option<PathBuf>,
    /// Begin a new file at this size, as 100M; FILE becomes FILE.1, and so on. Else 100M; 0 for never
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    pub(crate) rotate_size: Option<u64>,
    /// Keep so many old files; else 5
    #[arg(long, value_name = "N")]
    pub(crate) rotate_keep: Option<u32>,
    /// Tell only tasks that took at least so long, as 10ms; aggregates still count all
    #[arg(long, value_name = "TIME", value_parser = units::duration)]
    pub(crate) min_total: Option<Duration>,
    /// Serve http://ADDR/metrics for Prometheus, as 127.0.0.1:9811 or [::1]:9811
    #[arg(long, value_name = "ADDR")]
    pub(crate) prometheus: Option<String>,
    /// Settings in a file; what the command line says goes before. See /etc/tcprt.yaml
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// End after so long
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) seconds: Option<Duration>,
    /// Print the plan: which parts work on this kernel, and why others do not; and attach nothing
    #[arg(long)]
    pub(crate) explain: bool,
    /// Leave it attached and the log filling when this ends; `tcprt log` reads it, `tcprt stop` ends it
    #[arg(long)]
    pub(crate) keep: bool,
    /// The folder of --keep, in a BPF file system
    #[arg(long, value_name = "DIR", default_value = PINS)]
    pub(crate) pins: PathBuf,
    #[command(flatten)]
    pub(crate) loading: Loading,
}

/// What `tcprt top` takes.
#[derive(Debug, Group)]
pub(crate) struct Top {
    #[command(flatten)]
    pub(crate) filters: Filters,
    /// Draw every so many seconds
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "1")]
    pub(crate) interval: Duration,
    /// So many intervals are shown together
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=600))]
    pub(crate) window: u16,
    /// What stands first
    #[arg(long, value_enum, default_value_t)]
    pub(crate) sort: Sort,
    /// End after so long
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) seconds: Option<Duration>,
    #[command(flatten)]
    pub(crate) loading: Loading,
}

/// What stands first in `tcprt top`.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum Sort {
    /// Most tasks
    #[default]
    Rate,
    /// The largest p99 of the total
    Total,
    /// The largest p99 of the process time
    Process,
    /// Most segments sent again
    Retrans,
}

/// What `tcprt log` takes.
#[derive(Debug, Group)]
pub(crate) struct Log {
    /// Go on with what comes, until Ctrl-C
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// How records are told
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
    pub(crate) format: Format,
    /// Tell only tasks that took at least so long, as 10ms
    #[arg(long, value_name = "TIME", value_parser = units::duration)]
    pub(crate) min_total: Option<Duration>,
    /// The interval of --format stats
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "60")]
    pub(crate) stats_interval: Duration,
    /// The folder in a BPF file system
    #[arg(long, value_name = "DIR", default_value = PINS)]
    pub(crate) pins: PathBuf,
}

/// What `tcprt parse` takes.
#[derive(Debug, Group)]
pub(crate) struct Parse {
    /// The logs; - is standard input
    #[arg(required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Print records as JSON lines
    #[arg(long, group = "what")]
    pub(crate) json: bool,
    /// Print records as the vendor's lines
    #[arg(long, group = "what")]
    pub(crate) v6: bool,
    /// Print p50, p95, p99 and the largest of each port
    #[arg(long, group = "what")]
    pub(crate) percentiles: bool,
    /// Print lines as in rt-network-stats, for each interval of so many seconds by the records' own time
    #[arg(long, group = "what", value_name = "SECONDS", value_parser = seconds, num_args = 0..=1, default_missing_value = "60")]
    pub(crate) stats: Option<Duration>,
    /// Draw a picture
    #[arg(long, group = "what", value_enum, value_name = "PICTURE")]
    pub(crate) svg: Option<Picture>,
    /// The part that the heat map shows
    #[arg(long, value_enum, default_value_t)]
    pub(crate) part: Part,
    /// Take only these servers' ports, as 80,8000-8999
    #[arg(long, value_name = "PORTS", value_parser = ports::parse)]
    pub(crate) port: Vec<Vec<RangeInclusive<u16>>>,
    /// Take only tasks that took at least so long, as 10ms
    #[arg(long, value_name = "TIME", value_parser = units::duration)]
    pub(crate) min_total: Option<Duration>,
    /// Write to a file
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Exit with 2 if a line could not be read
    #[arg(long)]
    pub(crate) strict: bool,
}

/// What `tcprt parse` draws.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Picture {
    /// Time, latency, and how many tasks
    Heatmap,
    /// Of each connection, the parts of its tasks
    Timeline,
}

/// A part of a task.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum Part {
    /// All of it
    #[default]
    Total,
    /// The request's way
    Upload,
    /// The server's time
    Process,
    /// The response's way
    Download,
    /// The smallest round trip time
    Rtt,
}

impl From<Part> for tcprt::summary::Part {
    fn from(part: Part) -> tcprt::summary::Part {
        use tcprt::summary::Part as Shown;
        match part {
            Part::Total => Shown::Total,
            Part::Upload => Shown::Upload,
            Part::Process => Shown::Process,
            Part::Download => Shown::Download,
            Part::Rtt => Shown::Rtt,
        }
    }
}

impl From<Sort> for tcprt::top::Order {
    fn from(sort: Sort) -> tcprt::top::Order {
        use tcprt::top::Order;
        match sort {
            Sort::Rate => Order::Rate,
            Sort::Total => Order::Total,
            Sort::Process => Order::Process,
            Sort::Retrans => Order::Retransmissions,
        }
    }
}

impl From<Mode> for tcprt::Mode {
    fn from(mode: Mode) -> tcprt::Mode {
        match mode {
            Mode::Default => tcprt::Mode::Default,
            Mode::Http => tcprt::Mode::Http,
            Mode::Https => tcprt::Mode::Https,
        }
    }
}

/// Seconds, with a unit or without: `60`, `0.5`, `500ms`.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let is_number = text.starts_with(|c: char| c.is_ascii_digit()) && text.ends_with(|c: char| c.is_ascii_digit());
    let with_unit = if is_number { format!("{text}s") } else { text.to_owned() };
    units::duration(&with_unit).map_err(|error| error.replace(&format!("{with_unit:?}"), &format!("{text:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn seconds_need_no_unit() {
        let told = ["60", "0.5", "500ms", "2m"].map(|text| seconds(text).unwrap().as_millis());
        assert_eq!(told, [60_000, 500, 500, 120_000]);
        assert!(seconds("soon").is_err() && seconds("").is_err());
    }
}
