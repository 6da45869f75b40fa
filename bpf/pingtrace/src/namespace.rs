//! Network namespaces: which one this process is in, and another one to go into.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use anyhow::{Context, Result};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Inode number of this process's network namespace; 0 where there are none.
pub(crate) fn inum() -> u32 {
    std::fs::metadata("/proc/self/ns/net").map_or(0, |meta| meta.ino() as u32)
}

/// Goes into a network namespace: a name of `ip netns`, a process's, or a file's.
pub(crate) fn enter(what: &str) -> Result<()> {
    let path = match what {
        file if file.contains('/') => PathBuf::from(file),
        process if process.parse::<u32>().is_ok() => PathBuf::from(format!("/proc/{process}/ns/net")),
        name => PathBuf::from("/run/netns").join(name),
    };
    let file = File::open(&path).with_context(|| format!("network namespace {}", path.display()))?;
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
        .with_context(|| format!("going into the network namespace {}", path.display()))
}
