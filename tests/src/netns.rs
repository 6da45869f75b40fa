//! Network namespaces: hosts of one kernel. They have no name, so that nothing of them is left when a test is killed.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;

use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

/// A network namespace, there as long as this or what was made inside of it. Its loopback is up.
#[derive(Debug)]
pub struct Namespace {
    file: File,
}

impl Namespace {
    /// A new one.
    ///
    /// # Panics
    /// Not root, or the kernel has no network namespaces.
    #[expect(clippy::new_without_default, reason = "it makes a thing of the kernel")]
    pub fn new() -> Self {
        let made = thread::spawn(|| {
            // SAFETY: no file descriptors are shared or taken apart by this flag: only the thread's network changes, and the
            // thread ends here.
            unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.expect("a network namespace");
            File::open("/proc/thread-self/ns/net").expect("the namespace's file")
        });
        let namespace = Namespace { file: made.join().expect("a namespace") };
        namespace.run(Command::new("ip").args(["link", "set", "lo", "up"]));
        namespace
    }

    /// Its file, as long as this is there: where `ip` takes a namespace's name.
    pub fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd()).into()
    }

    /// Calls `act` on a thread that is in the namespace: sockets and processes that it makes are there too.
    ///
    /// # Panics
    /// `act` does, or the namespace cannot be entered.
    pub fn inside<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                move_into_link_name_space(self.file.as_fd(), Some(LinkNameSpaceType::Network)).expect("entering");
                act()
            });
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Runs a program in the namespace to its end, quietly.
    ///
    /// # Panics
    /// It cannot be started, or fails: with what it said.
    pub fn run(&self, command: &mut Command) {
        let output = self.inside(|| command.stdin(Stdio::null()).output());
        let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
