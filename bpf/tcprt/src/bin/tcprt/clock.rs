//! The time of day of events, whose clock is the monotonic one: it begins with the machine, stands still while that sleeps, and is
//! never set.

use rustix::time::{ClockId, clock_gettime};

/// What the wall clock shows at the events' clock's 0. As the wall clock is slowed and hurried together with that one, it changes only
/// when the wall clock is set, a leap second comes, or the machine has slept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    begin_ns: u64,
}

impl Clock {
    pub(crate) fn new() -> Clock {
        let mut clock = Clock { begin_ns: 0 };
        clock.follow();
        clock
    }

    /// What the wall clock shows at the events' clock's 0, as it is now: nanoseconds since 1970.
    pub(crate) fn follow(&mut self) -> u64 {
        self.follow_by(now_ns)
    }

    /// The same, of clocks that `now_ns` reads. Between two readings of the one clock, the other is read: what was known stays
    /// unless they show that it is wrong, so that one event's time and another's are as far apart as they were.
    fn follow_by(&mut self, mut now_ns: impl FnMut(ClockId) -> u64) -> u64 {
        let (before, wall, after) = (now_ns(ClockId::Monotonic), now_ns(ClockId::Realtime), now_ns(ClockId::Monotonic));
        let (earliest, latest) = (wall.saturating_sub(after), wall.saturating_sub(before));
        if !(earliest..=latest).contains(&self.begin_ns) {
            self.begin_ns = earliest + (latest - earliest) / 2;
        }
        self.begin_ns
    }
}

fn now_ns(clock: ClockId) -> u64 {
    let now = clock_gettime(clock);
    (now.tv_sec as u64).saturating_mul(1_000_000_000).saturating_add(now.tv_nsec as u64)
}

/// Microseconds since 1970.
pub(crate) fn now_us() -> u64 {
    now_ns(ClockId::Realtime) / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const HOUR: u64 = 3600 * SECOND;
    /// 2023-11-14.
    const DAY: u64 = 1_700_000_000 * SECOND;

    /// A machine's clocks, each reading of which takes so long.
    struct Machine {
        monotonic: u64,
        wall: u64,
        reading: u64,
    }

    impl Machine {
        fn wait(&mut self, ns: u64) {
            self.monotonic += ns;
            self.wall += ns;
        }

        fn read(&mut self, clock: ClockId) -> u64 {
            self.wait(self.reading);
            match clock {
                ClockId::Monotonic => self.monotonic,
                ClockId::Realtime => self.wall,
                other => panic!("{other:?} is no clock of events"),
            }
        }
    }

    /// What an agent that looks every 20 ms gives, while `act` does something to the clocks before each look, by its number.
    fn follow(looks: u64, mut act: impl FnMut(u64, &mut Machine)) -> (Vec<u64>, Machine) {
        let mut machine = Machine { monotonic: 5 * HOUR, wall: DAY, reading: 50 };
        let mut clock = Clock { begin_ns: 0 };
        let look = |number| {
            machine.wait(20_000_000);
            act(number, &mut machine);
            clock.follow_by(|clock| machine.read(clock))
        };
        let begins = (0..looks).map(look).collect();
        (begins, machine)
    }

    #[test]
    fn an_event_keeps_its_distance_from_the_others_while_no_clock_is_set() {
        // a busy machine takes the processor away between two readings
        let (begins, machine) = follow(1000, |number, machine| {
            machine.reading = if number % 7 == 3 { 30_000_000 } else { 40 + number % 50 };
        });
        let true_begin = machine.wall - machine.monotonic;
        assert!(begins.iter().all(|begin| *begin == begins[0]), "{begins:?}");
        assert!(begins[0].abs_diff(true_begin) <= 100, "{} {true_begin}", begins[0]);
    }

    #[test]
    fn a_first_reading_that_took_long_is_put_right_by_the_next() {
        let (begins, machine) = follow(2, |number, machine| machine.reading = if number == 0 { SECOND } else { 50 });
        assert!(begins[1].abs_diff(machine.wall - machine.monotonic) <= 100, "{begins:?}");
    }

    #[test]
    fn a_step_of_the_wall_clock_is_followed_with_the_next_look() {
        for (back, step) in [(false, HOUR), (true, HOUR), (false, 2_000_000), (true, 2_000_000)] {
            let (begins, machine) = follow(10, |number, machine| match number {
                5 if back => machine.wall -= step,
                5 => machine.wall += step,
                _ => {}
            });
            let expected = if back { begins[0] - step } else { begins[0] + step };
            assert!(begins[..5].iter().all(|begin| *begin == begins[0]), "{begins:?}");
            assert!(begins[5..].iter().all(|begin| begin.abs_diff(expected) <= 100), "{begins:?}");
            assert!(begins[9].abs_diff(machine.wall - machine.monotonic) <= 100);
        }
    }

    #[test]
    fn a_machine_that_slept_has_the_time_after_it() {
        // the monotonic clock stands still, the wall clock goes on
        let (begins, _) = follow(2, |number, machine| machine.wall += if number == 1 { 8 * HOUR } else { 0 });
        assert!((begins[1] - begins[0]).abs_diff(8 * HOUR) <= 100, "{begins:?}");
    }
}
