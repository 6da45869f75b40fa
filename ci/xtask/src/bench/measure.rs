//! Wall time, CPU time and memory of one run of a program.

use crate::process;
use anyhow::{Context, Result, bail};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What one run took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sample {
    pub(crate) wall: Duration,
    /// User and system time of the program and of the children that it waited for.
    pub(crate) cpu: Duration,
    /// The largest resident set of any one process, in bytes.
    pub(crate) peak_rss: u64,
}

/// Several runs of the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Samples(pub(crate) Vec<Sample>);

/// The best and the middle of a figure.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub(crate) struct Spread {
    pub(crate) least: f64,
    pub(crate) median: f64,
}

impl Samples {
    /// Seconds.
    pub(crate) fn wall(&self) -> Spread {
        self.spread(|sample| sample.wall.as_secs_f64())
    }

    /// Seconds.
    pub(crate) fn cpu(&self) -> Spread {
        self.spread(|sample| sample.cpu.as_secs_f64())
    }

    /// MiB.
    pub(crate) fn peak_rss(&self) -> Spread {
        self.spread(|sample| sample.peak_rss as f64 / f64::from(1 << 20))
    }

    /// Both are infinite where there is no sample.
    fn spread(&self, figure: impl Fn(&Sample) -> f64) -> Spread {
        let mut figures: Vec<f64> = self.0.iter().map(figure).collect();
        figures.sort_by(f64::total_cmp);
        let at = |index: usize| figures.get(index).copied().unwrap_or(f64::INFINITY);
        Spread { least: at(0), median: at(figures.len() / 2) }
    }
}

/// Runs the command to its end, with stdout and stderr thrown away.
///
/// # Errors
/// It cannot be started or waited for, or its exit code is not one of `accepted`.
pub(crate) fn measure(command: &mut Command, accepted: &[i32]) -> Result<Sample> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let start = Instant::now();
    let child = command.spawn().with_context(|| format!("start {}", process::describe(command)))?;
    let (status, usage) = wait4(child.id())?;
    let wall = start.elapsed();
    if !libc::WIFEXITED(status) || !accepted.contains(&libc::WEXITSTATUS(status)) {
        bail!("{} ended with wait status {status:#x}", process::describe(command));
    }
    let time = |value: libc::timeval| Duration::from_micros(value.tv_sec as u64 * 1_000_000 + value.tv_usec as u64);
    Ok(Sample { wall, cpu: time(usage.ru_utime) + time(usage.ru_stime), peak_rss: usage.ru_maxrss as u64 * 1024 })
}

/// wait4(2): what `std::process::Child::wait` does, with the resources used. The child must not be waited for again.
fn wait4(pid: u32) -> Result<(i32, libc::rusage)> {
    let pid = i32::try_from(pid).context("a process id")?;
    let mut status = 0;
    loop {
        // SAFETY: rusage is a C struct of integers, for which all zeros is a value.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: both pointers are to live, writable values of the types that wait4 expects.
        let waited = unsafe { libc::wait4(pid, &mut status, 0, &mut usage) };
        if waited == pid {
            return Ok((status, usage));
        }
        let error = std::io::Error::last_os_error();
        if error.kind() != std::io::ErrorKind::Interrupted {
            return Err(error).with_context(|| format!("wait for process {pid}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(millis: u64) -> Sample {
        Sample { wall: Duration::from_millis(millis), cpu: Duration::ZERO, peak_rss: millis << 20 }
    }

    #[test]
    fn spreads() {
        fn check(millis: &[u64], least: f64, median: f64) {
            let samples = Samples(millis.iter().copied().map(sample).collect());
            assert_eq!(samples.wall(), Spread { least: least / 1000.0, median: median / 1000.0 }, "{millis:?}");
            assert_eq!(samples.peak_rss(), Spread { least, median }, "{millis:?}");
        }
        check(&[3], 3.0, 3.0);
        check(&[3, 1, 2], 1.0, 2.0);
        check(&[4, 1, 2, 3], 1.0, 3.0);
        check(&[], f64::INFINITY, f64::INFINITY);
    }

    #[test]
    fn a_real_program() {
        let shell = |script: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            command
        };
        let sample = measure(&mut shell("i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done"), &[0]).unwrap();
        assert!(sample.cpu > Duration::from_millis(5), "{sample:?}");
        assert!(sample.wall > Duration::from_millis(5), "{sample:?}");
        assert!(sample.peak_rss > 100 << 10, "{sample:?}");
        measure(&mut shell("exit 1"), &[0, 1]).unwrap();
        assert!(measure(&mut shell("exit 2"), &[0, 1]).is_err());
        assert!(measure(&mut shell("kill -9 $$"), &[0]).is_err());
        assert!(measure(&mut Command::new("/nonexistent/program"), &[0]).is_err());
    }
}
