// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Response times of TCP servers and clients, for each task (a request and its response) on each connection, without
 * their help and without knowing their protocol. The group `tcp` has four ways to see the same:
 *
 *	1  fentry, and the tracepoint of a socket's state with BTF's types (Linux 5.5, on arm64 6.0)
 *	2  kprobes, and the same tracepoint without (4.17)
 *	3  kprobes alone (4.10, and RHEL 7's 3.10)
 *	4  the control groups' packets and socket events, where functions cannot be probed (5.5)
 *	5  the same, and the packets' payload: where only requests of HTTP, or only application data of TLS, are tasks (5.11)
 *
 * Known: when data came or went in a SYN (TCP fast open) is not known to 1 to 3, nor of clients to the others.
 */
#include "tcprt/packet.bpf.h"
#include "tcprt/sock.bpf.h"
#include <bpf/bpf_endian.h>
#include <bpf/bpf_tracing.h>

LCC_ONE_OF(tcp, 1) SEC("fentry/tcp_event_data_recv")
int BPF_PROG(receive_fentry, struct sock *sk, const struct sk_buff *skb)
{
	return receive(sk, skb, 1);
}

LCC_ONE_OF(tcp, 1) SEC("fentry/tcp_event_new_data_sent")
int BPF_PROG(send_fentry, struct sock *sk, const struct sk_buff *skb)
{
	return send(sk, skb, 1);
}

LCC_ONE_OF(tcp, 1) SEC("fentry/tcp_ack")
int BPF_PROG(ack_fentry, struct sock *sk, const struct sk_buff *skb)
{
	return acknowledge(sk, skb, 1);
}

LCC_ONE_OF(tcp, 1) SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(state_btf, struct sock *sk, int from, int to)
{
	return change_state(sk, from, to, 1);
}

/*
 * Who reads from a socket: the process that copies what has come. 4.16, 6163849d289b ("net: tcp: add trace event for
 * tcp_rcv_space_adjust"). Sockets that the kernel itself reads from (kTLS, sockmap, NFS) show whoever was interrupted.
 */
LCC_ONE_OF(tcp, 1) SEC("tp_btf/tcp_rcv_space_adjust")
int BPF_PROG(read_btf, struct sock *sk)
{
	return read(sk, 1);
}

/*
 * The end of connections whose end nothing else has told of: at rank 4, of those that are older than their observation and that no
 * segment ends, for the peer is gone; at rank 1, where the kernel left out a program, as it does while the same one is interrupted
 * on its processor. 4.16, e1a4aa50f4ae ("tcp: add tracepoint trace_tcp_destroy_sock()").
 */
static __always_inline int destroy(struct sock *sk, bool with_payload)
{
	struct hook hook = { .sk = sk, .socket = sk, .is_typed = 1, .now = bpf_ktime_get_ns() };
	struct connection *connection;

	connection = find(&hook);
	if (!connection || !look(&hook))
		return 0;
	if (with_payload)
		hook.exchange = bpf_sk_storage_get(&exchanges, sk, 0, 0);
	close_sock(&hook, connection);
	return 0;
}

LCC_ONE_OF(tcp, 1) SEC("tp_btf/tcp_destroy_sock")
int BPF_PROG(destroyed_btf, struct sock *sk)
{
	return destroy(sk, 0);
}

static __always_inline void *argument(struct pt_regs *ctx, int number)
{
	return (void *)compat_kprobe_argument(ctx, number);
}

LCC_ONE_OF(tcp, 2) SEC("kprobe/tcp_event_data_recv")
int receive_kprobe(struct pt_regs *ctx)
{
	return receive(argument(ctx, 0), argument(ctx, 1), 0);
}

LCC_ONE_OF(tcp, 2) SEC("kprobe/tcp_event_new_data_sent")
int send_kprobe(struct pt_regs *ctx)
{
	return send(argument(ctx, 0), argument(ctx, 1), 0);
}

LCC_ONE_OF(tcp, 2) SEC("kprobe/tcp_ack")
int ack_kprobe(struct pt_regs *ctx)
{
	return acknowledge(argument(ctx, 0), argument(ctx, 1), 0);
}

/* 4.16, 563e0bb0dc74 ("net: tracepoint: replace tcp_set_state tracepoint with inet_sock_set_state tracepoint"). */
LCC_ONE_OF(tcp, 2) SEC("raw_tp/inet_sock_set_state")
int BPF_PROG(state_raw, struct sock *sk, int from, int to)
{
	return change_state(sk, from, to, 0);
}

LCC_ONE_OF(tcp, 2) SEC("raw_tp/tcp_rcv_space_adjust")
int BPF_PROG(read_raw, struct sock *sk)
{
	return read(sk, 0);
}

LCC_ONE_OF(tcp, 3) SEC("kprobe/tcp_event_data_recv")
int receive_old(struct pt_regs *ctx)
{
	return receive(argument(ctx, 0), argument(ctx, 1), 0);
}

LCC_ONE_OF(tcp, 3) SEC("kprobe/tcp_event_new_data_sent")
int send_old(struct pt_regs *ctx)
{
	return send(argument(ctx, 0), argument(ctx, 1), 0);
}

LCC_ONE_OF(tcp, 3) SEC("kprobe/tcp_ack")
int ack_old(struct pt_regs *ctx)
{
	return acknowledge(argument(ctx, 0), argument(ctx, 1), 0);
}

LCC_ONE_OF(tcp, 3) SEC("kprobe/tcp_set_state")
int state_old(struct pt_regs *ctx)
{
	struct sock *sk = argument(ctx, 0);

	return change_state(sk, BPF_CORE_READ(sk, __sk_common.skc_state), (int)compat_kprobe_argument(ctx, 1), 0);
}

LCC_ONE_OF(tcp, 4) SEC("cgroup_skb/ingress")
int packet_in(struct __sk_buff *skb)
{
	packet(skb, 1, 0);
	return 1;
}

LCC_ONE_OF(tcp, 4) SEC("cgroup_skb/egress")
int packet_out(struct __sk_buff *skb)
{
	packet(skb, 0, 0);
	return 1;
}

LCC_ONE_OF(tcp, 4) SEC("sockops")
int socket_event(struct bpf_sock_ops *ops)
{
	return event_of(ops, 0);
}

LCC_ONE_OF(tcp, 4) SEC("tp_btf/tcp_rcv_space_adjust")
int BPF_PROG(read_packet, struct sock *sk)
{
	return read(sk, 1);
}

LCC_ONE_OF(tcp, 4) SEC("tp_btf/tcp_destroy_sock")
int BPF_PROG(destroyed, struct sock *sk)
{
	return destroy(sk, 0);
}

LCC_ONE_OF(tcp, 5) SEC("cgroup_skb/ingress")
int payload_in(struct __sk_buff *skb)
{
	packet(skb, 1, 1);
	return 1;
}

LCC_ONE_OF(tcp, 5) SEC("cgroup_skb/egress")
int payload_out(struct __sk_buff *skb)
{
	packet(skb, 0, 1);
	return 1;
}

LCC_ONE_OF(tcp, 5) SEC("sockops")
int payload_event(struct bpf_sock_ops *ops)
{
	return event_of(ops, 1);
}

LCC_ONE_OF(tcp, 5) SEC("tp_btf/tcp_rcv_space_adjust")
int BPF_PROG(payload_read, struct sock *sk)
{
	return read(sk, 1);
}

LCC_ONE_OF(tcp, 5) SEC("tp_btf/tcp_destroy_sock")
int BPF_PROG(payload_destroyed, struct sock *sk)
{
	return destroy(sk, 1);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
