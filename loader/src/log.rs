//! Logs of events: `LCC_LOG` of `bpf/lcc.bpf.h`. A ring for each processor, which overwrites its oldest events; reading takes
//! nothing away, and several may read.
//!
//! ```text
//! NAME_heads[cpu]   next: events begun, ever │ first: index of its first slot │ mask: slots of it, less 1 │ …
//! NAME[first + (number & mask)]   number + 1, with the top bit while it is being written │ time │ the event
//! ```
//!
//! All in the machine's byte order. Both maps are arrays, which memory shows without a system call where the kernel can
//! (`BPF_F_MMAPABLE`: 5.5, fc9702273e2e ("bpf: Add mmap() support for BPF_MAP_TYPE_ARRAY")).

use std::cmp::Reverse;
use std::collections::binary_heap::PeekMut;
use std::collections::{BTreeMap, BinaryHeap};
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use libbpf_rs::{MapCore, MapFlags, MapHandle};

use crate::pins;
use crate::raw::Window;

/// Bytes of `struct lcc_log_head`, and where its members are, as words of eight bytes.
const HEAD: usize = 64;
const NEXT: usize = 0;
const FIRST: usize = 1;
const MASK: usize = 2;

/// The top bit of a slot's number: it is being written.
const UNFINISHED: u64 = 1 << 63;

/// Bytes before a slot's event: its number and its time.
const BEGIN: usize = 16;

/// Bytes of slots of a processor that are looked at at a time: what the process's memory grows by.
const LOOK: usize = 16 << 10;

/// Who reads a log.
pub struct Log {
    slots: MapHandle,
    heads: MapHandle,
    /// Bytes of a slot.
    size: usize,
    shown: Option<Window>,
    places: Vec<Place>,
    lost: u64,
}

/// Where the reading of one processor's ring is.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    first: u64,
    mask: u64,
    /// The next to be read.
    next: u64,
    /// It was not finished when it was last looked at.
    waits: bool,
}

