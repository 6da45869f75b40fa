//! Which programs may call which helpers, as far as it never differed between kernels that have the helper.
//!
//! The kernel decides by program type, in a function for each (`kernel/bpf/helpers.c`, `bpf_base_func_proto`;
//! `kernel/trace/bpf_trace.c`, `bpf_tracing_func_proto`; `net/core/filter.c`). No type or symbol tells of it, so that what is
//! not in these lists is not known without trying it out.

/// For programs of every type: maps, time, random numbers, the processor's number, tail calls, loops, the ring buffer.
const EVERYONE: &[u32] = &[1, 2, 3, 5, 7, 8, 12, 87, 88, 89, 118, 125, 130, 131, 132, 133, 134, 164, 181, 208];

/// Programs that look at the kernel: kprobes, uprobes, tracepoints of all kinds, fentry, performance events.
const TRACING: &[&str] =
    &["KPROBE", "TRACEPOINT", "PERF_EVENT", "RAW_TRACEPOINT", "RAW_TRACEPOINT_WRITABLE", "TRACING"];

/// For these: reading memory, `trace_printk`, the current task and its user and name, events and stacks, signals.
const FOR_TRACING: &[u32] = &[4, 6, 14, 15, 16, 22, 25, 27, 35, 37, 42, 45, 67, 80, 109, 112, 113, 114, 115, 158];

/// Programs that are given a packet.
const PACKETS: &[&str] = &["SOCKET_FILTER", "SCHED_CLS", "SCHED_ACT", "CGROUP_SKB"];

/// For these: the packet's bytes, the socket's cookie and user.
const FOR_PACKETS: &[u32] = &[26, 46, 47];

/// For programs that are given the kernel's structures: the socket as one of TCP. Since there is such a helper, Linux 5.9, 478cfbdf5f13
/// ("bpf: Add bpf_skc_to_{tcp, tcp_timewait, tcp_request}_sock() helpers").
const FOR_TYPED: &[u32] = &[137];

/// What gives a pointer to a structure that the kernel tells by its own BTF: bpf_skc_to_*(), bpf_get_current_task_btf(),
/// bpf_sock_from_file(), bpf_task_pt_regs().
pub(crate) const GIVES_TYPED: &[u32] = &[136, 137, 138, 139, 140, 158, 162, 175, 178, 196];

/// Whether programs of a type (without `BPF_PROG_TYPE_`) are known to be allowed a helper on every kernel that has it.
pub(crate) fn may_call(prog_type: &str, helper: u32) -> bool {
    EVERYONE.contains(&helper)
        || TRACING.contains(&prog_type) && FOR_TRACING.contains(&helper)
        || prog_type == "TRACING" && FOR_TYPED.contains(&helper)
        || PACKETS.contains(&prog_type) && FOR_PACKETS.contains(&helper)
}

/// The helper that came with a helper's being allowed to programs of a type, where that was later than the helper itself.
pub(crate) fn allowed_with(prog_type: &str, helper: u32) -> Option<u32> {
    came_with(helper).filter(|_| prog_type == "TRACING")
}

/// That helper, for programs of whichever type.
pub(crate) fn came_with(helper: u32) -> Option<u32> {
    // sk_storage_get, sk_storage_delete; task_storage_get: Linux 5.11, 8e4597c627fb ("bpf: Allow using bpf_sk_storage_get in
    // FENTRY/FEXIT/RAW_TP")
    [107, 108].contains(&helper).then_some(156)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_no_list_is_not_known() {
        assert!(may_call("XDP", 1) && may_call("KPROBE", 14) && may_call("SCHED_CLS", 26) && may_call("TRACING", 137));
        // bpf_get_current_pid_tgid(), bpf_skb_load_bytes(), bpf_skc_to_tcp_sock()
        assert!(!may_call("XDP", 14) && !may_call("KPROBE", 26) && !may_call("KPROBE", 137));
    }
}
