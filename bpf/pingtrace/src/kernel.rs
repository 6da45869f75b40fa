//! The kernel's part: the object is loaded as far as the kernel allows, and its events are taken from it.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, anyhow};
use btf::object_file::ObjectFile;
use btf::{Kind, Type};
use libbpf_rs::{MapCore, MapFlags};
use loader::choose::{self, Places, Types};
use loader::stream::Listener;
use pingtrace::{Config, Event, Key, Point, Suspended};
use plan::{Plan, Status};
use rustix::time::{ClockId, clock_gettime};

use crate::args::Args;

const OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/pingtrace.o"));
const NAME: &str = "pingtrace.o";

/// Events that are kept until they are taken.
const MOST_EVENTS: usize = 1 << 14;

/// Which group of programs sees a point.
const GROUPS: [(Point, &str); 4] = [
    (Point::RRxIcmprcv, "icmp_receive"),
    (Point::LRxSoftirq, "softirq"),
    (Point::LRxSkdataready, "data_ready"),
    (Point::LRxWakeup, "wakeup"),
];

#[derive(Default)]
struct Heard {
    events: VecDeque<Event>,
    /// Not read, or not taken in time.
    lost: u64,
}

/// What was loaded, until it is dropped: then nothing is attached any more.
pub(crate) struct Kernel {
    // goes before what it listens to
    listener: Listener<'static>,
    heard: Arc<Mutex<Heard>>,
    has_boot_clock: bool,
    /// Points that are not seen, and why not.
    pub(crate) missing: Vec<(Point, String)>,
    session: loader::Session,
}

