//! Features that only an attempt tells of. Unsafe code: calls of libbpf that libbpf-rs does not have.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::null;

use btf::{Btf, Kind};
use plan::Answer;

const MOV_R0_0: u64 = 0xb7;
const EXIT: u64 = 0x95;
/// `r1 = ((struct __sk_buff *)r1)->sk`
const SOCKET: u64 = 0xa8_1179;
/// `if (!r1)` the next but one
const SKIP_IF_NONE: u64 = 0x1_0115;
/// `bpf_skc_to_tcp_sock(r1)`
const SKC_TO_TCP_SOCK: u64 = 137 << 32 | 0x85;

/// The answer that a system call's result gives.
fn answer(result: i32, doing: &str) -> Answer {
    if result >= 0 {
        // SAFETY: the descriptor was made just now, and nobody else has it.
        drop(unsafe { OwnedFd::from_raw_fd(result) });
        return Answer::Yes;
    }
    let error = io::Error::from_raw_os_error(-result);
    Answer::No(format!("{doing}: {error}"))
}

/// Whether programs can be attached to the entry of kernel functions: one is, for a moment, to a function that the kernel
/// has for tests.
pub(crate) fn fentry(types: &Btf<'_>) -> Answer {
    let (kind, attach) = (libbpf_sys::BPF_PROG_TYPE_TRACING, libbpf_sys::BPF_TRACE_FENTRY);
    attached(load(kind, attach, types, "bpf_fentry_test1"), "attaching an fentry program")
}

/// Whether programs for hooks of the security modules can be loaded and attached: arm64 has had what attaches them since 6.4 only, and
/// loads them before. The one that is tried allows what it is asked.
pub(crate) fn lsm(types: &Btf<'_>) -> Answer {
    let (kind, attach) = (libbpf_sys::BPF_PROG_TYPE_LSM, libbpf_sys::BPF_LSM_MAC);
    attached(load(kind, attach, types, "bpf_lsm_file_open"), "attaching a program to a hook of the security modules")
}

/// Whether a program, if it was loaded, can be attached to what it was loaded for. It does not stay.
fn attached(program: Result<OwnedFd, Answer>, what: &str) -> Answer {
    let program = match program {
        Ok(program) => program,
        Err(other) => return other,
    };
    // SAFETY: the descriptor is that of a program.
    let attached = unsafe { libbpf_sys::bpf_raw_tracepoint_open(null(), program.as_raw_fd()) };
    answer(attached, what)
}

/// Whether the verifier knows the types of what helpers give, by the BTF that is in the kernel's image: also where nobody can read that.
/// Since Linux 5.9, which brought the helper that it is tried with.
pub(crate) fn typed_helpers() -> Answer {
    let program = [SOCKET, SKIP_IF_NONE, SKC_TO_TCP_SOCK, MOV_R0_0, EXIT];
    match load_for(libbpf_sys::BPF_PROG_TYPE_CGROUP_SKB, libbpf_sys::BPF_CGROUP_INET_EGRESS, 0, &program) {
        Ok(_) => Answer::Yes,
        Err(other) => other,
    }
}

/// Loads a program for a function that the kernel's BTF has.
fn load(kind: u32, attach: u32, types: &Btf<'_>, function: &str) -> Result<OwnedFd, Answer> {
    match types.find(function, Kind::Func).next() {
        Some(id) => load_for(kind, attach, id.0, &[MOV_R0_0, EXIT]),
        None => Err(Answer::Unknown(format!("the kernel's BTF has no {function} to try it on"))),
    }
}

/// Loads a program, for a function of the kernel's by its BTF or for none.
fn load_for(kind: u32, attach: u32, attach_btf_id: u32, program: &[u64]) -> Result<OwnedFd, Answer> {
    let mut options = libbpf_sys::bpf_prog_load_opts {
        sz: size_of::<libbpf_sys::bpf_prog_load_opts>() as libbpf_sys::size_t,
        expected_attach_type: attach,
        attach_btf_id,
        ..Default::default()
    };
    // SAFETY: names are terminated; an instruction has eight bytes, in the byte order of this machine, as the kernel has it.
    let loaded = unsafe {
        libbpf_sys::bpf_prog_load(
            kind,
            c"lcc_attempt".as_ptr(),
            c"GPL".as_ptr(),
            program.as_ptr().cast(),
            program.len() as libbpf_sys::size_t,
            &mut options,
        )
    };
    if loaded < 0 {
        return Err(answer(loaded, "loading such a program"));
    }
    // SAFETY: the descriptor was made just now, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(loaded) })
}

