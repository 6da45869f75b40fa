/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What functions and tracepoints of the kernel tell of a socket: ranks 1 to 3. */
#ifndef LCC_TCPRT_SOCK_H
#define LCC_TCPRT_SOCK_H

#include "tcprt/store.bpf.h"

static __always_inline const struct tcp_skb_cb *segment_of(const struct sk_buff *skb)
{
	return (const void *)&skb->cb;
}

/*
 * Whether a FIN is behind a segment's data, by its length: the flags of those that come are there since 3.18,
 * e11ecddf5128 ("tcp: use TCP_SKB_CB(skb)->tcp_flags in input path").
 */
static __always_inline bool has_fin(const struct sk_buff *skb)
{
	const struct tcp_skb_cb *segment = segment_of(skb);

	return BPF_CORE_READ(segment, end_seq) - BPF_CORE_READ(segment, seq) - BPF_CORE_READ(skb, len) == 1;
}

static __always_inline void read_addresses(struct connection *connection, const struct sock *sk)
{
	const struct sock_common *common = &sk->__sk_common;

	if (BPF_CORE_READ(common, skc_family) == AF_INET) {
		map_address(&connection->local, BPF_CORE_READ(common, skc_rcv_saddr));
		map_address(&connection->peer, BPF_CORE_READ(common, skc_daddr));
	} else if (bpf_core_field_exists(common->skc_v6_daddr)) {
		/* 3.13, efe4208f47f9 ("ipv6: make lookups simpler and faster") */
		BPF_CORE_READ_INTO(&connection->local, common, skc_v6_rcv_saddr.in6_u.u6_addr8);
		BPF_CORE_READ_INTO(&connection->peer, common, skc_v6_daddr.in6_u.u6_addr8);
	}
	connection->family = family_of(&connection->peer);
}

/* Begins with a connection of the kernel's sock. NULL where it is not measured. */
static __always_inline struct connection *begin(const struct hook *hook, __u8 role, __u32 received, __u32 sent)
{
	const struct tcp_sock *tp = (const void *)hook->sk;
	const struct sock *sk = hook->sk;
	struct connection new = {};

	new.local_port = BPF_CORE_READ(sk, __sk_common.skc_num);
	new.peer_port = bpf_ntohs(BPF_CORE_READ(sk, __sk_common.skc_dport));
	if (!is_measured(&new, role))
		return 0;
	read_addresses(&new, sk);
	new.received = received;
	new.sent = sent;
	new.acknowledged = role == ROLE_UNKNOWN ? BPF_CORE_READ(tp, snd_una) : sent;
	if (role == ROLE_UNKNOWN)
		new.sent_fin = is_shut(BPF_CORE_READ(sk, __sk_common.skc_state));
	identify(&new, sk);
	if (new.unwanted)
		return 0;
	return keep(hook, &new);
}

/*
 * Tells of data that came and that no hook told of: behind a gap that was filled, it moves rcv_nxt by itself; and the
 * kernel does not run a program that interrupts itself, nor, at kprobes, any other on the same processor. It is part of
 * what is coming, whose time is known; else the time is later than it was.
 */
static __always_inline void catch_up_received(const struct hook *hook, struct connection *connection)
{
	const struct tcp_sock *tp = (const void *)hook->sk;
	__u32 end = BPF_CORE_READ(tp, rcv_nxt);
	__u8 coming = connection->role == ROLE_SERVER ? PHASE_REQUEST : PHASE_RESPONSE;

	if (!after(end, connection->received))
		return;
	end -= compat_sock_is_done(hook->sk);
	if (connection->phase == coming)
		count_received(connection, end);
	else
		on_receive(hook, connection, end, 0);
}

/* The same of data that is sent. */
static __always_inline void catch_up_sent(const struct hook *hook, struct connection *connection)
{
	const struct tcp_sock *tp = (const void *)hook->sk;
	__u32 end = BPF_CORE_READ(tp, snd_nxt);

	if (connection->sent_fin && end == BPF_CORE_READ(tp, write_seq))
		end -= 1;
	on_send(hook, connection, end);
}

static __always_inline void segment_acknowledges(const struct hook *hook, struct connection *connection,
						 const struct tcp_skb_cb *segment)
{
	const struct tcp_sock *tp = (const void *)hook->sk;
	__u32 number = BPF_CORE_READ(segment, ack_seq);

	catch_up_sent(hook, connection);
	if (!after(number, BPF_CORE_READ(tp, snd_nxt)))
		on_ack(hook, connection, number);
}

/*
 * How much came with the SYN (TCP fast open, 3.7), of a connection that is just being established. 4.1, bdd1f9edacb5 ("tcp: add
 * tcpi_bytes_received to tcp_info").
 */
static __always_inline __u32 came_early(const struct tcp_sock *tp)
{
	return bpf_core_field_exists(tp->bytes_received) ? BPF_CORE_READ(tp, bytes_received) : 0;
}

/* How much was sent with it: what is acknowledged begins with the SYN. 4.1, 0df48c26d841 ("tcp: add tcpi_bytes_acked to tcp_info"). */
static __always_inline __u32 went_early(const struct tcp_sock *tp)
{
	__u32 first, bytes;

	if (!bpf_core_field_exists(tp->bytes_acked))
		return 0;
	first = BPF_CORE_READ(tp, snd_una) - (__u32)BPF_CORE_READ(tp, bytes_acked) + 1;
	bytes = BPF_CORE_READ(tp, snd_nxt) - first;
	/* a SYN is one segment; a socket that is used again may count on from before */
	return bytes <= 0xffff ? bytes : 0;
}

