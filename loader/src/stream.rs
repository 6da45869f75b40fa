//! Events from the kernel, whatever it sends them by: a ring buffer, a perf buffer for each processor, or a log.
//!
//! A stream is a map with the tag `lcc:stream:STRUCT` (`LCC_STREAM` of `bpf/lcc.bpf.h`), or the slots of a [log](crate::log)
//! (`LCC_LOG`), which wakes nobody and is looked at every [`LOOK`]. What did not get into a ring buffer the program counts, what did
//! not get into a perf buffer the kernel, what was overwritten in a log its reader: [`Listener::lost`] has the sum.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use libbpf_rs::{MapCore, MapFlags, MapHandle, MapType, PerfBuffer, PerfBufferBuilder, RingBuffer, RingBufferBuilder};

use crate::log::{self, Log};
use crate::raw;

/// A stream of an object that was loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// The map's name.
    pub name: String,
    /// The struct that it carries, in the object's types.
    pub event: String,
    /// The map that counts what was lost.
    pub(crate) lost: Option<String>,
    /// Bytes that the object asks for.
    pub(crate) bytes: u32,
}

/// An event.
#[derive(Clone, Copy, Debug)]
pub struct Event<'e> {
    /// Name of the stream.
    pub stream: &'e str,
    /// The struct; from a perf buffer, up to seven bytes more.
    pub bytes: &'e [u8],
}

/// How often logs are looked at, while somebody [polls](Listener::poll); more often where there was much to read.
pub const LOOK: Duration = Duration::from_millis(50);

/// How often, where the last look found a quarter of what a processor's ring has room for.
const HURRY: Duration = Duration::from_millis(5);

/// The logs among the streams.
struct Logs {
    all: Vec<(String, Log)>,
    looked: Option<Instant>,
    interval: Duration,
}

impl Logs {
    /// When it is time to look again.
    fn due(&self) -> Instant {
        self.looked.map_or_else(Instant::now, |looked| looked + self.interval)
    }
}

type Handler<'h> = Arc<Mutex<dyn FnMut(Event<'_>) + Send + 'h>>;

/// Who hears events. Buffers are there from its making to its end.
pub struct Listener<'h> {
    ring: Option<RingBuffer<'h>>,
    perf: Vec<PerfBuffer<'h>>,
    /// By stream: what perf buffers lost, and the map that counts what ring buffers lost.
    lost: BTreeMap<String, (Arc<AtomicU64>, Option<MapHandle>)>,
    logs: Mutex<Logs>,
    handler: Handler<'h>,
    heard: Arc<AtomicU64>,
}

impl<'h> Listener<'h> {
    pub(crate) fn new(
        streams: &[Stream],
        maps: &BTreeMap<String, MapHandle>,
        from_now: bool,
        handler: impl FnMut(Event<'_>) + Send + 'h,
    ) -> libbpf_rs::Result<Listener<'h>> {
        let handler: Handler<'h> = Arc::new(Mutex::new(handler));
        let heard = Arc::new(AtomicU64::new(0));
        let hear = |stream: &Stream| {
            let (name, handler, heard) = (stream.name.clone(), Arc::clone(&handler), Arc::clone(&heard));
            move |bytes: &[u8]| {
                heard.fetch_add(1, Ordering::Relaxed);
                lock(&handler)(Event { stream: &name, bytes });
            }
        };
        let (mut rings, mut any_ring, mut perf, mut lost) =
            (RingBufferBuilder::new(), false, Vec::new(), BTreeMap::new());
        let mut logs = Vec::new();
        for stream in streams {
            let Some(map) = maps.get(&stream.name) else { continue };
            if let Some(heads) = maps.get(&log::heads(&stream.name)) {
                let mut log = Log::from_first(map, heads)?;
                if from_now {
                    log.to_newest()?;
                }
                logs.push((stream.name.clone(), log));
                continue;
            }
            let count = Arc::new(AtomicU64::new(0));
            let counter = stream.lost.as_ref().and_then(|name| maps.get(name)).map(MapHandle::try_from).transpose()?;
            lost.insert(stream.name.clone(), (Arc::clone(&count), counter));
            if map.map_type() == MapType::RingBuf {
                let hear = hear(stream);
                rings.add(map, move |bytes| {
                    hear(bytes);
                    0
                })?;
                any_ring = true;
            } else {
                let hear = hear(stream);
                let builder = PerfBufferBuilder::new(map)
                    .pages(pages(stream.bytes))
                    .sample_cb(move |_, bytes: &[u8]| hear(bytes))
                    .lost_cb(move |_, number| {
                        count.fetch_add(number, Ordering::Relaxed);
                    });
                perf.push(builder.build()?);
            }
        }
        let ring = any_ring.then(|| rings.build()).transpose()?;
        Ok(Listener {
            ring,
            perf,
            lost,
            logs: Mutex::new(Logs { all: logs, looked: None, interval: LOOK }),
            handler,
            heard,
        })
    }

