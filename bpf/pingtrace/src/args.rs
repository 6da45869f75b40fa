//! The command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use pingtrace::judge::Protocol;
use pingtrace::wire;

/// Where a ping's time goes: in which stage, of which host.
///
/// Without -c and -s it watches the pings of everyone on this machine, sends nothing, and tells for each where its time went on
/// this machine: run `ping` beside it. With -c it pings itself; where `pingtrace -s` runs on the other host, the stages of that host
/// are told too.
///
/// Ctrl-C ends it and prints the summary: counters, each stage's least, mean, 99th percentile and greatest, and for each outlier
/// the stage to blame.
///
/// Exit status: 0 done, 1 no probe was answered, 2 an error.
#[derive(Clone, Debug, Parser)]
#[command(name = "pingtrace", version, max_term_width = 100, args_override_self = true, after_help = AFTER)]
pub(crate) struct Args {
    /// Ping this host
    #[arg(short, long, value_name = "HOST", conflicts_with = "server")]
    pub(crate) client: Option<String>,
    /// Answer: tell clients this host's times, and answer UDP and TCP probes
    #[arg(short, long)]
    pub(crate) server: bool,
    /// End after so many probes (watching: pings)
    #[arg(short = 'C', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    /// Microseconds from one probe to the next
    #[arg(short, long, value_name = "US", default_value_t = 1_000_000)]
    pub(crate) interval: u64,
    /// End after so many seconds
    #[arg(short, long, value_name = "S")]
    pub(crate) time: Option<u64>,
    /// Tell only probes that took so many microseconds or more
    #[arg(short, long = "maxdelay", value_name = "US", default_value_t = 0)]
    pub(crate) maxdelay: u64,
    /// Bytes of a probe: of the IPv4 packet of an ICMP probe; 44 and 16 for each entry
    #[arg(short, long, value_name = "BYTES", default_value_t = 556, value_parser = clap::value_parser!(u16).range(144..=1484))]
    pub(crate) bytes: u16,
    /// How probes travel
    #[arg(long, value_enum, default_value = "icmp")]
    pub(crate) proto: Proto,
    /// Port of UDP and TCP probes
    #[arg(long, value_name = "PORT", default_value_t = wire::PORT)]
    pub(crate) port: u16,
    /// Wait for the other host's times (compact), or only for the reply (pingpong)
    #[arg(long, value_enum, default_value = "auto")]
    pub(crate) mode: Mode,
    /// How probes are told; the default is image with -c, else table
    #[arg(short, long, value_enum)]
    pub(crate) output: Option<Output>,
    /// The file of -o log and imagelog
    #[arg(long, value_name = "FILE", default_value = "./pingtrace.log")]
    pub(crate) log: PathBuf,
    /// Bytes at which the log becomes FILE.1
    #[arg(long, value_name = "BYTES", default_value_t = 2 << 20)]
    pub(crate) logsize: u64,
    /// Older logs that are kept
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub(crate) logbackup: u32,
    /// Tell also where probes pass through other network namespaces of this host, as on the way out of a container
    #[arg(short, long)]
    pub(crate) namespace: bool,
    /// Client and server are on one host: they have one clock, and passes are told once
    #[arg(long)]
    pub(crate) nslocal: bool,
    /// A number that tells this host's passes from those of others
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) userid: u16,
    /// Ping or answer from inside of a network namespace: a name of `ip netns`, a process, or a file
    #[arg(long, value_name = "NAME|PID|FILE")]
    pub(crate) netns: Option<String>,
    /// Print a histogram of the total and of each stage at the end
    #[arg(long)]
    pub(crate) histogram: bool,
    /// Print what the kernel allows to see, and why not the rest; trace nothing
    #[arg(long)]
    pub(crate) explain: bool,
    /// The kernel's types (BTF), where it has none itself; also LCC_BTF
    #[arg(long, visible_alias = "btf_path", value_name = "FILE")]
    pub(crate) btf_path: Option<PathBuf>,
    /// Say on standard error how loading goes
    #[arg(long)]
    pub(crate) debug: bool,
    /// Print the man page
    #[arg(long, hide = true)]
    pub(crate) man: bool,
    /// Print completions for a shell
    #[arg(long, hide = true, value_name = "SHELL")]
    pub(crate) completions: Option<clap_complete::Shell>,
}

const AFTER: &str = "\
Capabilities:
  CAP_NET_RAW            ICMP probes, and answering them
  CAP_BPF, CAP_PERFMON   the kernel's points (CAP_SYS_ADMIN before Linux 5.8)
  CAP_NET_ADMIN          those of TCP probes
  CAP_SYS_ADMIN          --netns
Without those for the kernel's points round trips alone are told. Nothing stays attached when it
ends.

Examples:
  pingtrace                               watch everyone's pings
  pingtrace -s                            on the other host
  pingtrace -c 10.0.0.2 -C 100 -i 100000  a hundred probes, one each 100 ms
  pingtrace -c 10.0.0.2 -m 1000 -o log    what takes 1 ms or more, as JSON to ./pingtrace.log
  pingtrace -c 10.0.0.2 --proto tcp       through TCP, up to the server's process";

/// `--proto`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Proto {
    /// ICMP or ICMPv6 echoes, which the other host's kernel answers
    Icmp,
    /// UDP datagrams to a `pingtrace -s`
    Udp,
    /// Messages on one TCP connection to a `pingtrace -s`
    Tcp,
}

impl From<Proto> for Protocol {
    fn from(proto: Proto) -> Protocol {
        match proto {
            Proto::Icmp => Protocol::Icmp,
            Proto::Udp => Protocol::Udp,
            Proto::Tcp => Protocol::Tcp,
        }
    }
}

/// `--mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// Compact; pingpong once more than three second replies in a row did not come
    Auto,
    /// The reply only
    Pingpong,
    /// Both replies
    Compact,
}

/// `--output`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// The picture of both hosts
    Image,
    /// A line for each probe
    Table,
    /// JSON lines
    Json,
    /// JSON lines into the log
    Log,
    /// Pictures into the log
    Imagelog,
}

impl Args {
    /// Entries that a probe has room for: at least those that are reserved.
    pub(crate) fn room(&self) -> u8 {
        let entries = usize::from(self.bytes).saturating_sub(44) / wire::UNIT;
        u8::try_from(entries).unwrap_or(u8::MAX).clamp(wire::RESERVED, wire::MOST_ENTRIES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[track_caller]
    fn check(args: &[&str], room: u8) {
        let args = Args::try_parse_from([&["pingtrace"], args].concat()).expect("arguments");
        assert_eq!(args.room(), room);
    }

    #[test]
    fn bytes_are_those_that_its_users_know() {
        check(&[], 32);
        check(&["-b", "144"], 8);
        check(&["-b", "1484"], 90);
    }
}