/* A connection is established. When it was that data came or went with the SYN is not known. */
static __always_inline void establish(const struct hook *hook, bool is_client)
{
	const struct tcp_sock *tp = (const void *)hook->sk;
	__u32 received = BPF_CORE_READ(tp, rcv_nxt), sent = BPF_CORE_READ(tp, snd_nxt);
	__u32 early_in = is_client ? 0 : came_early(tp), early_out = is_client ? went_early(tp) : 0;
	struct connection *connection;

	if (early_in) {
		/* the server has answered before, of which send() has told */
		connection = find(hook);
		if (connection && connection->received == received && connection->sent == sent)
			return;
	}
	connection = begin(hook, is_client ? ROLE_CLIENT : ROLE_SERVER, received - early_in, sent - early_out);
	if (!connection || !(early_in | early_out))
		return;
	connection->joined = 1;
	catch_up_received(hook, connection);
	catch_up_sent(hook, connection);
}

/* tcp_event_data_recv(): data has come in order, rcv_nxt has moved. In the fast path what it acknowledges has not. */
static __always_inline int receive(struct sock *sk, const struct sk_buff *skb, bool is_typed)
{
	struct hook hook = { .sk = sk, .socket = sk, .is_typed = is_typed, .now = compat_tcp_now((const void *)sk) };
	const struct tcp_skb_cb *segment = segment_of(skb);
	const struct tcp_sock *tp = (const void *)sk;
	struct connection *connection;

	connection = find(&hook);
	if (!connection)
		connection = begin(&hook, ROLE_UNKNOWN, BPF_CORE_READ(segment, seq), BPF_CORE_READ(tp, snd_nxt));
	if (!connection)
		return 0;
	segment_acknowledges(&hook, connection, segment);
	on_receive(&hook, connection, BPF_CORE_READ(tp, rcv_nxt) - has_fin(skb), compat_tcp_has_gap(tp));
	return 0;
}

/* tcp_event_new_data_sent(): a segment was sent for the first time, snd_nxt has not moved. */
static __always_inline int send(struct sock *sk, const struct sk_buff *skb, bool is_typed)
{
	struct hook hook = { .sk = sk, .socket = sk, .is_typed = is_typed, .now = compat_tcp_now((const void *)sk) };
	const struct tcp_skb_cb *segment = segment_of(skb);
	const struct tcp_sock *tp = (const void *)sk;
	__u32 start = BPF_CORE_READ(segment, seq);
	__u32 end = BPF_CORE_READ(segment, end_seq) - has_fin(skb);
	struct connection *connection;

	connection = find(&hook);
	if (!connection && end != start) {
		__u32 received = BPF_CORE_READ(tp, rcv_nxt);

		/* a server answers what came with the SYN */
		if (BPF_CORE_READ(sk, __sk_common.skc_state) == TCP_SYN_RECV)
			received -= came_early(tp);
		connection = begin(&hook, ROLE_UNKNOWN, received, start);
	}
	if (!connection)
		return 0;
	catch_up_received(&hook, connection);
	on_send(&hook, connection, end);
	return 0;
}

/* tcp_ack(): a segment that acknowledges something has come, snd_una has not moved. */
static __always_inline int acknowledge(struct sock *sk, const struct sk_buff *skb, bool is_typed)
{
	struct hook hook = { .sk = sk, .socket = sk, .is_typed = is_typed, .now = compat_tcp_now((const void *)sk) };
	struct connection *connection;

	connection = find(&hook);
	if (connection)
		segment_acknowledges(&hook, connection, segment_of(skb));
	return 0;
}

static __always_inline void close_sock(const struct hook *hook, struct connection *connection)
{
	const struct tcp_sock *tp = (const void *)hook->sk;
	__u32 written = BPF_CORE_READ(tp, write_seq) - connection->sent_fin;

	catch_up_sent(hook, connection);
	on_ack(hook, connection, BPF_CORE_READ(tp, snd_una));
	count_received(connection, BPF_CORE_READ(tp, rcv_nxt) - compat_sock_is_done(hook->sk));
	on_close(hook, connection, after(written, connection->sent) ? written - connection->sent : 0);
	forget(hook);
}

static __always_inline int change_state(struct sock *sk, int from, int to, bool is_typed)
{
	struct hook hook = { .sk = sk, .socket = sk, .is_typed = is_typed, .now = bpf_ktime_get_ns() };
	struct connection *connection;

	if (compat_sock_protocol(sk) != IPPROTO_TCP)
		return 0;
	if (to == TCP_ESTABLISHED) {
		establish(&hook, from == TCP_SYN_SENT);
		return 0;
	}
	connection = find(&hook);
	if (!connection)
		return 0;
	if (to == TCP_FIN_WAIT1 || to == TCP_LAST_ACK)
		connection->sent_fin = 1;
	else if (to == TCP_CLOSE)
		close_sock(&hook, connection);
	return 0;
}

/* The process that runs reads from a socket. */
static __always_inline int read(struct sock *sk, bool is_typed)
{
	struct hook hook = { .sk = sk, .socket = sk, .is_typed = is_typed };
	struct connection *connection;

	connection = find(&hook);
	if (!connection || connection->pid)
		return 0;
	connection->pid = bpf_get_current_pid_tgid() >> 32;
	bpf_get_current_comm(connection->comm, sizeof(connection->comm));
	if (!connection->identified)
		identify(connection, sk);
	return 0;
}

#endif
