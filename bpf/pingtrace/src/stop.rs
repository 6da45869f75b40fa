//! When to end: by a signal, or when the time is over.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};

use crate::args::Args;
use crate::kernel::now;

/// Whether to go on.
pub(crate) struct Stop {
    told: Arc<AtomicBool>,
    at: u64,
}

impl Stop {
    /// SIGINT, SIGTERM and `-t` end it.
    pub(crate) fn new(args: &Args) -> Result<Stop> {
        let told = Arc::new(AtomicBool::new(false));
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&told)).context("signals")?;
        }
        let at = args.time.map_or(u64::MAX, |seconds| now().saturating_add(seconds.saturating_mul(1_000_000_000)));
        Ok(Stop { told, at })
    }

    /// It is over.
    pub(crate) fn is_due(&self) -> bool {
        self.told.load(Ordering::Relaxed) || now() >= self.at
    }

    /// Nanoseconds that are left, but at most so many.
    pub(crate) fn left(&self, most: u64) -> u64 {
        self.at.saturating_sub(now()).min(most)
    }
}