    /// Waits until there are events, hands all that are there to the handler, and gives how many they were: none where the
    /// time is over, or a signal came.
    ///
    /// # Errors
    /// The buffers cannot be read.
    pub fn poll(&self, timeout: Duration) -> io::Result<u64> {
        let descriptors = self.ring.iter().map(RingBuffer::epoll_fd).chain(self.perf.iter().map(PerfBuffer::epoll_fd));
        let descriptors: Vec<_> = descriptors.collect();
        if lock(&self.logs).all.is_empty() {
            return if raw::wait(&descriptors, timeout)? { self.consume() } else { Ok(0) };
        }
        let end = Instant::now().checked_add(timeout);
        loop {
            let due = lock(&self.logs).due();
            let until = end.map_or(due, |end| end.min(due));
            let wait = until.saturating_duration_since(Instant::now());
            let is_ready = !wait.is_zero() && raw::wait(&descriptors, wait)?;
            let heard = if is_ready || Instant::now() >= due { self.consume()? } else { 0 };
            // before its time: a signal, and whoever polls may want to end
            if heard > 0 || Instant::now() < until || end.is_some_and(|end| Instant::now() >= end) {
                return Ok(heard);
            }
        }
    }

    /// Hands all that is there to the handler, without waiting for more.
    ///
    /// # Errors
    /// The buffers cannot be read.
    pub fn consume(&self) -> io::Result<u64> {
        let before = self.heard.load(Ordering::Relaxed);
        if let Some(ring) = &self.ring {
            ring.consume().map_err(io::Error::other)?;
        }
        for perf in &self.perf {
            perf.consume().map_err(io::Error::other)?;
        }
        let mut logs = lock(&self.logs);
        let Logs { all, looked, interval } = &mut *logs;
        (*looked, *interval) = (Some(Instant::now()), LOOK);
        for (name, log) in all {
            let mut handler = lock(&self.handler);
            let heard = log.read(|bytes| handler(Event { stream: name, bytes }))?;
            self.heard.fetch_add(heard, Ordering::Relaxed);
            if heard > log.slots() / 4 {
                *interval = HURRY;
            }
        }
        drop(logs);
        Ok(self.heard.load(Ordering::Relaxed) - before)
    }

    /// How many events of each stream were lost so far: sent, and not heard because the buffers were full.
    ///
    /// # Errors
    /// A counter cannot be read.
    pub fn lost(&self) -> io::Result<BTreeMap<String, u64>> {
        let mut all = BTreeMap::new();
        for (stream, (perf, counter)) in &self.lost {
            let counted = counter.as_ref().map(sum).transpose()?.unwrap_or(0);
            all.insert(stream.clone(), perf.load(Ordering::Relaxed) + counted);
        }
        for (stream, log) in &lock(&self.logs).all {
            all.insert(stream.clone(), log.lost());
        }
        Ok(all)
    }
}

/// What a handler that panicked held can be taken again.
fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Of a per-CPU counter.
fn sum(counter: &MapHandle) -> io::Result<u64> {
    let values = counter.lookup_percpu(&0u32.to_ne_bytes(), MapFlags::ANY).map_err(io::Error::other)?;
    let number =
        |value: &Vec<u8>| value.get(..8).map_or(0, |value| u64::from_ne_bytes(value.try_into().unwrap_or([0; 8])));
    Ok(values.iter().flatten().map(number).sum())
}

/// Pages of each processor's buffer, so that all have together what a ring buffer would; a power of two.
fn pages(bytes: u32) -> usize {
    let page = rustix::param::page_size();
    let processors = libbpf_rs::num_possible_cpus().unwrap_or(1).max(1);
    (bytes as usize / processors / page).next_power_of_two().clamp(8, 1024)
}
