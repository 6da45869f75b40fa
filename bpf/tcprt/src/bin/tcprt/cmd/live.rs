//! `tcprt`: records as they come, until it is told to end; then a summary.

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::agent::{self, Agent, Attached};
use crate::args::Format;
use crate::clock::{self, Clock};
use crate::cmd::losses::Losses;
use crate::cmd::teller::Teller;
use crate::cmd::worker::{Worker, lock};
use crate::exporter::{self, Shared};
use crate::filters;
use crate::output::Output;
use crate::settings::Settings;
use crate::told::ToldToEnd;

/// How long it is between two looks at the log: while nothing comes, and while something does. So many records at once mean that
/// more wait.
const IDLE: Duration = Duration::from_millis(20);
const BUSY: Duration = Duration::from_millis(10);
const MANY: u64 = 1024;

/// How long lines wait until they are written to a file, which with two looks at the log is less than 100 ms.
const UNTIL_WRITTEN: Duration = Duration::from_millis(50);

pub(super) fn run(settings: Settings) -> Result<ExitCode> {
    if settings.explain {
        return super::explain(&agent::explain(settings.filters.mode.unwrap_or_default().into(), &settings.loading)?);
    }
    let config = filters::config(&settings.filters)?;
    let told = ToldToEnd::listen()?;
    let (size, keep) = (settings.rotate_size, settings.rotate_keep);
    let output = Output::new(settings.output.as_deref(), size, keep)?;
    let mut teller = Teller::new(output, settings.format, settings.min_total);
    if let Some(path) = &settings.stats_output {
        teller.stats_output = Some(Output::new(Some(path), size, keep)?);
    }
    let metrics = settings.prometheus.is_some().then(Shared::default);
    if let (Some(address), Some(metrics)) = (&settings.prometheus, &metrics) {
        let bound = exporter::serve(address, Arc::clone(metrics))?;
        eprintln!("tcprt: http://{bound}/metrics");
    }
    let agent = match agent::attach(&config, &settings.loading, settings.keep.clone())? {
        Attached::Yes(agent) => agent,
        Attached::No(plan) => return super::impossible(&plan),
    };
    let worker = Worker::new(teller, metrics);
    measure(&settings, &agent, worker, &told)?;
    drop(agent);
    if let Some(pins) = &settings.keep {
        eprintln!("tcprt: it stays attached in {}: tcprt log reads, tcprt stop ends it", pins.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// Hears events until it is told to end.
fn measure(settings: &Settings, agent: &Agent, worker: Worker, told: &ToldToEnd) -> Result<()> {
    let worker = Mutex::new(worker);
    let listener = agent.session.listen(|event| lock(&worker).take(event.bytes)).context("listening")?;
    lock(&worker).teller.heading();
    let begin = Instant::now();
    let end = settings.seconds.map(|seconds| begin + seconds);
    let (mut next, mut flushed) = (begin + settings.stats_interval, begin);
    let (mut clock, mut losses) = (Clock::new(), Losses::default());
    loop {
        lock(&worker).begin(clock.follow(), Instant::now());
        let heard = listener.consume().context("reading events")?;
        let now = Instant::now();
        let is_over = told.is_told() || end.is_some_and(|end| now >= end);
        let mut worker = lock(&worker);
        if heard > 0 && worker.teller.output.is_stdout() || now >= flushed + UNTIL_WRITTEN {
            worker.teller.flush();
            flushed = now;
        }
        if now >= next || is_over {
            let lost = listener.lost().context("counting lost events")?.values().sum();
            let now_lost = Losses::of(agent, lost);
            losses.tell(now_lost, settings.stats_interval.min(now - begin));
            worker.teller.end_interval(clock::now_us() / 1_000_000);
            worker.teller.flush();
            // one that was missed is part of this one
            while next <= now {
                next += settings.stats_interval;
            }
        }
        if let Some(metrics) = &worker.metrics {
            let mut metrics = lock(metrics);
            metrics.lost = listener.lost().context("counting lost events")?.values().sum();
            (metrics.refused, metrics.evicted, metrics.untold) = (agent.refused(), losses.evicted, agent.untold());
        }
        if is_over || worker.teller.failed.is_some() {
            break;
        }
        drop(worker);
        if heard < MANY {
            let pause = if heard == 0 { IDLE } else { BUSY };
            std::thread::sleep(end.map_or(pause, |end| pause.min(end.saturating_duration_since(now))));
        }
    }
    drop(listener);
    let mut worker = worker.into_inner().unwrap_or_else(PoisonError::into_inner);
    finish(settings, &mut worker, &losses)?;
    super::written(worker.teller.failed)
}

/// The summary, and what was lost in all.
fn finish(settings: &Settings, worker: &mut Worker, losses: &Losses) -> Result<()> {
    let mut text = worker.all.lines();
    if text.is_empty() {
        text = "no task was over in this time\n".to_owned();
    }
    let is_for_people = settings.format == Format::Text && worker.teller.output.is_stdout();
    if is_for_people {
        worker.teller.write(|output| output.lines(&format!("\n{text}")));
        worker.teller.flush();
    } else if settings.loading.verbose || settings.output.is_some() {
        eprint!("{text}");
    }
    losses.tell_all(worker.reader.unreadable);
    Ok(())
}
