//! What a program's section says of it: `SEC("fentry/tcp_ack")` is a tracing program for the entry of `tcp_ack`.
//!
//! The names are libbpf's (`Documentation/bpf/libbpf/program_types.rst`), those of the enumerators the kernel's
//! (`include/uapi/linux/bpf.h`).

/// How a program is attached, as far as it decides what the kernel must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Attach {
    /// To the entry or return of a kernel function, by a breakpoint or ftrace.
    Kprobe,
    /// The same, to many functions at once (Linux 5.18).
    KprobeMulti,
    /// To a place in a user's file.
    Uprobe,
    /// The same, to many places at once (Linux 6.6).
    UprobeMulti,
    /// To a static probe in a user's file.
    Usdt,
    /// To the kernel's implementation of a system call.
    Syscall,
    /// To a tracepoint, `category/name`, with its record.
    Tracepoint,
    /// To a tracepoint, with its arguments.
    RawTracepoint,
    /// To a tracepoint, with its arguments as BTF describes them.
    BtfTracepoint,
    /// To the entry or return of a kernel function, with its arguments as BTF describes them.
    Function,
    /// To a hook of the security modules.
    Lsm,
    /// To an iterator over kernel objects.
    Iterator,
    /// In place of a structure's function pointers.
    StructOps,
    /// In place of a function of another BPF program.
    Extension,
    /// To a control group.
    Cgroup,
    /// To a network device or namespace, a socket, or nothing at all: nothing more is named by the section.
    Other,
}

/// What a section's name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SectionKind<'s> {
    /// Enumerator of `enum bpf_prog_type`, without its prefix `BPF_PROG_TYPE_`.
    pub prog_type: &'static str,
    /// Enumerator of `enum bpf_attach_type`, without its prefix `BPF_`, where the kernel is told one.
    pub attach_type: Option<&'static str>,
    /// How it is attached.
    pub attach: Attach,
    /// What it is attached to: what comes after the first slash.
    pub target: Option<&'s str>,
    /// Whether it may sleep (`.s`).
    pub sleepable: bool,
}

