//! Response times of TCP servers and clients, for each task (a request and its response) on each connection.
//!
//! The BPF object, `tcprt.bpf.c`, sends an event for each task and each end of a connection. Here is what such an event is:
//!
//! ```text
//! kernel: hooks ─> connections ─> events (ring or perf buffer) ─> bytes ─> Event::parse ─> Event ─> Event::line
//! ```
//!
//! ```
//! # fn print(bytes: &[u8]) -> Result<(), tcprt::ParseError> {
//! // wall clock minus boot clock, in nanoseconds
//! let boot = 1_700_000_000_000_000_000;
//! println!("{}", tcprt::Event::parse(bytes)?.line(boot));
//! # Ok(())
//! # }
//! # assert!(print(&[]).is_err());
//! ```
#![forbid(unsafe_code)]

mod config;
mod event;
#[cfg(test)]
mod layout;

pub use config::{Config, ConfigError, Mode, RANGES};
pub use event::{Event, Kind, Line, ParseError, Protocol, Text};