impl Log {
    /// Reads from the first event that there was; what is overwritten already counts as lost.
    pub(crate) fn from_first(slots: &MapHandle, heads: &MapHandle) -> io::Result<Log> {
        let size = slots.value_size().next_multiple_of(8) as usize;
        let (slots, heads) = (copy(slots)?, copy(heads)?);
        if heads.value_size() as usize != HEAD || size <= BEGIN {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "these maps are no log"));
        }
        let shown = Window::new(heads.as_fd(), 0, HEAD * heads.max_entries() as usize).ok();
        let mut log = Log { slots, heads, size, shown, places: Vec::new(), lost: 0 };
        for processor in 0..log.heads.max_entries() {
            let head = log.head(processor)?;
            let (first, mask) = (head[FIRST], head[MASK]);
            let is_inside = first.checked_add(mask).is_some_and(|last| last < u64::from(log.slots.max_entries()));
            if !is_inside || !mask.wrapping_add(1).is_power_of_two() {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the log's heads are of another one"));
            }
            log.places.push(Place { first, mask, ..Place::default() });
        }
        Ok(log)
    }

    /// The logs among maps, by name.
    fn among(maps: &BTreeMap<String, MapHandle>) -> io::Result<Vec<(String, Log)>> {
        let with_heads = maps.iter().filter_map(|(name, slots)| Some((name, slots, maps.get(&heads(name))?)));
        with_heads.map(|(name, slots, heads)| Ok((name.clone(), Log::from_first(slots, heads)?))).collect()
    }

    /// The logs that a session left in its folder of pins, by name, to be read from the first event of each that is there. None where
    /// there is nothing pinned.
    ///
    /// # Errors
    /// A pin cannot be read, or is of something else; the error names the path.
    pub fn pinned(pins: &Path) -> io::Result<Vec<(String, Log)>> {
        let mut all = Vec::new();
        for folder in pins::all(pins)? {
            let Some(found) = pins::find(&folder)? else { continue };
            all.extend(Log::among(&found.maps)?);
        }
        for (_, log) in &mut all {
            log.to_oldest()?;
        }
        Ok(all)
    }

    /// Goes on with the oldest event that is there; what was overwritten before does not count as lost.
    ///
    /// # Errors
    /// The heads cannot be read.
    pub fn to_oldest(&mut self) -> io::Result<()> {
        self.go(|place, next| place.next.max(next.saturating_sub(place.mask + 1)))
    }

    /// Goes on with what comes from now on.
    ///
    /// # Errors
    /// The heads cannot be read.
    pub fn to_newest(&mut self) -> io::Result<()> {
        self.go(|_, next| next)
    }

    fn go(&mut self, to: impl Fn(&Place, u64) -> u64) -> io::Result<()> {
        for processor in 0..self.places.len() {
            let next = self.head(processor as u32)?[NEXT];
            let place = &mut self.places[processor];
            (place.next, place.waits) = (to(place, next), false);
        }
        Ok(())
    }

    /// Hands each event that came since to `hear`, in the order of their times, and gives how many they were.
    ///
    /// An event that is just being written is left for the next time, with all that its processor wrote after it; if it is not
    /// finished then either, it is lost.
    ///
    /// # Errors
    /// The maps cannot be read.
    pub fn read(&mut self, mut hear: impl FnMut(&[u8])) -> io::Result<u64> {
        let Some(last) = self.last()? else { return Ok(0) };
        // What happened before `last` is in the rings by now, for `last` was there before these heads are read. What is later may
        // lack what another processor wrote before it.
        let (mut rings, mut queue) = (Vec::new(), BinaryHeap::new());
        for (processor, place) in self.places.iter().enumerate() {
            let end = self.next(processor)?;
            if end == place.next {
                continue;
            }
            let mut ring = Ring { processor, place: *place, end, slot: vec![0; self.size], look: None, lost: 0 };
            queue.extend(ring.advance(&self.slots, false).map(|time| Reverse((time, rings.len()))));
            rings.push(ring);
        }
        let mut heard = 0;
        while let Some(mut first) = queue.peek_mut() {
            let Reverse((time, which)) = *first;
            if time > last {
                break;
            }
            let ring: &mut Ring<'_> = &mut rings[which];
            hear(&ring.slot[BEGIN..]);
            heard += 1;
            match ring.advance(&self.slots, true) {
                Some(time) => *first = Reverse((time, which)),
                None => drop(PeekMut::pop(first)),
            }
        }
        let read: Vec<_> = rings.into_iter().map(|ring| (ring.processor, ring.place, ring.lost)).collect();
        for (processor, place, lost) in read {
            self.places[processor] = place;
            self.lost += lost;
        }
        Ok(heard)
    }

    /// The latest time of an event that is there now and was not read; `None` where all were.
    fn last(&self) -> io::Result<Option<u64>> {
        let mut last = None;
        let mut slot = vec![0; self.size];
        for (processor, place) in self.places.iter().enumerate() {
            let next = self.next(processor)?;
            if next <= place.next {
                continue;
            }
            let index = place.first + ((next - 1) & place.mask);
            Look::new(&self.slots, index as usize, 1, self.size).copy(0, &mut slot)?;
            // one that another overwrites meanwhile is later still
            last = last.max(Some(word(&slot, 1)));
        }
        Ok(last)
    }

    /// How many events a processor has begun.
    fn next(&self, processor: usize) -> io::Result<u64> {
        let Some(window) = &self.shown else { return Ok(self.head(processor as u32)?[NEXT]) };
        let mut next = [0];
        window.words(processor * HEAD + NEXT * 8, &mut next);
        Ok(next[0])
    }

    /// Events that each processor's ring has room for.
    pub fn slots(&self) -> u64 {
        self.places.first().map_or(0, |place| place.mask + 1)
    }

    /// How many events could not be read: they were overwritten before, or never finished.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// How many events there were ever, also before this reading began.
    ///
    /// # Errors
    /// The heads cannot be read.
    pub fn written(&self) -> io::Result<u64> {
        (0..self.places.len()).map(|processor| self.next(processor)).sum()
    }

    fn head(&self, processor: u32) -> io::Result<[u64; HEAD / 8]> {
        let mut words = [0; HEAD / 8];
        match &self.shown {
            Some(window) => window.words(processor as usize * HEAD, &mut words),
            None => {
                for (word, bytes) in words.iter_mut().zip(looked_up(&self.heads, processor)?.chunks_exact(8)) {
                    *word = u64::from_ne_bytes(bytes.try_into().unwrap_or_default());
                }
            }
        }
        Ok(words)
    }
}

/// A processor's ring, while it is read.
struct Ring<'m> {
    processor: usize,
    place: Place,
    /// Behind its last event.
    end: u64,
    /// A copy of the slot at its place.
    slot: Vec<u8>,
    look: Option<Look<'m>>,
    lost: u64,
}

