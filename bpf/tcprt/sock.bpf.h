/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What functions and tracepoints of the kernel tell of a socket: ranks 1 to 3. */
#ifndef LCC_TCPRT_SOCK_H
#define LCC_TCPRT_SOCK_H

#include "tcprt/store.bpf.h"

static __always_inline const struct tcp_skb_cb *segment_of(const struct sk_buff *skb)
{
	return (const void *)&skb->cb;
}

/* A member of what a segment is described by: sk_buff.cb, of which the verifier lets any part be loaded as a number. */
#define of_segment(hook, segment, member) compat_read((hook)->is_typed, segment, member)

/*
 * Whether a FIN is behind the data of a segment of so many sequence numbers, by its length: the flags of those that come are there since 3.18,
 * e11ecddf5128 ("tcp: use TCP_SKB_CB(skb)->tcp_flags in input path").
 */
static __always_inline bool has_fin(const struct hook *hook, const struct sk_buff *skb, __u32 numbers)
{
	return numbers - compat_read(hook->is_typed, skb, len) == 1;
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

/*
 * Whether the configuration asks for a socket's ports, and for which role of it; before anything else is done for a
 * socket that nobody asks for.
 */
static __always_inline bool is_asked_for(const struct hook *hook, __u8 *configured)
{
	const volatile struct tcprt_config *config = lcc_config();
	__u16 port;

	*configured = ROLE_UNKNOWN;
	if (asks_for_all(config))
		return 1;
	if (config->local_count) {
		port = compat_read(hook->is_typed, hook->sk, __sk_common.skc_num);
		if (is_within(config->local, config->local_count, port)) {
			*configured = ROLE_SERVER;
			return 1;
		}
	}
	if (config->peer_count) {
		port = bpf_ntohs(compat_read(hook->is_typed, hook->sk, __sk_common.skc_dport));
		if (is_within(config->peer, config->peer_count, port)) {
			*configured = ROLE_CLIENT;
			return 1;
		}
	}
	return 0;
}

/* Where a hook's figures are. False of what is no socket of TCP. */
static __always_inline bool look(struct hook *hook)
{
	hook->tp = has_tp(hook) ? bpf_skc_to_tcp_sock(hook->socket) : hook->socket;
	return hook->tp != 0;
}

/* Begins with a connection of the kernel's sock that is asked for. NULL where it is not measured. */
static __always_inline struct connection *begin(const struct hook *hook, __u8 role, __u8 configured, __u32 received,
						__u32 sent)
{
	const struct sock *sk = hook->sk;
	struct owner owner = owner_of(sk);
	struct connection new = {};

	if (owner.unwanted)
		return 0;
	new.local_port = BPF_CORE_READ(sk, __sk_common.skc_num);
	new.peer_port = bpf_ntohs(BPF_CORE_READ(sk, __sk_common.skc_dport));
	take_role(&new, role, configured);
	read_addresses(&new, sk);
	new.received = received;
	new.sent = sent;
	new.acknowledged = role == ROLE_UNKNOWN ? of_tcp(hook, snd_una) : sent;
	if (role == ROLE_UNKNOWN)
		new.sent_fin = is_shut(BPF_CORE_READ(sk, __sk_common.skc_state));
	identify(&new, owner);
	return keep(hook, &new);
}

/*
 * Tells of data that came and that no hook told of: behind a gap that was filled, it moves rcv_nxt by itself; and the
 * kernel does not run a program that interrupts itself, nor, at kprobes, any other on the same processor. It is part of
 * what is coming, whose time is known; else the time is later than it was, and the task is told so.
 */
static __always_inline void catch_up_received(const struct hook *hook, struct connection *connection)
{
	__u32 end = of_tcp(hook, rcv_nxt);
	__u8 coming = connection->role == ROLE_SERVER ? PHASE_REQUEST : PHASE_RESPONSE;

	if (!after(end, connection->received))
		return;
	end -= compat_sock_is_done(hook->sk, hook->is_typed);
	if (connection->phase == coming) {
		count_received(connection, end);
	} else if (after(end, connection->received)) {
		on_receive(hook, connection, end, 0);
		connection->late = 1;
	}
}

/* Whether it is a response that is being sent, whose last byte is timed by what acknowledges it. */
static __always_inline bool is_answering(const struct connection *connection)
{
	return connection->role == ROLE_SERVER && connection->phase != PHASE_REQUEST;
}

/* The kernel may have left out the call that tells of the FIN (7.1, 7.2), whose number is no byte's. */
static __always_inline void note_fin(const struct hook *hook, struct connection *connection)
{
	if (!connection->sent_fin)
		connection->sent_fin = is_shut(compat_read(hook->is_typed, hook->sk, __sk_common.skc_state));
}

/* The same of data that is sent, before `next`. */
static __always_inline void catch_up_sent(const struct hook *hook, struct connection *connection, __u32 next)
{
	bool is_late = !is_answering(connection);

	if (!after(next, connection->sent))
		return;
	note_fin(hook, connection);
	if (connection->sent_fin && next == of_tcp(hook, write_seq))
		next -= 1;
	if (!after(next, connection->sent))
		return;
	on_send(hook, connection, next);
	connection->late |= is_late;
}

static __always_inline void segment_acknowledges(const struct hook *hook, struct connection *connection,
						 const struct tcp_skb_cb *segment)
{
	__u32 number = of_segment(hook, segment, ack_seq), next = of_tcp(hook, snd_nxt);

	catch_up_sent(hook, connection, next);
	if (!after(number, next))
		on_ack(hook, connection, number);
}

/*
 * How much came with the SYN (TCP fast open, 3.7), of a connection that is just being established. 4.1, bdd1f9edacb5 ("tcp: add
 * tcpi_bytes_received to tcp_info").
 */
static __always_inline __u32 came_early(const struct hook *hook)
{
	return bpf_core_field_exists(hook->tp->bytes_received) ? of_tcp(hook, bytes_received) : 0;
}

/* How much was sent with it: what is acknowledged begins with the SYN. 4.1, 0df48c26d841 ("tcp: add tcpi_bytes_acked to tcp_info"). */
static __always_inline __u32 went_early(const struct hook *hook)
{
	__u32 first, bytes;

	if (!bpf_core_field_exists(hook->tp->bytes_acked))
		return 0;
	first = of_tcp(hook, snd_una) - (__u32)of_tcp(hook, bytes_acked) + 1;
	bytes = of_tcp(hook, snd_nxt) - first;
	/* a SYN is one segment; a socket that is used again may count on from before */
	return bytes <= 0xffff ? bytes : 0;
}

/* A connection is established. When it was that data came or went with the SYN is not known. */
static __always_inline void establish(const struct hook *hook, bool is_client)
{
	__u32 received = of_tcp(hook, rcv_nxt), sent = of_tcp(hook, snd_nxt);
	__u32 early_in = is_client ? 0 : came_early(hook), early_out = is_client ? went_early(hook) : 0;
	struct connection *connection;
	__u8 configured;

	if (!is_asked_for(hook, &configured))
		return;
	if (early_in) {
		/* the server has answered before, of which send() has told */
		connection = find(hook);
		if (connection && connection->received == received && connection->sent == sent)
			return;
	}
	connection = begin(hook, is_client ? ROLE_CLIENT : ROLE_SERVER, configured, received - early_in,
			   sent - early_out);
	if (!connection || !(early_in | early_out))
		return;
	connection->joined = 1;
	catch_up_received(hook, connection);
	catch_up_sent(hook, connection, sent);
}

/* tcp_event_data_recv(): data has come in order, rcv_nxt has moved. In the fast path what it acknowledges has not. */
static __always_inline int receive(struct sock *sk, const struct sk_buff *skb, bool is_typed)
{
	struct hook hook = { .sk = sk, .socket = sk, .is_typed = is_typed };
	const struct tcp_skb_cb *segment = segment_of(skb);
	struct connection *connection;
	__u32 start, numbers;
	__u8 configured;

	if (!is_asked_for(&hook, &configured) || !look(&hook))
		return 0;
	hook.now = compat_tcp_now(hook.tp, has_tp(&hook));
	start = of_segment(&hook, segment, seq);
	numbers = of_segment(&hook, segment, end_seq) - start;
	connection = find(&hook);
	if (!connection)
		connection = begin(&hook, ROLE_UNKNOWN, configured, start, of_tcp(&hook, snd_nxt));
	if (!connection)
		return 0;
	segment_acknowledges(&hook, connection, segment);
	on_receive(&hook, connection, of_tcp(&hook, rcv_nxt) - has_fin(&hook, skb, numbers),
		   compat_tcp_has_gap(hook.tp, has_tp(&hook)));
	return 0;
}

/* tcp_event_new_data_sent(): a segment was sent for the first time, snd_nxt has not moved. */
static __always_inline int send(struct sock *sk, const struct sk_buff *skb, bool is_typed)
{
	struct hook hook = { .sk = sk, .socket = sk, .is_typed = is_typed };
	const struct tcp_skb_cb *segment = segment_of(skb);
	struct connection *connection;
	__u32 start, end;
	__u8 configured;
	bool is_late;

	if (!is_asked_for(&hook, &configured) || !look(&hook))
		return 0;
	hook.now = compat_tcp_now(hook.tp, has_tp(&hook));
	start = of_segment(&hook, segment, seq);
	end = of_segment(&hook, segment, end_seq);
	end -= has_fin(&hook, skb, end - start);
	connection = find(&hook);
	if (!connection) {
		__u32 received = of_tcp(&hook, rcv_nxt);

		if (end == start)
			return 0;
		/* a server answers what came with the SYN */
		if (compat_read(is_typed, sk, __sk_common.skc_state) == TCP_SYN_RECV)
			received -= came_early(&hook);
		connection = begin(&hook, ROLE_UNKNOWN, configured, received, start);
	}
	if (!connection)
		return 0;
	catch_up_received(&hook, connection);
	is_late = after(start, connection->sent) && !is_answering(connection);
	on_send(&hook, connection, end);
	connection->late |= is_late;
	return 0;
}

/* tcp_ack(): a segment that acknowledges something has come, snd_una has not moved. */
static __always_inline int acknowledge(struct sock *sk, const struct sk_buff *skb, bool is_typed)
{
	struct hook hook = { .sk = sk, .socket = sk, .is_typed = is_typed };
	struct connection *connection;
	__u8 configured;

	if (!is_asked_for(&hook, &configured))
		return 0;
	connection = find(&hook);
	if (!connection || !look(&hook))
		return 0;
	hook.now = compat_tcp_now(hook.tp, has_tp(&hook));
	segment_acknowledges(&hook, connection, segment_of(skb));
	return 0;
}

static __always_inline void close_sock(const struct hook *hook, struct connection *connection)
{
	__u32 written, received;

	/* the state is still the one before */
	note_fin(hook, connection);
	written = of_tcp(hook, write_seq) - connection->sent_fin;
	catch_up_sent(hook, connection, of_tcp(hook, snd_nxt));
	on_ack(hook, connection, of_tcp(hook, snd_una));
	received = connection->received;
	count_received(connection, of_tcp(hook, rcv_nxt) - compat_sock_is_done(hook->sk, hook->is_typed));
	if (connection->received != received && !hook->exchange) {
		connection->late = 1;
		/* it is a response */
		if (connection->role == ROLE_CLIENT && connection->phase == PHASE_REQUEST) {
			connection->phase = PHASE_RESPONSE;
			connection->response_start_ns = hook->now;
			connection->response_end_ns = hook->now;
		}
	}
	on_close(hook, connection, after(written, connection->sent) ? written - connection->sent : 0);
	forget(hook);
}

static __always_inline int change_state(struct sock *sk, int from, int to, bool is_typed)
{
	struct hook hook = { .sk = sk, .socket = sk, .is_typed = is_typed, .now = bpf_ktime_get_ns() };
	struct connection *connection;

	if (compat_sock_protocol(sk) != IPPROTO_TCP || !look(&hook))
		return 0;
	if (to == TCP_ESTABLISHED) {
		establish(&hook, from == TCP_SYN_SENT);
		return 0;
	}
	/* not by its ports: those of a socket that closes may be gone */
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
	__u8 configured;

	if (!is_asked_for(&hook, &configured))
		return 0;
	connection = find(&hook);
	if (!connection || connection->pid)
		return 0;
	connection->pid = bpf_get_current_pid_tgid() >> 32;
	bpf_get_current_comm(connection->comm, sizeof(connection->comm));
	if (!connection->identified)
		identify(connection, owner_of(sk));
	return 0;
}

#endif