/// Whether a map can be frozen, as that of global variables is.
pub(crate) fn global_data() -> Answer {
    // SAFETY: the name is terminated.
    let map =
        unsafe { libbpf_sys::bpf_map_create(libbpf_sys::BPF_MAP_TYPE_ARRAY, c"lcc_attempt".as_ptr(), 4, 4, 1, null()) };
    if map < 0 {
        return match answer(map, "making a map") {
            Answer::No(why) => Answer::Unknown(why),
            other => other,
        };
    }
    // SAFETY: the descriptor is that of a map.
    let frozen = unsafe { libbpf_sys::bpf_map_freeze(map) };
    let _ = answer(map, "");
    if frozen == 0 { Answer::Yes } else { answer(frozen, "freezing a map") }
}

/// Whether an array map's memory can be shown to user space.
pub(crate) fn shown_array() -> bool {
    let options = libbpf_sys::bpf_map_create_opts {
        sz: size_of::<libbpf_sys::bpf_map_create_opts>() as libbpf_sys::size_t,
        map_flags: libbpf_sys::BPF_F_MMAPABLE,
        ..Default::default()
    };
    // SAFETY: the name is terminated.
    let map = unsafe {
        libbpf_sys::bpf_map_create(libbpf_sys::BPF_MAP_TYPE_ARRAY, c"lcc_attempt".as_ptr(), 4, 8, 1, &options)
    };
    answer(map, "") == Answer::Yes
}

/// Whether the kernel has a map type.
pub(crate) fn map_type(number: u32) -> Answer {
    // SAFETY: no options.
    match unsafe { libbpf_sys::libbpf_probe_bpf_map_type(number, null()) } {
        1 => Answer::Yes,
        0 => Answer::No("the kernel refuses to make such a map".to_owned()),
        error => Answer::Unknown(io::Error::from_raw_os_error(-error).to_string()),
    }
}

/// Whether programs of a type may call a helper.
pub(crate) fn helper(prog_type: u32, number: u32) -> Answer {
    // SAFETY: no options.
    match unsafe { libbpf_sys::libbpf_probe_bpf_helper(prog_type, number, null()) } {
        1 => Answer::Yes,
        0 => Answer::No("the verifier does not let such a program call it".to_owned()),
        error => Answer::Unknown(io::Error::from_raw_os_error(-error).to_string()),
    }
}

/// The kernel's number of a program type, by its name without `BPF_PROG_TYPE_`.
pub(crate) fn prog_type(name: &str) -> Option<u32> {
    use libbpf_sys as sys;
    Some(match name {
        "SOCKET_FILTER" => sys::BPF_PROG_TYPE_SOCKET_FILTER,
        "KPROBE" => sys::BPF_PROG_TYPE_KPROBE,
        "SCHED_CLS" => sys::BPF_PROG_TYPE_SCHED_CLS,
        "SCHED_ACT" => sys::BPF_PROG_TYPE_SCHED_ACT,
        "TRACEPOINT" => sys::BPF_PROG_TYPE_TRACEPOINT,
        "XDP" => sys::BPF_PROG_TYPE_XDP,
        "PERF_EVENT" => sys::BPF_PROG_TYPE_PERF_EVENT,
        "CGROUP_SKB" => sys::BPF_PROG_TYPE_CGROUP_SKB,
        "CGROUP_SOCK" => sys::BPF_PROG_TYPE_CGROUP_SOCK,
        "SOCK_OPS" => sys::BPF_PROG_TYPE_SOCK_OPS,
        "SK_SKB" => sys::BPF_PROG_TYPE_SK_SKB,
        "SK_MSG" => sys::BPF_PROG_TYPE_SK_MSG,
        "RAW_TRACEPOINT" => sys::BPF_PROG_TYPE_RAW_TRACEPOINT,
        "CGROUP_SOCK_ADDR" => sys::BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
        "CGROUP_SOCKOPT" => sys::BPF_PROG_TYPE_CGROUP_SOCKOPT,
        // libbpf does not try helpers of tracing programs, for want of something to attach to
        _ => return None,
    })
}
