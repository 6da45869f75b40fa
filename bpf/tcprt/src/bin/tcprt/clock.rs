//! The time of day of events, whose clock begins with the machine.

use btf::{Btf, Kind, Type};
use rustix::time::{ClockId, clock_gettime};

/// The clock of the events.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(ClockId);

impl Clock {
    /// By the kernel's types: the clock that goes on while the machine is suspended, where programs can read it (5.8,
    /// 71d19214776e ("bpf: add bpf_ktime_get_boot_ns()")); else the other one.
    pub(crate) fn of(types: Option<&Btf<'_>>) -> Clock {
        let has = |types: &Btf<'_>| {
            let helpers = types.find("bpf_func_id", Kind::Enum).next()?;
            let Ok(Type::Enum(helpers)) = types.ty(helpers) else { return None };
            Some(helpers.values().flatten().any(|value| value.name == "BPF_FUNC_ktime_get_boot_ns"))
        };
        let is_boot = types.and_then(has).unwrap_or(true);
        Clock(if is_boot { ClockId::Boottime } else { ClockId::Monotonic })
    }

    /// What the wall clock shows at this clock's 0, nanoseconds since 1970. Asked for again and again it follows the wall clock when
    /// that is set.
    pub(crate) fn begin_ns(self) -> u64 {
        now_ns(ClockId::Realtime).saturating_sub(now_ns(self.0))
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