impl<'m> Ring<'m> {
    /// Goes to the first event that can be read, behind the one that was, and gives its time. `None` where there is none now.
    fn advance(&mut self, slots: &'m MapHandle, was_read: bool) -> Option<u64> {
        let place = &mut self.place;
        if was_read {
            (place.next, place.waits) = (place.next + 1, false);
        }
        let oldest = self.end.saturating_sub(place.mask + 1);
        if place.next < oldest {
            self.lost += oldest - place.next;
            (place.next, place.waits) = (oldest, false);
        }
        while place.next < self.end {
            let at = place.next & place.mask;
            let index = (place.first + at) as usize;
            if self.look.as_ref().is_none_or(|look| !look.has(index)) {
                let size = self.slot.len();
                let run = (self.end - place.next).min(place.mask + 1 - at).min((LOOK / size).max(1) as u64);
                self.look = Some(Look::new(slots, index, run as usize, size));
            }
            let look = self.look.as_ref()?;
            let expected = place.next + 1;
            match look.copy(index - look.first, &mut self.slot) {
                Ok(number) if number == expected => return Some(word(&self.slot, 1)),
                Ok(number) if number & !UNFINISHED <= expected && !place.waits => {
                    place.waits = true;
                    return None;
                }
                // it waits no longer, was overwritten, or cannot be read
                _ => self.lost += 1,
            }
            (place.next, place.waits) = (expected, false);
        }
        None
    }
}

/// Some slots, as memory or by system calls.
struct Look<'m> {
    slots: &'m MapHandle,
    first: usize,
    count: usize,
    size: usize,
    window: Option<Window>,
}

impl Look<'_> {
    fn new(slots: &MapHandle, first: usize, count: usize, size: usize) -> Look<'_> {
        // a map without BPF_F_MMAPABLE has no memory to show
        let window = Window::new(slots.as_fd(), first * size, count * size).ok();
        Look { slots, first, count, size, window }
    }

    fn has(&self, index: usize) -> bool {
        (self.first..self.first + self.count).contains(&index)
    }

    /// Copies a slot, and gives its number: one that is not to be expected, if it was written to in between.
    fn copy(&self, index: usize, slot: &mut [u8]) -> io::Result<u64> {
        let Some(window) = &self.window else {
            slot.copy_from_slice(&looked_up(self.slots, (self.first + index) as u32)?);
            return Ok(word(slot, 0));
        };
        let at = index * self.size;
        window.bytes(at, slot);
        let mut after = [0];
        window.words(at, &mut after);
        Ok(word(slot, 0).max(after[0]))
    }
}

fn word(slot: &[u8], index: usize) -> u64 {
    slot.get(index * 8..).and_then(<[u8]>::first_chunk).map_or(0, |bytes| u64::from_ne_bytes(*bytes))
}

fn looked_up(map: &MapHandle, key: u32) -> io::Result<Vec<u8>> {
    let value = map.lookup(&key.to_ne_bytes(), MapFlags::ANY).map_err(io::Error::other)?;
    value.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("the log has no entry {key}")))
}

fn copy(map: &MapHandle) -> io::Result<MapHandle> {
    MapHandle::try_from(map).map_err(io::Error::other)
}

/// The name of the map with the heads of a log: `LCC_LOG` makes it.
pub(crate) fn heads(log: &str) -> String {
    format!("{log}_heads")
}

