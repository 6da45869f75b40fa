//! Response times of TCP servers and clients, for each task (a request and its response) on each connection.
//!
//! The BPF object, `tcprt.bpf.c`, sends an event for each task and each end of a connection. Here is what such
//! an event is, and what people and programs are told of it:
//!
//! ```text
//! kernel: hooks ─> connections ─> events (a log) ─> bytes ─> Event::parse ─> Event ─┐
//! a log's lines: v6::parse, json::parse ─> Record <── Record::of, with the time of day ┘
//! Record ─> v6::Line, json::line, text::Table         a line for each
//!        ─> summary, stats, prometheus, top           what came of many
//!        ─> svg                                       pictures
//! ```
//!
//! ```
//! # fn print(bytes: &[u8]) -> Result<(), tcprt::ParseError> {
//! // wall clock minus monotonic clock, in nanoseconds
//! let epoch = 1_700_000_000_000_000_000;
//! let record = tcprt::Record::of(&tcprt::Event::parse(bytes)?, epoch);
//! println!("{}", tcprt::v6::Line(&record));
//! # Ok(())
//! # }
//! # assert!(print(&[]).is_err());
//! ```
#![forbid(unsafe_code)]

mod config;
pub mod containers;
mod event;
#[cfg(test)]
mod golden;
pub mod histogram;
pub mod http;
pub mod json;
#[cfg(all(test, feature = "agent"))]
mod layout;
pub mod log;
pub mod ports;
pub mod prometheus;
pub mod record;
pub mod stats;
pub mod summary;
pub mod svg;
pub mod text;
pub mod top;
pub mod units;
pub mod v6;
mod write;

pub use config::{Config, ConfigError, Mode, RANGES};
pub use event::{Event, Kind, ParseError, Protocol, Text};
pub use record::Record;

/// The BPF object, as the build script compiled `tcprt.bpf.c`.
#[cfg(feature = "agent")]
pub const OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/tcprt.o"));
