//! Being told to end: SIGINT and SIGTERM.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};

/// Whether the process was told to end. A second signal ends it at once.
#[derive(Clone, Debug)]
pub(crate) struct ToldToEnd(Arc<AtomicBool>);

impl ToldToEnd {
    /// Hears from now on.
    ///
    /// # Errors
    /// The signals cannot be taken.
    pub(crate) fn listen() -> Result<ToldToEnd> {
        let told = Arc::new(AtomicBool::new(false));
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            signal_hook::flag::register_conditional_default(signal, Arc::clone(&told)).context("signals")?;
            signal_hook::flag::register(signal, Arc::clone(&told)).context("signals")?;
        }
        Ok(ToldToEnd(told))
    }

    pub(crate) fn is_told(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