type Row = (&'static str, &'static str, Option<&'static str>, Attach);

/// Sections whose name is followed by a target, or ends there.
#[rustfmt::skip]
const TARGETED: &[Row] = &[
    ("kprobe", "KPROBE", None, Attach::Kprobe),
    ("kretprobe", "KPROBE", None, Attach::Kprobe),
    ("kprobe.multi", "KPROBE", Some("TRACE_KPROBE_MULTI"), Attach::KprobeMulti),
    ("kretprobe.multi", "KPROBE", Some("TRACE_KPROBE_MULTI"), Attach::KprobeMulti),
    ("kprobe.session", "KPROBE", Some("TRACE_KPROBE_SESSION"), Attach::KprobeMulti),
    ("uprobe", "KPROBE", None, Attach::Uprobe),
    ("uprobe.s", "KPROBE", None, Attach::Uprobe),
    ("uretprobe", "KPROBE", None, Attach::Uprobe),
    ("uretprobe.s", "KPROBE", None, Attach::Uprobe),
    ("uprobe.multi", "KPROBE", Some("TRACE_UPROBE_MULTI"), Attach::UprobeMulti),
    ("uretprobe.multi", "KPROBE", Some("TRACE_UPROBE_MULTI"), Attach::UprobeMulti),
    ("uprobe.multi.s", "KPROBE", Some("TRACE_UPROBE_MULTI"), Attach::UprobeMulti),
    ("uretprobe.multi.s", "KPROBE", Some("TRACE_UPROBE_MULTI"), Attach::UprobeMulti),
    ("uprobe.session", "KPROBE", Some("TRACE_UPROBE_SESSION"), Attach::UprobeMulti),
    ("uprobe.session.s", "KPROBE", Some("TRACE_UPROBE_SESSION"), Attach::UprobeMulti),
    ("usdt", "KPROBE", None, Attach::Usdt),
    ("usdt.s", "KPROBE", None, Attach::Usdt),
    ("ksyscall", "KPROBE", None, Attach::Syscall),
    ("kretsyscall", "KPROBE", None, Attach::Syscall),
    ("tracepoint", "TRACEPOINT", None, Attach::Tracepoint),
    ("tp", "TRACEPOINT", None, Attach::Tracepoint),
    ("raw_tracepoint", "RAW_TRACEPOINT", None, Attach::RawTracepoint),
    ("raw_tp", "RAW_TRACEPOINT", None, Attach::RawTracepoint),
    ("raw_tracepoint.w", "RAW_TRACEPOINT_WRITABLE", None, Attach::RawTracepoint),
    ("raw_tp.w", "RAW_TRACEPOINT_WRITABLE", None, Attach::RawTracepoint),
    ("tp_btf", "TRACING", Some("TRACE_RAW_TP"), Attach::BtfTracepoint),
    ("fentry", "TRACING", Some("TRACE_FENTRY"), Attach::Function),
    ("fentry.s", "TRACING", Some("TRACE_FENTRY"), Attach::Function),
    ("fexit", "TRACING", Some("TRACE_FEXIT"), Attach::Function),
    ("fexit.s", "TRACING", Some("TRACE_FEXIT"), Attach::Function),
    ("fmod_ret", "TRACING", Some("MODIFY_RETURN"), Attach::Function),
    ("fmod_ret.s", "TRACING", Some("MODIFY_RETURN"), Attach::Function),
    ("freplace", "EXT", None, Attach::Extension),
    ("lsm", "LSM", Some("LSM_MAC"), Attach::Lsm),
    ("lsm.s", "LSM", Some("LSM_MAC"), Attach::Lsm),
    ("lsm_cgroup", "LSM", Some("LSM_CGROUP"), Attach::Lsm),
    ("iter", "TRACING", Some("TRACE_ITER"), Attach::Iterator),
    ("iter.s", "TRACING", Some("TRACE_ITER"), Attach::Iterator),
    ("struct_ops", "STRUCT_OPS", None, Attach::StructOps),
    ("struct_ops.s", "STRUCT_OPS", None, Attach::StructOps),
];

/// Sections whose whole name is the kind.
#[rustfmt::skip]
const WHOLE: &[Row] = &[
    ("socket", "SOCKET_FILTER", None, Attach::Other),
    ("sk_reuseport", "SK_REUSEPORT", Some("SK_REUSEPORT_SELECT"), Attach::Other),
    ("sk_reuseport/migrate", "SK_REUSEPORT", Some("SK_REUSEPORT_SELECT_OR_MIGRATE"), Attach::Other),
    ("tc", "SCHED_CLS", None, Attach::Other),
    ("classifier", "SCHED_CLS", None, Attach::Other),
    ("tc/ingress", "SCHED_CLS", Some("TCX_INGRESS"), Attach::Other),
    ("tc/egress", "SCHED_CLS", Some("TCX_EGRESS"), Attach::Other),
    ("tcx/ingress", "SCHED_CLS", Some("TCX_INGRESS"), Attach::Other),
    ("tcx/egress", "SCHED_CLS", Some("TCX_EGRESS"), Attach::Other),
    ("netkit/primary", "SCHED_CLS", Some("NETKIT_PRIMARY"), Attach::Other),
    ("netkit/peer", "SCHED_CLS", Some("NETKIT_PEER"), Attach::Other),
    ("action", "SCHED_ACT", None, Attach::Other),
    ("syscall", "SYSCALL", None, Attach::Other),
    ("xdp", "XDP", Some("XDP"), Attach::Other),
    ("xdp.frags", "XDP", Some("XDP"), Attach::Other),
    ("xdp/devmap", "XDP", Some("XDP_DEVMAP"), Attach::Other),
    ("xdp.frags/devmap", "XDP", Some("XDP_DEVMAP"), Attach::Other),
    ("xdp/cpumap", "XDP", Some("XDP_CPUMAP"), Attach::Other),
    ("xdp.frags/cpumap", "XDP", Some("XDP_CPUMAP"), Attach::Other),
    ("perf_event", "PERF_EVENT", None, Attach::Other),
    ("lwt_in", "LWT_IN", None, Attach::Other),
    ("lwt_out", "LWT_OUT", None, Attach::Other),
    ("lwt_xmit", "LWT_XMIT", None, Attach::Other),
    ("lwt_seg6local", "LWT_SEG6LOCAL", None, Attach::Other),
    ("sockops", "SOCK_OPS", Some("CGROUP_SOCK_OPS"), Attach::Cgroup),
    ("sk_skb", "SK_SKB", None, Attach::Other),
    ("sk_skb/stream_parser", "SK_SKB", Some("SK_SKB_STREAM_PARSER"), Attach::Other),
    ("sk_skb/stream_verdict", "SK_SKB", Some("SK_SKB_STREAM_VERDICT"), Attach::Other),
    ("sk_skb/verdict", "SK_SKB", Some("SK_SKB_VERDICT"), Attach::Other),
    ("sk_msg", "SK_MSG", Some("SK_MSG_VERDICT"), Attach::Other),
    ("lirc_mode2", "LIRC_MODE2", Some("LIRC_MODE2"), Attach::Other),
    ("flow_dissector", "FLOW_DISSECTOR", Some("FLOW_DISSECTOR"), Attach::Other),
    ("cgroup_skb/ingress", "CGROUP_SKB", Some("CGROUP_INET_INGRESS"), Attach::Cgroup),
    ("cgroup_skb/egress", "CGROUP_SKB", Some("CGROUP_INET_EGRESS"), Attach::Cgroup),
    ("cgroup/skb", "CGROUP_SKB", None, Attach::Cgroup),
    ("cgroup/sock_create", "CGROUP_SOCK", Some("CGROUP_INET_SOCK_CREATE"), Attach::Cgroup),
    ("cgroup/sock_release", "CGROUP_SOCK", Some("CGROUP_INET_SOCK_RELEASE"), Attach::Cgroup),
    ("cgroup/sock", "CGROUP_SOCK", Some("CGROUP_INET_SOCK_CREATE"), Attach::Cgroup),
    ("cgroup/post_bind4", "CGROUP_SOCK", Some("CGROUP_INET4_POST_BIND"), Attach::Cgroup),
    ("cgroup/post_bind6", "CGROUP_SOCK", Some("CGROUP_INET6_POST_BIND"), Attach::Cgroup),
    ("cgroup/dev", "CGROUP_DEVICE", Some("CGROUP_DEVICE"), Attach::Cgroup),
    ("cgroup/sysctl", "CGROUP_SYSCTL", Some("CGROUP_SYSCTL"), Attach::Cgroup),
    ("cgroup/getsockopt", "CGROUP_SOCKOPT", Some("CGROUP_GETSOCKOPT"), Attach::Cgroup),
    ("cgroup/setsockopt", "CGROUP_SOCKOPT", Some("CGROUP_SETSOCKOPT"), Attach::Cgroup),
    ("cgroup/bind4", "CGROUP_SOCK_ADDR", Some("CGROUP_INET4_BIND"), Attach::Cgroup),
    ("cgroup/bind6", "CGROUP_SOCK_ADDR", Some("CGROUP_INET6_BIND"), Attach::Cgroup),
    ("cgroup/connect4", "CGROUP_SOCK_ADDR", Some("CGROUP_INET4_CONNECT"), Attach::Cgroup),
    ("cgroup/connect6", "CGROUP_SOCK_ADDR", Some("CGROUP_INET6_CONNECT"), Attach::Cgroup),
    ("cgroup/connect_unix", "CGROUP_SOCK_ADDR", Some("CGROUP_UNIX_CONNECT"), Attach::Cgroup),
    ("cgroup/sendmsg4", "CGROUP_SOCK_ADDR", Some("CGROUP_UDP4_SENDMSG"), Attach::Cgroup),
    ("cgroup/sendmsg6", "CGROUP_SOCK_ADDR", Some("CGROUP_UDP6_SENDMSG"), Attach::Cgroup),
    ("cgroup/sendmsg_unix", "CGROUP_SOCK_ADDR", Some("CGROUP_UNIX_SENDMSG"), Attach::Cgroup),
    ("cgroup/recvmsg4", "CGROUP_SOCK_ADDR", Some("CGROUP_UDP4_RECVMSG"), Attach::Cgroup),
    ("cgroup/recvmsg6", "CGROUP_SOCK_ADDR", Some("CGROUP_UDP6_RECVMSG"), Attach::Cgroup),
    ("cgroup/recvmsg_unix", "CGROUP_SOCK_ADDR", Some("CGROUP_UNIX_RECVMSG"), Attach::Cgroup),
    ("cgroup/getpeername4", "CGROUP_SOCK_ADDR", Some("CGROUP_INET4_GETPEERNAME"), Attach::Cgroup),
    ("cgroup/getpeername6", "CGROUP_SOCK_ADDR", Some("CGROUP_INET6_GETPEERNAME"), Attach::Cgroup),
    ("cgroup/getpeername_unix", "CGROUP_SOCK_ADDR", Some("CGROUP_UNIX_GETPEERNAME"), Attach::Cgroup),
    ("cgroup/getsockname4", "CGROUP_SOCK_ADDR", Some("CGROUP_INET4_GETSOCKNAME"), Attach::Cgroup),
    ("cgroup/getsockname6", "CGROUP_SOCK_ADDR", Some("CGROUP_INET6_GETSOCKNAME"), Attach::Cgroup),
    ("cgroup/getsockname_unix", "CGROUP_SOCK_ADDR", Some("CGROUP_UNIX_GETSOCKNAME"), Attach::Cgroup),
    ("sk_lookup", "SK_LOOKUP", Some("SK_LOOKUP"), Attach::Other),
    ("netfilter", "NETFILTER", Some("NETFILTER"), Attach::Other),
];

impl<'s> SectionKind<'s> {
    /// What a section's name says; a leading `?` (not to be loaded by default) is of no account. `None` for a name that
    /// libbpf would not know.
    pub fn of(section: &'s str) -> Option<SectionKind<'s>> {
        let section = section.strip_prefix('?').unwrap_or(section);
        let whole = |row: &Row, target| SectionKind {
            prog_type: row.1,
            attach_type: row.2,
            attach: row.3,
            target,
            sleepable: row.0.split('/').next().is_some_and(|kind| kind.ends_with(".s")),
        };
        if let Some(row) = WHOLE.iter().find(|row| row.0 == section) {
            return Some(whole(row, None));
        }
        let (kind, target) = match section.split_once('/') {
            Some((kind, target)) => (kind, Some(target)),
            None => (section, None),
        };
        TARGETED.iter().find(|row| row.0 == kind).map(|row| whole(row, target))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(section: &str, expected: Option<(&str, Option<&str>, Option<&str>, bool)>) {
        let found = SectionKind::of(section);
        assert_eq!(found.map(|kind| (kind.prog_type, kind.attach_type, kind.target, kind.sleepable)), expected);
    }

    #[test]
    fn sections_are_those_of_libbpf() {
        check("fentry/tcp_ack", Some(("TRACING", Some("TRACE_FENTRY"), Some("tcp_ack"), false)));
        check("?kprobe/tcp_ack", Some(("KPROBE", None, Some("tcp_ack"), false)));
        check("lsm.s/file_open", Some(("LSM", Some("LSM_MAC"), Some("file_open"), true)));
        check("tp/sock/inet_sock_set_state", Some(("TRACEPOINT", None, Some("sock/inet_sock_set_state"), false)));
        check("kprobe", Some(("KPROBE", None, None, false)));
        check("xdp.frags/devmap", Some(("XDP", Some("XDP_DEVMAP"), None, false)));
        check("sockops", Some(("SOCK_OPS", Some("CGROUP_SOCK_OPS"), None, false)));
        check("sockops/x", None);
        check("maps", None);
    }
}
