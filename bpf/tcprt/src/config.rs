//! `struct tcprt_config` of `bpf/tcprt/tcprt.h`.

use std::ops::RangeInclusive;

/// Ranges of ports that there is room for, of each kind.
pub const RANGES: usize = 8;

/// Which connections are measured: those whose local port is in a range of `local` (servers), and those whose peer's port is
/// in a range of `peer` (clients). All where both are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Ports of servers on this machine.
    pub local: Vec<RangeInclusive<u16>>,
    /// Ports of servers that this machine's clients talk to.
    pub peer: Vec<RangeInclusive<u16>>,
    /// Only sockets of this control group and those below it, by its id, the inode number of its folder. All where it is 0.
    pub cgroup: u64,
    /// Only connections that this process reads from. All where it is 0.
    pub pid: u32,
    /// Only those of this network namespace, by its inode number. All where it is 0.
    pub netns: u32,
    /// What is a task.
    pub mode: Mode,
}

/// What is a task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Whatever is sent and answered.
    #[default]
    Default,
    /// What begins with a request of HTTP/1.
    Http,
    /// Application data of TLS.
    Https,
}

/// Why a configuration cannot be given to the object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// There is no room for so many ranges.
    #[error("{found} ranges of {side} ports, at most {RANGES}")]
    TooMany {
        /// `local` or `peer`.
        side: &'static str,
        /// How many there are.
        found: usize,
    },
    /// A range without a port, which would silently measure nothing.
    #[error("{first} to {last} is no range of {side} ports")]
    Empty {
        /// `local` or `peer`.
        side: &'static str,
        /// Its first port.
        first: u16,
        /// Its last port.
        last: u16,
    },
}

/// The programs that look at no payload, and those that do.
pub(crate) const WITHOUT_PAYLOAD: &[&str] = &[
    "receive_fentry",
    "send_fentry",
    "ack_fentry",
    "state_btf",
    "read_btf",
    "destroyed_btf",
    "receive_kprobe",
    "send_kprobe",
    "ack_kprobe",
    "state_raw",
    "read_raw",
    "receive_old",
    "send_old",
    "ack_old",
    "state_old",
    "packet_in",
    "packet_out",
    "socket_event",
    "read_packet",
    "destroyed",
];
/// See [`WITHOUT_PAYLOAD`].
pub(crate) const WITH_PAYLOAD: &[&str] =
    &["payload_in", "payload_out", "payload_event", "payload_read", "payload_destroyed"];

impl Mode {
    /// The programs that are not to be enabled: for the loader's `Hints::unwanted`, beside the configuration.
    pub fn unwanted(self) -> impl Iterator<Item = String> {
        let unwanted = if self == Mode::Default { WITH_PAYLOAD } else { WITHOUT_PAYLOAD };
        unwanted.iter().map(|&name| name.to_owned())
    }
}

impl Config {
    /// Bytes of `struct tcprt_config`.
    pub const SIZE: usize = 8 + 2 * RANGES * 4 + 24;

    /// The struct's bytes, in this machine's byte order, as the loader takes them.
    ///
    /// # Errors
    /// Too many ranges, or an empty one.
    pub fn bytes(&self) -> Result<[u8; Config::SIZE], ConfigError> {
        let mut bytes = [0; Config::SIZE];
        for (number, (side, ranges)) in [("local", &self.local), ("peer", &self.peer)].into_iter().enumerate() {
            if ranges.len() > RANGES {
                return Err(ConfigError::TooMany { side, found: ranges.len() });
            }
            bytes[number * 4..][..4].copy_from_slice(&(ranges.len() as u32).to_ne_bytes());
            for (at, range) in ranges.iter().enumerate() {
                let (first, last) = (*range.start(), *range.end());
                if first > last {
                    return Err(ConfigError::Empty { side, first, last });
                }
                let at = 8 + (number * RANGES + at) * 4;
                bytes[at..][..2].copy_from_slice(&first.to_ne_bytes());
                bytes[at + 2..][..2].copy_from_slice(&last.to_ne_bytes());
            }
        }
        let rest = 8 + 2 * RANGES * 4;
        bytes[rest..][..8].copy_from_slice(&self.cgroup.to_ne_bytes());
        for (at, word) in [self.pid, self.netns, self.mode as u32].into_iter().enumerate() {
            bytes[rest + 8 + at * 4..][..4].copy_from_slice(&word.to_ne_bytes());
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_come_first_then_both_kinds_of_ranges() {
        let config = Config { local: vec![80..=80, 8000..=8999], peer: vec![3306..=3306], ..Config::default() };
        let bytes = config.bytes().unwrap();
        let u16 = |at: usize| u16::from_ne_bytes([bytes[at], bytes[at + 1]]);
        assert_eq!((bytes[..4].to_vec(), bytes[4..8].to_vec()), (2u32.to_ne_bytes().into(), 1u32.to_ne_bytes().into()));
        assert_eq!([u16(8), u16(10), u16(12), u16(14), u16(16)], [80, 80, 8000, 8999, 0]);
        assert_eq!([u16(40), u16(42), u16(44)], [3306, 3306, 0]);
        assert_eq!(Config::default().bytes().unwrap(), [0; Config::SIZE]);
    }

    #[test]
    #[allow(clippy::reversed_empty_ranges, reason = "that is what is refused")]
    fn what_would_measure_something_else_is_refused() {
        let many = Config { local: vec![80..=80; 9], ..Config::default() };
        assert_eq!(many.bytes().unwrap_err().to_string(), "9 ranges of local ports, at most 8");
        let empty = Config { peer: vec![81..=80], ..Config::default() };
        assert_eq!(empty.bytes().unwrap_err().to_string(), "81 to 80 is no range of peer ports");
    }
}
