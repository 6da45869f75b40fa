//! How a long run goes on, on a terminal.

use std::io::{self, IsTerminal};
use std::sync::Mutex;

use indicatif::{ProgressBar, ProgressStyle};

use crate::error::Error;
use crate::generate::run::Progress;

/// A bar on a terminal; errors as they come.
pub(super) struct Terminal {
    bar: Mutex<Option<ProgressBar>>,
}

impl Terminal {
    /// With `verbose` there is no bar: log lines would tear it apart.
    pub(super) fn new(verbose: u8) -> Terminal {
        let on_terminal = io::stderr().is_terminal() && verbose == 0;
        Terminal { bar: Mutex::new(on_terminal.then(ProgressBar::no_length)) }
    }

    fn with(&self, act: impl FnOnce(&ProgressBar)) {
        if let Some(bar) = &*self.bar.lock().unwrap_or_else(|e| e.into_inner()) {
            act(bar);
        }
    }

    pub(super) fn end(&self) {
        self.with(ProgressBar::finish_and_clear);
    }
}

impl Progress for Terminal {
    fn begin(&self, units: usize) {
        self.with(|bar| {
            let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed} {wide_msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.set_length(units as u64);
            bar.enable_steady_tick(std::time::Duration::from_millis(200));
        });
    }

    fn started(&self, input: &str) {
        self.with(|bar| bar.set_message(input.rsplit('/').next().unwrap_or(input).to_owned()));
    }

    fn done(&self, _input: &str, error: Option<&Error>) {
        self.with(|bar| bar.inc(1));
        if let Some(error) = error {
            let bar = self.bar.lock().unwrap_or_else(|e| e.into_inner());
            match &*bar {
                Some(bar) => bar.suspend(|| super::say(error)),
                None => super::say(error),
            }
        }
    }
}
