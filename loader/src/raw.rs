//! What libbpf-rs does not have, for objects that are being loaded and attached. Unsafe code is here and in `attempt`, in no
//! other file.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use libbpf_rs::{AsRawLibbpf, OpenProgramMut, ProgramMut};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// A file of the kernel's, whole. Where it can be mapped it is (types since Linux 6.16, privately only), for reading gives a page
/// at a time.
pub(crate) fn read(path: &Path) -> io::Result<Arc<dyn AsRef<[u8]> + Send + Sync>> {
    let file = std::fs::File::open(path)?;
    // SAFETY: what the kernel shows of itself under /sys does not change.
    match unsafe { memmap2::MmapOptions::new().populate().map_copy_read_only(&file) } {
        Ok(map) => Ok(Arc::new(map)),
        Err(_) => Ok(Arc::new(std::fs::read(path)?)),
    }
}

/// Gives a program a buffer for the verifier's log.
pub(crate) fn set_log(program: &mut OpenProgramMut<'_>, log: &mut [u8]) {
    let size = log.len() as libbpf_sys::size_t;
    // SAFETY: the caller keeps the buffer until the object was loaded, or was not.
    unsafe { libbpf_sys::bpf_program__set_log_buf(program.as_libbpf_object().as_ptr(), log.as_mut_ptr().cast(), size) };
}

/// A program that is attached to a control group without a link, as kernels before 5.7 do it. It is detached with this
/// value; a process that is killed leaves it attached.
#[derive(Debug)]
pub(crate) struct CgroupAttachment {
    program: OwnedFd,
    cgroup: OwnedFd,
    attach_type: u32,
}

impl CgroupAttachment {
    /// Attaches, beside others that are attached there (`BPF_F_ALLOW_MULTI`, Linux 4.15).
    pub(crate) fn new(program: &ProgramMut<'_>, cgroup: BorrowedFd<'_>) -> io::Result<CgroupAttachment> {
        let (owned, cgroup) = (program.as_fd().try_clone_to_owned()?, cgroup.try_clone_to_owned()?);
        let attach_type = program.attach_type() as u32;
        let (fd, at) = (owned.as_raw_fd(), cgroup.as_raw_fd());
        // SAFETY: both descriptors are open for as long as `owned` and `cgroup` live.
        match unsafe { libbpf_sys::bpf_prog_attach(fd, at, attach_type, libbpf_sys::BPF_F_ALLOW_MULTI) } {
            0 => Ok(CgroupAttachment { program: owned, cgroup, attach_type }),
            error => Err(io::Error::from_raw_os_error(-error)),
        }
    }
}

impl Drop for CgroupAttachment {
    fn drop(&mut self) {
        let (fd, at) = (self.program.as_raw_fd(), self.cgroup.as_raw_fd());
        // SAFETY: both descriptors are open.
        let _ = unsafe { libbpf_sys::bpf_prog_detach2(fd, at, self.attach_type) };
    }
}

/// Part of a map's memory, which programs write to while it is read: it is copied, a word at a time.
pub(crate) struct Window {
    map: memmap2::MmapRaw,
}

impl Window {
    /// Shows the map's bytes from `at` on.
    pub(crate) fn new(map: BorrowedFd<'_>, at: usize, len: usize) -> io::Result<Window> {
        let map = memmap2::MmapOptions::new().offset(at as u64).len(len).map_raw_read_only(map.as_raw_fd())?;
        Ok(Window { map })
    }

    /// Copies words of eight bytes, from `at` on.
    pub(crate) fn words(&self, at: usize, words: &mut [u64]) {
        assert!(at.is_multiple_of(8) && at + words.len() * 8 <= self.map.len(), "inside of the window");
        for (index, word) in words.iter_mut().enumerate() {
            // SAFETY: it is inside of the mapping, which begins at a page and at a word of the map.
            let place = unsafe { self.map.as_ptr().add(at + index * 8).cast::<AtomicU64>() };
            // SAFETY: the same; whatever is written there meanwhile, words are whole.
            *word = unsafe { &*place }.load(Ordering::Acquire);
        }
    }

    /// Copies bytes, whole words, from `at` on.
    pub(crate) fn bytes(&self, at: usize, bytes: &mut [u8]) {
        assert!(at.is_multiple_of(8) && at + bytes.len() <= self.map.len(), "inside of the window");
        for (index, bytes) in bytes.chunks_exact_mut(8).enumerate() {
            // SAFETY: as above.
            let place = unsafe { self.map.as_ptr().add(at + index * 8).cast::<AtomicU64>() };
            // SAFETY: as above.
            let word = unsafe { &*place }.load(Ordering::Acquire);
            bytes.copy_from_slice(&word.to_ne_bytes());
        }
    }
}

/// Waits until one of these descriptors of libbpf's can be read, or a signal comes. Gives whether one can.
pub(crate) fn wait(descriptors: &[i32], timeout: Duration) -> io::Result<bool> {
    // SAFETY: the caller has the buffers that these descriptors belong to.
    let borrowed: Vec<_> = descriptors.iter().map(|&fd| unsafe { BorrowedFd::borrow_raw(fd) }).collect();
    let mut all: Vec<PollFd<'_>> = borrowed.iter().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
    let timeout = Timespec::try_from(timeout).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 });
    match poll(&mut all, Some(&timeout)) {
        Ok(ready) => Ok(ready > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Gives memory that was freed back to the system, where the C library keeps it: planning and loading take megabytes for a moment,
/// and an agent then runs for months.
pub fn give_memory_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it touches nothing that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
}
