// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * TCP connections: established, closed, and every segment sent again, with the socket's figures at that moment.
 * Stands in for tcprt.
 */
#include "compat.bpf.h"
#include "standin/events.h"
#include <bpf/bpf_tracing.h>

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} events SEC(".maps");

static __always_inline void read_addresses(struct connection_event *event, const struct sock *sk)
{
	const struct sock_common *common = &sk->__sk_common;

	if (event->family == AF_INET) {
		*(__be32 *)event->local_address = BPF_CORE_READ(common, skc_rcv_saddr);
		*(__be32 *)event->remote_address = BPF_CORE_READ(common, skc_daddr);
		return;
	}
	/* 3.13, efe4208f47f9 ("ipv6: make lookups simpler and faster"). */
	if (event->family == AF_INET6 && bpf_core_field_exists(common->skc_v6_daddr)) {
		BPF_CORE_READ_INTO(&event->local_address, common, skc_v6_rcv_saddr.in6_u.u6_addr8);
		BPF_CORE_READ_INTO(&event->remote_address, common, skc_v6_daddr.in6_u.u6_addr8);
	}
}

static __always_inline void send(void *ctx, const struct sock *sk, __u8 state, __u8 retransmission)
{
	const struct tcp_sock *tp = (const void *)sk;
	const struct inet_sock *inet = (const void *)sk;
	const struct inet_connection_sock *icsk = (const void *)sk;
	struct connection_event event = {
		.time = compat_now(),
		.state = state,
		.retransmission = retransmission,
	};

	event.family = BPF_CORE_READ(sk, __sk_common.skc_family);
	read_addresses(&event, sk);
	event.local_port = BPF_CORE_READ(sk, __sk_common.skc_num);
	event.remote_port = BPF_CORE_READ(sk, __sk_common.skc_dport);
	event.net_inum = compat_net_inum(compat_sock_net(sk));
	event.uid = compat_sock_uid(sk);
	event.mark = BPF_CORE_READ(sk, sk_mark);
	event.send_queue = BPF_CORE_READ(sk, sk_wmem_queued);
	event.locks = BPF_CORE_READ_BITFIELD_PROBED(sk, sk_userlocks);
	event.tos = BPF_CORE_READ(inet, tos);
	event.transparent = compat_inet_transparent(inet);
	event.congestion_state = BPF_CORE_READ_BITFIELD_PROBED(icsk, icsk_ca_state);
	event.consecutive_timeouts = BPF_CORE_READ(icsk, icsk_retransmits);
	BPF_CORE_READ_STR_INTO(&event.congestion_control, icsk, icsk_ca_ops, name);
	event.srtt_us = compat_tcp_srtt_us(tp);
	event.min_rtt_us = compat_tcp_min_rtt_us(tp);
	event.bytes_acked = compat_tcp_bytes_acked(tp);
	event.bytes_received = compat_tcp_bytes_received(tp);
	event.mss = BPF_CORE_READ(tp, mss_cache);
	event.congestion_window = BPF_CORE_READ(tp, snd_cwnd);
	event.in_flight = BPF_CORE_READ(tp, packets_out) - BPF_CORE_READ(tp, retrans_out);
	event.unacknowledged = BPF_CORE_READ(tp, snd_nxt) - BPF_CORE_READ(tp, snd_una);
	event.total_retransmissions = BPF_CORE_READ(tp, total_retrans);
	event.reordering = BPF_CORE_READ(tp, reordering);
	event.nagle = BPF_CORE_READ_BITFIELD_PROBED(tp, nonagle);
	bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, &event, sizeof(event));
}

/* 4.16, 563e0bb0dc74 ("net: tracepoint: replace tcp_set_state tracepoint with inet_sock_set_state tracepoint"). */
SEC("raw_tp/inet_sock_set_state")
int BPF_PROG(connection_state, const struct sock *sk, int old_state, int new_state)
{
	if (compat_sock_protocol(sk) != IPPROTO_TCP)
		return 0;
	if (old_state != new_state && (new_state == TCP_ESTABLISHED || new_state == TCP_CLOSE))
		send(ctx, sk, new_state, 0);
	return 0;
}

/* 4.15, e086101b150a ("tcp: add a tracepoint for tcp retransmission"). */
SEC("raw_tp/tcp_retransmit_skb")
int BPF_PROG(segment_sent_again, const struct sock *sk)
{
	send(ctx, sk, BPF_CORE_READ(sk, __sk_common.skc_state), 1);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
