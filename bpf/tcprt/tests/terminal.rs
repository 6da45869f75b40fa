//! The live view on a terminal: a pseudo terminal, with requests on loopback. As root, with `setsid` of util-linux.

mod support;

#[path = "support/screen.rs"]
mod screen;

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::OpenptFlags;
use rustix::termios::{self, LocalModes, Termios, Winsize};
use screen::Screen;
use support::{ask, may_load, serve, skip};

/// How long anything may take to be on the screen.
const PATIENCE: Duration = Duration::from_secs(20);

/// The program on a terminal of its own.
struct Terminal {
    child: Child,
    master: File,
    /// What the program has for its input and outputs; the terminal's modes are seen by it.
    slave: OwnedFd,
    screen: Arc<Mutex<Screen>>,
    before: Termios,
}

fn size(width: u16, height: u16) -> Winsize {
    Winsize { ws_row: height, ws_col: width, ws_xpixel: 0, ws_ypixel: 0 }
}

impl Terminal {
    /// `None`, said, where there are no pseudo terminals.
    fn run(args: &[&str], width: u16, height: u16) -> Option<Terminal> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = match rustix::pty::openpt(flags) {
            Ok(master) => master,
            Err(error) => {
                skip(&format!("a pseudo terminal: {error}"));
                return None;
            }
        };
        rustix::pty::grantpt(&master).unwrap();
        rustix::pty::unlockpt(&master).unwrap();
        let name = rustix::pty::ptsname(&master, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let slave = rustix::fs::open(name.as_c_str(), flags, Mode::empty()).unwrap();
        termios::tcsetwinsize(&slave, size(width, height)).unwrap();
        let before = termios::tcgetattr(&slave).unwrap();
        // its keys are signals to it: the terminal is its controlling one. No process is made for that here: it is no group's leader
        let mut command = Command::new("setsid");
        command.args(["--ctty", env!("CARGO_BIN_EXE_tcprt")]).args(args).env_remove("LCC_BTF");
        let end = || slave.try_clone().unwrap();
        command.stdin(end()).stdout(end()).stderr(end());
        let child = command.spawn().unwrap();
        let master = File::from(master);
        let screen = Arc::new(Mutex::new(Screen::new(width.into(), height.into())));
        let (mut reads, shown) = (master.try_clone().unwrap(), Arc::clone(&screen));
        thread::spawn(move || {
            let mut bytes = [0; 65_536];
            // EIO when nobody has the other end anymore
            while let Ok(read @ 1..) = reads.read(&mut bytes) {
                let text = std::str::from_utf8(&bytes[..read]).expect("all that is written is ASCII");
                shown.lock().unwrap_or_else(PoisonError::into_inner).write(text);
            }
        });
        Some(Terminal { child, master, slave, screen, before })
    }

    fn screen(&self) -> Screen {
        self.screen.lock().unwrap().clone()
    }

    #[track_caller]
    fn wait_for(&self, what: &str, is_there: impl Fn(&Screen) -> bool) -> Screen {
        let end = Instant::now() + PATIENCE;
        loop {
            let screen = self.screen();
            if is_there(&screen) {
                return screen;
            }
            assert!(Instant::now() < end, "{what} is not to be seen: {screen:#?}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn resize(&self, width: u16, height: u16) {
        self.screen.lock().unwrap().resize(width.into(), height.into());
        termios::tcsetwinsize(&self.slave, size(width, height)).unwrap();
    }

    fn press(&mut self, key: u8) {
        self.master.write_all(&[key]).unwrap();
    }

    /// It has ended by itself, and the terminal is as it was.
    #[track_caller]
    fn check_end(mut self) {
        let end = Instant::now() + PATIENCE;
        let status = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break status,
                None if Instant::now() > end => {
                    self.child.kill().unwrap();
                    panic!("it does not end: {:#?}", self.screen());
                }
                None => thread::sleep(Duration::from_millis(20)),
            }
        };
        assert_eq!(status.code(), Some(0), "{:#?}", self.screen());
        let screen = self.wait_for("the shell's screen", |screen| !screen.is_alternate);
        assert!(screen.is_cursor_shown && screen.unknown.is_empty(), "{screen:#?}");
        let after = termios::tcgetattr(&self.slave).unwrap();
        assert_eq!(format!("{after:?}"), format!("{:?}", self.before));
    }
}

