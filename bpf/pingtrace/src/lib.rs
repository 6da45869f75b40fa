//! Where a ping's time goes: the packet of pingtrace, the events of `pingtrace.bpf.c`, and what the agent tells of both.
//!
//! ```text
//! sender    0 user > 1 queued for the device > 2 given to the driver
//! answerer                    9 taken from the device > 3 ICMP has it > 4 reply given to the driver
//! sender                          10 softirq raised > 5 reply taken from the device > 6 socket has it > 7 woken > 8 user
//! ```
//!
//! ```text
//! Event (this host's kernel) ─┐
//! Packet (the other host)  ───┼─▶ Sample ─▶ Summary ─▶ picture, table, json
//! the program's own clock  ───┘
//! ```
//!
//! ```
//! use pingtrace::{Event, UserTimes};
//!
//! fn tell(bytes: &[u8]) -> Result<(), pingtrace::Error> {
//!     let event = Event::parse(bytes)?;
//!     let delays = event.delays(UserTimes::default());
//!     println!("{} {}: {:?} ns in the qdisc", event.peer(), event.sequence, delays.l_tx_qdisc);
//!     Ok(())
//! }
//! # assert!(tell(&[]).is_err());
//! ```

#![forbid(unsafe_code)]

mod delay;
mod event;
pub mod histogram;
pub mod jitter;
pub mod json;
pub mod judge;
pub mod picture;
mod point;
pub mod rotate;
mod sample;
pub mod summary;
pub mod table;
pub mod wire;

pub use delay::{Delays, UserTimes};
pub use event::{Config, Error, Event, Key, Kind, Packet, Role};
pub use point::{DELAYS, Delay, Point};
pub use sample::{Hop, Sample, Suspended, entry_time};
