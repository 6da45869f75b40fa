//! What the common helpers write to memory they are given, so that a call does not make all of the stack unknown.
//!
//! Source: the documentation of `enum bpf_func_id` in `include/uapi/linux/bpf.h`, and the argument types of each helper's
//! `struct bpf_func_proto` (`ARG_PTR_TO_UNINIT_MEM` is written). The numbers never change.

/// What a helper writes through its arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writes {
    /// Nothing.
    Nothing,
    /// As many bytes as register `size` says, to where register `pointer` points.
    Buffer {
        /// Number of the register.
        pointer: u8,
        /// Number of the register.
        size: u8,
    },
    /// Any number of bytes from each pointer on.
    Anything,
}

/// What the helper with this number writes.
pub(super) fn writes(helper: i32) -> Writes {
    let buffer = |pointer, size| Writes::Buffer { pointer, size };
    match helper {
        // map_lookup_elem, map_update_elem, map_delete_elem
        1..=3
        // ktime_get_ns, trace_printk, get_prandom_u32, get_smp_processor_id
        | 5..=8
        // tail_call, clone_redirect, get_current_pid_tgid, get_current_uid_gid
        | 12..=15
        // perf_event_output, get_stackid, get_current_task, get_socket_cookie
        | 25 | 27 | 35 | 46
        // get_current_cgroup_id, ktime_get_boot_ns
        | 80 | 125
        // ringbuf_output, ringbuf_reserve, ringbuf_submit, ringbuf_discard, ringbuf_query
        | 130..=134
        // get_current_task_btf
        | 158 => Writes::Nothing,
        // probe_read, get_current_comm, probe_read_str
        4 | 16 | 45 => buffer(1, 2),
        // skb_load_bytes
        26 => buffer(3, 4),
        // get_stack
        67 => buffer(2, 3),
        // probe_read_user, probe_read_kernel, probe_read_user_str, probe_read_kernel_str, copy_from_user
        112..=115 | 148 => buffer(1, 2),
        _ => Writes::Anything,
    }
}