const FULL: (u16, u16) = (100, 20);

/// The view of a server that is asked, with the server's port.
fn view() -> Option<(Terminal, u16)> {
    if !may_load() {
        return None;
    }
    let server = serve();
    let port = server.port().to_string();
    let args = ["top", "--lport", &port, "--interval", "0.2", "--window", "50"];
    let terminal = Terminal::run(&args, FULL.0, FULL.1)?;
    let attached = terminal.wait_for("the view", |screen| screen.lines()[0].contains(" tasks/s"));
    assert!(attached.is_alternate && !attached.is_cursor_shown, "{attached:#?}");
    ask(server, &["/1", "/10", "/1"]);
    Some((terminal, server.port()))
}

fn has_port(screen: &Screen, port: u16) -> bool {
    screen.lines().iter().any(|line| line.starts_with(&format!(":{port} server")))
}

#[test]
fn root_a_terminal_shows_the_view_and_q_ends_it() {
    let Some((mut terminal, port)) = view() else { return };
    let screen = terminal.wait_for("the server", |screen| has_port(screen, port));
    let lines = screen.lines();
    assert!(lines[0].starts_with("tcprt  ") && lines[0].contains(" UTC   last "), "{lines:#?}");
    assert_eq!(lines[1], "");
    assert!(lines[2].starts_with("PORT ") && lines[2].ends_with(" RTT"), "{lines:#?}");
    let quantiles: Vec<_> = lines[3..6].iter().map(|line| line.get(36..39).unwrap_or_default()).collect();
    assert_eq!(quantiles, ["p50", "p95", "p99"], "{lines:#?}");
    assert!(lines[6..].iter().all(String::is_empty), "nothing is left of what was there before: {lines:#?}");
    // keys come at once and are not shown
    let modes = termios::tcgetattr(&terminal.slave).unwrap().local_modes;
    assert!(!modes.intersects(LocalModes::ICANON | LocalModes::ECHO) && modes.contains(LocalModes::ISIG), "{modes:?}");
    // other keys do nothing
    terminal.press(b'x');
    // nor does the one that would stop it with the view on the screen
    terminal.press(0x1a);
    thread::sleep(Duration::from_millis(500));
    assert!(terminal.child.try_wait().unwrap().is_none() && terminal.screen().is_alternate);
    terminal.press(b'q');
    terminal.check_end();
}

#[test]
fn root_a_terminal_of_another_size_shows_what_fits() {
    let Some((terminal, port)) = view() else { return };
    terminal.wait_for("the server", |screen| has_port(screen, port));
    // no room for the port's three lines
    terminal.resize(50, 5);
    let screen = terminal.wait_for("what fits", |screen| screen.lines().iter().any(|line| line == "1 more port"));
    let lines = screen.lines();
    assert!(
        lines[0].starts_with("tcprt  ") && lines[0].chars().count() <= 50,
        "no line went on in the next: {lines:#?}"
    );
    assert_eq!((lines.len(), lines[3].as_str(), lines[4].as_str()), (5, "1 more port", ""), "{lines:#?}");
    terminal.resize(FULL.0, FULL.1);
    let screen = terminal.wait_for("the server again", |screen| has_port(screen, port));
    assert!(screen.lines()[6..].iter().all(String::is_empty), "{:#?}", screen.lines());
    kill_process(Pid::from_child(&terminal.child), Signal::TERM).unwrap();
    terminal.check_end();
}

#[test]
fn root_control_c_ends_the_view() {
    let Some((mut terminal, _)) = view() else { return };
    // as a signal: it is no key of the view's
    terminal.press(0x03);
    terminal.check_end();
}

#[test]
fn root_what_cannot_be_attached_leaves_the_terminal_alone() {
    if !may_load() {
        return;
    }
    let Some(mut terminal) = Terminal::run(&["top", "--btf", "/nonexistent"], FULL.0, FULL.1) else { return };
    let screen = terminal.wait_for("the error", |screen| screen.lines()[0].starts_with("tcprt: "));
    assert!(!screen.is_alternate && screen.is_cursor_shown && screen.unknown.is_empty(), "{screen:#?}");
    assert_eq!(terminal.child.wait().unwrap().code(), Some(2));
    let after = termios::tcgetattr(&terminal.slave).unwrap();
    assert_eq!(format!("{after:?}"), format!("{:?}", terminal.before));
}
