//! Where a ping's time goes: the events of `pingtrace.bpf.c`, and the delays between a ping's points.
//!
//! ```text
//! sender    0 user > 1 queued for the device > 2 given to the driver
//! answerer                    9 taken from the device > 3 ICMP has it > 4 reply given to the driver
//! sender                          10 softirq raised > 5 reply taken from the device > 6 socket has it > 7 woken > 8 user
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

pub use delay::{Delays, UserTimes};
pub use event::{Config, Error, Event, Kind, Packet, Role};
