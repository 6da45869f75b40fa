//! `pingtrace` alone: the pings of everyone on this machine.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use pingtrace::picture::Hosts;
use pingtrace::summary::Summary;
use pingtrace::{Config, Event, Kind, Packet, Sample, Suspended};

use crate::args::{Args, Output};
use crate::kernel::Kernel;
use crate::output::Teller;
use crate::stop::Stop;

/// How long a signal may go unseen.
const TICK: u64 = 100_000_000;

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let stop = Stop::new(args)?;
    let threshold = args.maxdelay.saturating_mul(1000);
    let kernel = Kernel::load(args, &Config { threshold_ns: threshold, udp: 1, ..Config::default() })?;
    let mut teller = Teller::new(args, Output::Table)?;
    let mut summary = Summary::new(threshold);
    summary.one_clock = true;
    teller.begin("pingtrace: watching everyone's pings on this machine; -c HOST pings itself, --help tells more")?;
    for (point, why) in &kernel.missing {
        teller.begin(&format!("  ({}) {} is not seen: {why}", *point as u16, point.name()))?;
    }
    let mut left = args.count.unwrap_or(u64::MAX);
    while left > 0 && !stop.is_due() && !teller.closed {
        let events = kernel.wait(Duration::from_nanos(stop.left(TICK)))?;
        let suspended = kernel.suspended();
        for event in events {
            if left == 0 {
                break;
            }
            tell(&event, suspended, &mut summary, &mut teller, &kernel)?;
            left -= 1;
        }
    }
    summary.counters.lost_event_num = kernel.lost();
    teller.end(&summary, "pings on this machine")?;
    Ok(ExitCode::SUCCESS)
}

fn tell(
    event: &Event,
    suspended: Suspended,
    summary: &mut Summary,
    teller: &mut Teller,
    kernel: &Kernel,
) -> Result<()> {
    let mut sample = Sample { seq: event.sequence.into(), one_clock: true, ..Sample::default() };
    sample.add_event(event, suspended);
    let (local, peer, device) = (event.local(), event.peer(), event.device_name());
    match event.kind {
        Kind::RoundTrip => {
            summary.counters.send_num += 1;
            summary.counters.reply_num += 1;
            let whose = format!("{local} > {peer} {device}, {} {}", event.thread_name(), event.pid);
            let hosts = Hosts {
                local: local.to_string(),
                remote: peer.to_string(),
                protocol: format!("icmp, of {} {}", event.thread_name(), event.pid),
                missing: kernel.missing.clone(),
            };
            summary.add(&sample);
            teller.probe(&sample, summary, &hosts, &whose)
        }
        Kind::Answered => {
            let whose = format!("{peer} > {local} {device}, answered here");
            let hosts = Hosts {
                local: peer.to_string(),
                remote: local.to_string(),
                protocol: "icmp, answered here".to_owned(),
                missing: kernel.missing.clone(),
            };
            summary.add(&sample);
            teller.probe(&sample, summary, &hosts, &whose)
        }
        Kind::Passed => Ok(()),
        Kind::Dropped => {
            summary.counters.lost_num += 1;
            let what = if event.dropped_packet == Packet::Reply { "reply" } else { "request" };
            let (seq, reason) = (event.sequence, event.drop_reason);
            teller.note(&format!("{seq:>7} {local}, {peer}: the {what} is dropped here, reason {reason} of the kernel"))
        }
    }
}