/// Nanoseconds of a clock.
pub(crate) fn clock(id: ClockId) -> u64 {
    let time = clock_gettime(id);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Nanoseconds of the monotonic clock.
pub(crate) fn now() -> u64 {
    clock(ClockId::Monotonic)
}

/// Whether events have the boot clock's times: where the kernel has that helper (5.8).
fn has_boot_clock(types: Option<&Types>) -> bool {
    let Some(types) = types else { return false };
    types.btf.find("bpf_func_id", Kind::Enum).any(|id| match types.btf.ty(id) {
        Ok(Type::Enum(names)) => {
            names.values().any(|value| value.is_ok_and(|value| value.name == "BPF_FUNC_ktime_get_boot_ns"))
        }
        _ => false,
    })
}

/// Why a group of programs does not see what it should.
fn reason(plan: &Plan, group: &str) -> Option<String> {
    let of_group: Vec<_> = plan.programs.iter().filter(|program| program.group.as_deref() == Some(group)).collect();
    if of_group.iter().any(|program| program.enabled) {
        return None;
    }
    let unmet = of_group.iter().rev().flat_map(|program| {
        let needs = program.requirements.iter().filter(|requirement| requirement.status == Status::Unmet);
        needs.map(|requirement| format!("{} {}: {}", program.section, requirement.need, requirement.evidence))
    });
    Some(unmet.map(|why| why.trim_end_matches(": ").to_owned()).next().unwrap_or_else(|| "no hook for it".to_owned()))
}

/// The program that sees what sockets of TCP send, of no use to others.
const TCP_SENT: &str = "tcp_sent";

/// Points that are not seen, and why not. A server's own raw socket tells when ICMP has a request, where sockets can be seen.
fn missing(plan: &Plan, is_server: bool) -> Vec<(Point, String)> {
    let sees_sockets =
        plan.groups.iter().any(|group| group.name == "data_ready" && group.taken.is_some_and(|rank| rank < 4));
    let is_seen = |point: &Point| *point == Point::RRxIcmprcv && is_server && sees_sockets;
    let missing = GROUPS.iter().filter_map(|(point, group)| Some((*point, reason(plan, group)?)));
    missing.filter(|(point, _)| !is_seen(point)).collect()
}

fn places(args: &Args) -> Places {
    let explicit = args.btf_path.clone().or_else(choose::from_environment);
    Places { explicit, root: "/".into(), ..Places::default() }
}

/// What would be loaded, in words.
pub(crate) fn explain(args: &Args) -> Result<(String, bool)> {
    let object = ObjectFile::parse(NAME, OBJECT).map_err(|why| anyhow!("{why}"))?;
    let facts = loader::probe_for(Path::new("/"), &object);
    let chosen = choose::choose(&object, &facts, &places(args))?;
    let plan = loader::plan(&object, &facts, chosen.btf.as_ref(), &plan::Hints::default());
    let mut text = plan::text::lines(&plan, args.debug);
    for (point, why) in missing(&plan, args.server) {
        text.push_str(&format!("  point {} {} is not seen: {why}\n", point as u16, point.name()));
    }
    Ok((text, plan.outcome != plan::Outcome::Fails))
}

impl Kernel {
    /// Loads and attaches.
    ///
    /// # Errors
    /// The kernel refuses all, or what the object cannot do without.
    pub(crate) fn load(args: &Args, config: &Config) -> Result<Kernel> {
        let object = ObjectFile::parse(NAME, OBJECT).map_err(|why| anyhow!("{why}"))?;
        // kept, for it is asked for again until all is loaded
        let own = loader::own_types();
        let facts = loader::probe_for(Path::new("/"), &object);
        let chosen = choose::choose(&object, &facts, &places(args))?;
        let mut options = loader::Options::default();
        options.config = config.to_bytes();
        if config.tcp_port == 0 {
            // loaded, and nowhere attached
            options.by_caller.push(TCP_SENT.to_owned());
        }
        if args.debug {
            for step in &chosen.steps {
                eprintln!("pingtrace: BTF: {step}");
            }
            options.log = Some(Arc::new(|line| eprintln!("pingtrace: {line}")));
        }
        let session = loader::load(NAME, OBJECT, &facts, chosen.btf.as_ref(), &options)?;
        if session.plan.outcome == plan::Outcome::Fails {
            let text = plan::text::lines(&session.plan, false);
            return Err(anyhow!("what the points need is not there\n{}", text.trim_end()));
        }
        let heard = Arc::new(Mutex::new(Heard::default()));
        let by_listener = Arc::clone(&heard);
        let listener = session.listen(move |event| {
            let mut heard = by_listener.lock().unwrap_or_else(PoisonError::into_inner);
            match Event::parse(event.bytes) {
                Ok(event) => heard.events.push_back(event),
                Err(_) => heard.lost += 1,
            }
            if heard.events.len() > MOST_EVENTS {
                heard.events.pop_front();
                heard.lost += 1;
            }
        });
        let listener = listener.context("listening to events")?;
        let has_boot_clock = has_boot_clock(chosen.btf.as_ref());
        drop((own, chosen));
        loader::give_memory_back();
        let missing = missing(&session.plan, args.server);
        Ok(Kernel { listener, heard, has_boot_clock, missing, session })
    }

    /// Loads and attaches; where that does not work, says why on standard error.
    pub(crate) fn load_or_say(args: &Args, config: &Config) -> Option<Kernel> {
        match Kernel::load(args, config) {
            Ok(kernel) => Some(kernel),
            Err(error) => {
                // a refusal has its cause in its words
                eprintln!("pingtrace: without the kernel's points: {error}");
                None
            }
        }
    }

    /// The events that came since it was asked last.
    pub(crate) fn take(&self) -> Result<Vec<Event>> {
        self.listener.consume().context("reading events")?;
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(heard.events.drain(..).collect())
    }

    /// The same, but waits for one at most so long.
    pub(crate) fn wait(&self, timeout: std::time::Duration) -> Result<Vec<Event>> {
        self.listener.poll(timeout).context("reading events")?;
        self.take()
    }

    /// What is known so far of a probe that has not ended in the kernel, which then forgets it.
    pub(crate) fn unfinished(&self, key: &Key) -> Option<Event> {
        let pings = self.session.maps.get("pings")?;
        let key = key.to_bytes();
        let value = pings.lookup(&key, MapFlags::ANY).ok()??;
        // it may have gone by itself
        let _ = pings.delete(&key);
        Event::parse(&value).ok()
    }

    /// Events that were lost so far.
    pub(crate) fn lost(&self) -> u64 {
        let by_kernel = self.listener.lost().map_or(0, |lost| lost.values().sum());
        by_kernel + self.heard.lock().unwrap_or_else(PoisonError::into_inner).lost
    }

    /// What the clock of events is ahead of the monotonic one, now.
    pub(crate) fn suspended(&self) -> Suspended {
        if !self.has_boot_clock {
            return Suspended(0);
        }
        Suspended(suspended())
    }
}

/// Time spent suspended. The one clock is read between two readings of the other: of some, by those that were the nearest, as the
/// processor may be taken away meanwhile. A boot clock that is not ahead of the later one has never been.
fn suspended() -> u64 {
    let readings = (0..5).map(|_| (now(), clock(ClockId::Boottime), now()));
    let nearest = readings.min_by_key(|(before, _, after)| after - before);
    nearest.map_or(0, |(_, boot, after)| boot.saturating_sub(after))
}
