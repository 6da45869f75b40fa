//! What is shown while machines run: a line for each on a terminal; else a line when one begins, and when it has ended.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::results::EntryResult;

pub(crate) struct Progress {
    bars: Option<(MultiProgress, ProgressBar)>,
}

impl Progress {
    pub(crate) fn new(entries: usize) -> Progress {
        let bars = std::io::stderr().is_terminal().then(|| {
            let all = MultiProgress::new();
            let style = ProgressStyle::with_template("{bar:30} {pos} of {len} kernels, {elapsed}").expect("a template");
            let bar = all.add(ProgressBar::new(entries as u64).with_style(style));
            (all, bar)
        });
        Progress { bars }
    }

    pub(crate) fn begin(&self, name: &str) -> Entry<'_> {
        let bar = self.bars.as_ref().map(|(all, _)| {
            let style = ProgressStyle::with_template("{spinner} {prefix:26} {elapsed:>4} {msg}").expect("a template");
            let bar = all.add(ProgressBar::new_spinner().with_style(style).with_prefix(name.to_owned()));
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        if bar.is_none() {
            eprintln!("matrix: {name}");
        }
        Entry { all: self, bar }
    }
}

/// One machine's line.
pub(crate) struct Entry<'p> {
    all: &'p Progress,
    bar: Option<ProgressBar>,
}

impl Entry<'_> {
    pub(crate) fn say(&self, what: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(what.to_owned());
        }
    }

    pub(crate) fn end(&self, result: &EntryResult) {
        let line = format!("matrix: {:26} {:5.0} s  {}", result.name, result.seconds, result.verdict());
        match (&self.all.bars, &self.bar) {
            (Some((all, done)), Some(bar)) => {
                bar.finish_and_clear();
                let _ = all.println(line);
                done.inc(1);
            }
            _ => eprintln!("{line}"),
        }
    }
}
