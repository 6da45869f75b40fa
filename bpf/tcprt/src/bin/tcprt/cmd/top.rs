//! `tcprt top`: frames, drawn over each other on a terminal, and printed one after the other elsewhere.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::termios::{self, LocalModes, OptionalActions, SpecialCodeIndex, Termios};

use crate::agent::{self, Attached};
use crate::args;
use crate::clock::{self, Clock};
use crate::cmd::losses::Losses;
use crate::cmd::teller::Reader;
use crate::filters;
use crate::output::is_closed;
use crate::owners::Owners;
use crate::told::ToldToEnd;

/// How long it is between two looks at the log.
const PAUSE: Duration = Duration::from_millis(20);

/// What stands for a signal's key where none is to be (`_POSIX_VDISABLE`).
const NO_KEY: u8 = 0;

struct Worker {
    top: tcprt::top::Top,
    owners: Owners,
    begin_ns: u64,
    reader: Reader,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn run(args: args::Top) -> Result<ExitCode> {
    let config = filters::config(&args.filters)?;
    let told = ToldToEnd::listen()?;
    let agent = match agent::attach(&config, &args.loading, None)? {
        Attached::Yes(agent) => agent,
        Attached::No(plan) => return super::impossible(&plan),
    };
    let interval = args.interval.max(Duration::from_millis(100));
    let step_us = u64::try_from(interval.as_micros()).unwrap_or(u64::MAX);
    let top = tcprt::top::Top::new(args.window.into(), step_us, args.sort.into());
    let worker = Mutex::new(Worker { top, owners: Owners::new(), begin_ns: 0, reader: Reader::default() });
    let listener = agent.session.listen(|event| {
        let worker = &mut *lock(&worker);
        if let Some(record) = worker.reader.read(event.bytes, worker.begin_ns) {
            worker.owners.complete(record);
            worker.top.add(record);
        }
    });
    let listener = listener.context("listening")?;
    let mut clock = Clock::new();
    let mut screen = Screen::begin();
    let begin = Instant::now();
    let end = args.seconds.map(|seconds| begin + seconds);
    let mut next = begin + interval;
    let mut lost = 0;
    loop {
        {
            let mut worker = lock(&worker);
            worker.begin_ns = clock.follow();
            worker.owners.begin(Instant::now());
        }
        let heard = listener.consume().context("reading events")?;
        let now = Instant::now();
        let is_over = told.is_told() || end.is_some_and(|end| now >= end);
        if now >= next || is_over {
            lost = listener.lost().context("counting lost events")?.values().sum();
            let mut worker = lock(&worker);
            let drawn = screen.draw(|width, height| worker.top.frame(clock::now_us(), lost, width, height));
            match drawn {
                Err(error) if is_closed(&error) => return Ok(ExitCode::SUCCESS),
                drawn => drawn.context("standard output")?,
            }
            worker.top.step();
            while next <= now {
                next += interval;
            }
        }
        if is_over {
            break;
        }
        // many at once mean that more wait
        let pause = if heard < 1024 { PAUSE } else { Duration::ZERO };
        if screen.is_quit(pause) {
            break;
        }
    }
    drop(screen);
    let worker = lock(&worker);
    Losses::of(&agent, lost).tell_all(worker.reader.unreadable);
    Ok(ExitCode::SUCCESS)
}

/// The terminal while frames are drawn on it; else standard output as it is.
struct Screen {
    is_terminal: bool,
    /// What standard input was before, where it is a terminal.
    before: Option<Termios>,
}

impl Screen {
    fn begin() -> Screen {
        let is_terminal = io::stdout().is_terminal();
        let before = is_terminal.then(|| termios::tcgetattr(io::stdin()).ok()).flatten();
        if let Some(before) = &before {
            // keys come at once and are not shown; Ctrl-C stays a signal, Ctrl-Z would leave the view on the shell's screen
            let mut keys = before.clone();
            keys.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
            keys.special_codes[SpecialCodeIndex::VSUSP] = NO_KEY;
            keys.special_codes[SpecialCodeIndex::VMIN] = 0;
            keys.special_codes[SpecialCodeIndex::VTIME] = 0;
            let _ = termios::tcsetattr(io::stdin(), OptionalActions::Now, &keys);
        }
        if is_terminal {
            // the other screen, without a cursor
            print!("\x1b[?1049h\x1b[?25l\x1b[Hattached; the first view comes in a moment");
            let _ = io::stdout().flush();
        }
        Screen { is_terminal, before }
    }

    fn draw(&mut self, frame: impl FnOnce(usize, usize) -> Vec<String>) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if !self.is_terminal {
            let lines = frame(120, 60);
            return out.write_all((lines.join("\n") + "\n\n").as_bytes()).and_then(|()| out.flush());
        }
        let size = termios::tcgetwinsize(io::stdout()).ok();
        let (width, height) = size.map_or((80, 24), |size| (size.ws_col.into(), size.ws_row.into()));
        let lines = frame(width, height);
        let lines: String = lines.iter().take(height).map(|line| format!("{line}\x1b[K\r\n")).collect();
        // the last line's end would move all up
        let lines = lines.trim_end_matches("\r\n");
        out.write_all(format!("\x1b[H{lines}\x1b[J").as_bytes()).and_then(|()| out.flush())
    }

    /// Waits; true where q was pressed.
    fn is_quit(&mut self, pause: Duration) -> bool {
        if self.before.is_none() {
            std::thread::sleep(pause);
            return false;
        }
        let stdin = io::stdin();
        let mut keys = [PollFd::new(&stdin, PollFlags::IN)];
        let pause = Timespec { tv_sec: 0, tv_nsec: i64::from(pause.subsec_nanos()) };
        if !rustix::event::poll(&mut keys, Some(&pause)).is_ok_and(|ready| ready > 0) {
            return false;
        }
        let mut pressed = [0; 16];
        let read = rustix::io::read(&stdin, &mut pressed).unwrap_or(0);
        pressed[..read].contains(&b'q')
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if self.is_terminal {
            print!("\x1b[?25h\x1b[?1049l");
            let _ = io::stdout().flush();
        }
        if let Some(before) = &self.before {
            let _ = termios::tcsetattr(io::stdin(), OptionalActions::Now, before);
        }
    }
}
