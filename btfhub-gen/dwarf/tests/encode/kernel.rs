//! The judge: the running kernel, asked by BPF_BTF_LOAD.

use crate::encoded::{encode, options};
use crate::fixture::build;
use crate::fixtures::FIXTURES;
use crate::toolchain::{is_root, skip};

/// `BPF_BTF_LOAD` (include/uapi/linux/bpf.h).
const BPF_BTF_LOAD: libc::c_int = 18;
const LOG_SIZE: usize = 1 << 16;

/// The part of `union bpf_attr` that BPF_BTF_LOAD reads.
#[repr(C)]
struct Attributes {
    btf: u64,
    log: u64,
    btf_size: u32,
    log_size: u32,
    log_level: u32,
}

/// What the kernel says against this BTF; nothing where it takes it.
fn load(btf: &[u8]) -> Result<(), String> {
    let call = |log: &mut [u8], level: u32| {
        let attributes = Attributes {
            btf: btf.as_ptr() as u64,
            log: if level == 0 { 0 } else { log.as_mut_ptr() as u64 },
            btf_size: btf.len() as u32,
            log_size: if level == 0 { 0 } else { log.len() as u32 },
            log_level: level,
        };
        // SAFETY: the attributes point to buffers of the given sizes, which outlive the call.
        let fd = unsafe { libc::syscall(libc::SYS_bpf, BPF_BTF_LOAD, &raw const attributes, size_of::<Attributes>()) };
        if fd < 0 {
            return Err(std::io::Error::last_os_error());
        }
        // SAFETY: the kernel just gave this file descriptor to us, and nobody else has it.
        unsafe { libc::close(fd as libc::c_int) };
        Ok(())
    };
    let mut log = vec![0; LOG_SIZE];
    call(&mut log, 0).map_err(|error| {
        let _ = call(&mut log, 1);
        let end = log.iter().position(|&byte| byte == 0).unwrap_or(log.len());
        let start = end.saturating_sub(300);
        format!("{error}: …{}", String::from_utf8_lossy(&log[start..end]))
    })
}

/// The running kernel must take this BTF, where it can be asked.
pub(crate) fn check_accepted(btf: &[u8]) {
    if is_root() {
        load(btf).unwrap();
    }
}

#[test]
fn root_the_running_kernel_accepts_every_fixture() {
    if !is_root() {
        return skip("not root: loading BTF needs it");
    }
    let mut loaded = 0;
    for fixture in FIXTURES.iter().filter(|fixture| fixture.kernel) {
        let Some(built) = build(fixture.steps) else { continue };
        let output = encode(&built.input(), &options()).unwrap();
        load(&output.btf).unwrap_or_else(|reason| panic!("{}: {reason}", fixture.name));
        loaded += 1;
    }
    assert!(loaded > 0);
}

#[test]
fn root_the_running_kernel_refuses_what_is_broken() {
    if !is_root() {
        return skip("not root: loading BTF needs it");
    }
    let Some(built) = build(&["gcc -g -c {src}/types.c -o out"]) else { return };
    let mut btf = encode(&built.input(), &options()).unwrap().btf;
    let middle = btf.len() / 2;
    btf[middle..].fill(0xff);
    load(&btf).unwrap_err();
}