/// Tells each processor its place: `slots` for each, a power of two.
pub(crate) fn place(heads: &MapHandle, slots: u32) -> io::Result<()> {
    for processor in 0..heads.max_entries() {
        let mut head = [0; HEAD];
        let first = u64::from(processor) * u64::from(slots);
        head[FIRST * 8..][..8].copy_from_slice(&first.to_ne_bytes());
        head[MASK * 8..][..8].copy_from_slice(&(u64::from(slots) - 1).to_ne_bytes());
        heads.update(&processor.to_ne_bytes(), &head, MapFlags::ANY).map_err(io::Error::other)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use libbpf_rs::MapType;

    use super::*;

    const SLOTS: u32 = 4;

    /// A log of two processors, with room for four events on each, of eight bytes. `None` where no maps can be made.
    fn log(flags: u32) -> Option<(MapHandle, MapHandle)> {
        let options = libbpf_sys::bpf_map_create_opts {
            sz: size_of::<libbpf_sys::bpf_map_create_opts>() as libbpf_sys::size_t,
            map_flags: flags,
            ..Default::default()
        };
        let make = |size, entries| MapHandle::create(MapType::Array, Some("lcc_test"), 4, size, entries, &options);
        let maps = make(BEGIN as u32 + 8, 2 * SLOTS).and_then(|slots| Ok((slots, make(HEAD as u32, 2)?)));
        match maps {
            Ok((slots, heads)) => {
                place(&heads, SLOTS).unwrap();
                Some((slots, heads))
            }
            Err(error) => {
                assert!(std::env::var("CI").as_deref() != Ok("true"), "skipped where nothing may be: {error}");
                eprintln!("skipped: {error}");
                None
            }
        }
    }

    /// Does as `lcc_log_begin` and, if it is to be finished, `lcc_log_end`: the event is its time.
    fn write((slots, heads): &(MapHandle, MapHandle), processor: u32, time: u64, finished: bool) {
        let mut head = looked_up(heads, processor).unwrap();
        let (next, first, mask) = (word(&head, NEXT), word(&head, FIRST), word(&head, MASK));
        head[..8].copy_from_slice(&(next + 1).to_ne_bytes());
        heads.update(&processor.to_ne_bytes(), &head, MapFlags::ANY).unwrap();
        let number = if finished { next + 1 } else { (next + 1) | UNFINISHED };
        let slot: Vec<u8> = [number, time, time].iter().flat_map(|word| word.to_ne_bytes()).collect();
        slots.update(&((first + (next & mask)) as u32).to_ne_bytes(), &slot, MapFlags::ANY).unwrap();
    }

    fn read(log: &mut Log) -> Vec<u64> {
        let mut heard = Vec::new();
        let count = log.read(|bytes| heard.push(u64::from_ne_bytes(bytes.try_into().unwrap()))).unwrap();
        assert_eq!(count, heard.len() as u64);
        heard
    }

    /// By memory, and by system calls.
    fn both_ways(test: impl Fn(&(MapHandle, MapHandle), Log)) {
        for flags in [libbpf_sys::BPF_F_MMAPABLE, 0] {
            let Some(maps) = log(flags) else { return };
            let log = Log::from_first(&maps.0, &maps.1).unwrap();
            assert_eq!(log.shown.is_some(), flags != 0);
            test(&maps, log);
        }
    }

    #[test]
    fn root_events_come_in_the_order_of_their_times_and_once() {
        both_ways(|maps, mut log| {
            for (processor, time) in [(0, 10), (1, 11), (1, 13), (0, 14)] {
                write(maps, processor, time, true);
            }
            assert_eq!((read(&mut log), read(&mut log)), (vec![10, 11, 13, 14], vec![]));
            write(maps, 1, 20, true);
            assert_eq!((read(&mut log), log.lost(), log.written().unwrap()), (vec![20], 0, 5));
        });
    }

    #[test]
    fn root_what_is_overwritten_is_counted() {
        both_ways(|maps, mut log| {
            (0..11).for_each(|time| write(maps, 0, time, true));
            write(maps, 1, 100, true);
            assert_eq!((read(&mut log), log.lost()), (vec![7, 8, 9, 10, 100], 7));
            // who comes later has lost nothing
            let mut later = Log::from_first(&maps.0, &maps.1).unwrap();
            later.to_oldest().unwrap();
            assert_eq!((read(&mut later), later.lost()), (vec![7, 8, 9, 10, 100], 0));
            later.to_newest().unwrap();
            assert_eq!(read(&mut later), Vec::<u64>::new());
        });
    }

    #[test]
    fn root_what_is_not_finished_is_waited_for_once() {
        both_ways(|maps, mut log| {
            write(maps, 0, 1, true);
            write(maps, 0, 2, false);
            write(maps, 0, 3, true);
            assert_eq!((read(&mut log), log.lost()), (vec![1], 0));
            assert_eq!((read(&mut log), log.lost()), (vec![3], 1));
        });
    }

    #[test]
    fn root_maps_that_are_no_log_are_refused() {
        let Some((slots, heads)) = log(0) else { return };
        assert!(Log::from_first(&slots, &slots).is_err());
        // places beyond the slots
        place(&heads, 8 * SLOTS).unwrap();
        assert!(Log::from_first(&slots, &heads).is_err());
    }
}
