/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What packets and socket events of control groups tell of a socket: ranks 4 and 5. */
#ifndef LCC_TCPRT_PACKET_H
#define LCC_TCPRT_PACKET_H

#include "tcprt/payload.bpf.h"

/* A TCP segment as it is in a packet. */
struct segment {
	__u32 start;
	/* Behind its last byte of data. */
	__u32 end;
	__u32 acknowledges;
	/* Where its data begins in the packet. */
	__u32 payload;
	__u8 flags;
};

/*
 * Reads a packet that begins with its IP header: TCP has made sure that headers lie in its first part. IPv6's only extension here
 * is the one of large GSO packets.
 */
static __always_inline bool read_segment(struct __sk_buff *skb, struct segment *segment)
{
	const __u32 lengths_of = 12, flags_of = 13;
	const __u8 *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end, *tcp;
	__u32 at = 40, words;

	if (data + at > end)
		return 0;
	if (data[0] >> 4 == 4) {
		at = (data[0] & 0xf) * 4;
	} else if (data[6] == IPPROTO_HOPOPTS) {
		if (data + 48 > end || data[40] != IPPROTO_TCP)
			return 0;
		at = 48;
	} else if (data[6] != IPPROTO_TCP) {
		return 0;
	}
	tcp = data + at;
	if (tcp + 20 > end)
		return 0;
	words = tcp[lengths_of] >> 4;
	if (skb->len < at + words * 4)
		return 0;
	segment->start = bpf_ntohl(*(__be32 *)&tcp[4]);
	segment->acknowledges = bpf_ntohl(*(__be32 *)&tcp[8]);
	segment->payload = at + words * 4;
	segment->end = segment->start + skb->len - segment->payload;
	segment->flags = tcp[flags_of];
	return 1;
}

/* Begins with a connection of a socket that packets and socket events show. NULL where it is not measured. */
static __always_inline struct connection *begin_at(const struct hook *hook, const struct bpf_sock *sk, __u8 role,
						   __u32 received, __u32 sent)
{
	struct connection new = {};

	new.local_port = sk->src_port;
	new.peer_port = bpf_ntohs(sk->dst_port);
	if (!is_measured(&new, role))
		return 0;
	if (sk->family == AF_INET) {
		map_address(&new.local, sk->src_ip4);
		map_address(&new.peer, sk->dst_ip4);
	} else {
		__be32 *local = (void *)new.local.bytes, *peer = (void *)new.peer.bytes;

		local[0] = sk->src_ip6[0];
		local[1] = sk->src_ip6[1];
		local[2] = sk->src_ip6[2];
		local[3] = sk->src_ip6[3];
		peer[0] = sk->dst_ip6[0];
		peer[1] = sk->dst_ip6[1];
		peer[2] = sk->dst_ip6[2];
		peer[3] = sk->dst_ip6[3];
	}
	new.family = family_of(&new.peer);
	new.received = received;
	new.sent = sent;
	new.acknowledged = role == ROLE_UNKNOWN ? hook->tcp->snd_una : sent;
	return keep(hook, &new);
}

/*
 * How much waits behind what was sent; 0 before 5.9, where these programs cannot read it: 478cfbdf5f13 ("bpf: Add
 * bpf_skc_to_{tcp, tcp_timewait, tcp_request}_sock() helpers").
 */
static __always_inline __u32 unsent_at(struct bpf_sock *sk, const struct connection *connection)
{
	struct tcp_sock *tp;
	__u32 written;

	if (!bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_skc_to_tcp_sock))
		return 0;
	tp = bpf_skc_to_tcp_sock(sk);
	if (!tp)
		return 0;
	written = tp->write_seq - connection->sent_fin;
	return after(written, connection->sent) ? written - connection->sent : 0;
}

/* Application data of TLS came. */
static __always_inline void on_tls_receive(const struct hook *hook, struct connection *connection, __u32 end,
					   bool reordered)
{
	if (connection->role == ROLE_SERVER)
		release_held(connection, hook->exchange);
	on_receive(hook, connection, end, reordered);
}

static __always_inline void on_tls_send(const struct hook *hook, struct connection *connection, __u32 end)
{
	if (connection->role == ROLE_CLIENT)
		release_held(connection, hook->exchange);
	on_send(hook, connection, end);
}

/* Now, if a request waits for its response; else 0. */
static __always_inline __u64 waits_since(const struct hook *hook, const struct connection *connection)
{
	return connection->phase == PHASE_REQUEST ? hook->now : 0;
}

/* Looks at the payload of a segment that has come, not all of which came before; or that fills a gap. */
static __always_inline void payload_comes(const struct hook *hook, struct connection *connection,
					  const struct segment *segment, struct __sk_buff *skb, bool reordered)
{
	struct piece piece = { .at = segment->payload, .end = segment->payload + segment->end - segment->start };
	bool is_new = after(segment->end, connection->received);
	__u32 from = segment->start, bytes;

	if (is_new && after(connection->received, from)) {
		piece.at += connection->received - from;
		from = connection->received;
	}
	if (reordered || !is_new)
		connection->reordered = 1;
	bytes = is_new ? segment->end - connection->received : 0;
	if (mode_of_tasks() == TCPRT_HTTP_ONLY)
		http(hook, connection, skb, piece, from, 1);
	else if (tls(hook->exchange, skb, piece, from, 1, connection->role == ROLE_CLIENT, waits_since(hook, connection)))
		on_tls_receive(hook, connection, segment->end, reordered);
	if (after(segment->end, connection->received)) {
		connection->received_bytes += bytes;
		connection->received = segment->end;
	}
}

/* Of one that is sent. */
static __always_inline void payload_goes(const struct hook *hook, struct connection *connection,
					 const struct segment *segment, struct __sk_buff *skb)
{
	struct piece piece = { .at = segment->payload, .end = segment->payload + segment->end - segment->start };
	__u32 from = segment->start;

	if (!after(segment->end, connection->sent))
		return;
	if (after(connection->sent, from)) {
		piece.at += connection->sent - from;
		from = connection->sent;
	}
	if (mode_of_tasks() == TCPRT_HTTP_ONLY)
		http(hook, connection, skb, piece, from, 0);
	else if (tls(hook->exchange, skb, piece, from, 0, connection->role == ROLE_SERVER, waits_since(hook, connection)))
		on_tls_send(hook, connection, segment->end);
	if (after(segment->end, connection->sent)) {
		connection->sent_bytes += segment->end - connection->sent;
		connection->sent = segment->end;
	}
}

/* The connection is over. */
static __always_inline void end_of(struct hook *hook, struct connection *connection, __u32 unsent)
{
	__u32 expected = hook->tcp->rcv_nxt;

	/* behind a gap that was never filled, or after the side itself had closed */
	if (after(connection->received, expected)) {
		connection->received_bytes -= connection->received - expected;
		connection->received = expected;
	}
	if (connection->task_received_bytes && after(connection->task_received, expected))
		connection->task_received_bytes -= connection->task_received - expected;
	if (hook->exchange) {
		release_held(connection, hook->exchange);
		unanswered(hook, connection);
	}
	on_close(hook, connection, unsent);
	forget(hook);
	if (hook->exchange)
		bpf_sk_storage_delete(&exchanges, hook->socket);
}

/* The greatest window of TCP (RFC 7323, 2.3): a number farther ahead is none of this connection. */
#define LARGEST_WINDOW (1U << 30)

/*
 * Whether a segment that leaves a gap begins inside of the window that the peer was told of: else TCP drops it
 * (tcp_sequence(), net/ipv4/tcp_input.c). Before 5.9, where these programs cannot read it: inside of the largest that there is.
 */
static __always_inline bool is_in_window(const struct hook *hook, const struct segment *segment)
{
	__u32 expected = hook->tcp->rcv_nxt, end = expected + LARGEST_WINDOW;
	struct tcp_sock *tp;

	if (!after(segment->start, expected))
		return 1;
	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_skc_to_tcp_sock)) {
		tp = bpf_skc_to_tcp_sock(hook->socket);
		if (tp)
			end = tp->rcv_wup + tp->rcv_wnd;
	}
	return !after(segment->start, end);
}

static __always_inline void come(const struct hook *hook, struct connection *connection, const struct segment *segment,
				 struct __sk_buff *skb)
{
	__u32 expected = hook->tcp->rcv_nxt;

	if (segment->flags & TCP_FLAG_ACK && !after(segment->acknowledges, connection->sent + 1))
		on_ack(hook, connection, segment->acknowledges);
	/* nor what the kernel has already */
	if (segment->end - expected > LARGEST_WINDOW || !is_in_window(hook, segment))
		return;
	if (segment->end != segment->start && segment->end != expected) {
		bool reordered = after(segment->start, connection->received);

		if (hook->exchange)
			payload_comes(hook, connection, segment, skb, reordered);
		else if (after(segment->end, connection->received))
			on_receive(hook, connection, segment->end, reordered);
		else
			on_fill(hook, connection);
	}
	if (segment->flags & TCP_FLAG_FIN)
		connection->received_fin = 1;
}

static __always_inline void go(const struct hook *hook, struct connection *connection, const struct segment *segment,
			       struct __sk_buff *skb)
{
	/* what came with the handshake passes the control group as the listener's */
	if (segment->flags & TCP_FLAG_ACK && !hook->exchange)
		on_receive(hook, connection, segment->acknowledges - connection->received_fin, 0);
	/* behind a FIN, segments without data begin with the number after it */
	if (segment->end != segment->start) {
		if (hook->exchange)
			payload_goes(hook, connection, segment, skb);
		else
			on_send(hook, connection, segment->end);
	}
	if (segment->flags & TCP_FLAG_FIN)
		connection->sent_fin = 1;
}

/*
 * Whether a segment ends its connection. Only for those that no socket event tells of: they are older than their
 * observation.
 */
static __always_inline bool is_end(const struct hook *hook, const struct connection *connection,
				   const struct segment *segment, bool comes)
{
	if (!connection->joined)
		return 0;
	if (segment->flags & TCP_FLAG_RST)
		return !comes || segment->start == hook->tcp->rcv_nxt;
	return comes && connection->sent_fin && connection->received_fin &&
	       segment->acknowledges == connection->sent + 1;
}

/*
 * When a packet was sent: TCP has looked at its clock just before, where these programs can read it (5.9). Else, and when one
 * comes, now.
 */
static __always_inline __u64 time_of(struct bpf_sock *sk, bool comes)
{
	struct tcp_sock *tp;

	if (comes || !bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_skc_to_tcp_sock))
		return bpf_ktime_get_ns();
	tp = bpf_skc_to_tcp_sock(sk);
	if (!tp || !bpf_core_field_exists(tp->tcp_clock_cache))
		return bpf_ktime_get_ns();
	return tp->tcp_clock_cache;
}

/* As begin_at(), with a stack of its own: what looks at payload calls functions, and all share 512 bytes. */
__attribute__((noinline)) int begin_joined(struct __sk_buff *skb, __u32 received, __u32 sent)
{
	struct hook hook = { .is_typed = 1, .now = bpf_ktime_get_ns() };
	struct bpf_sock *sk = skb->sk;

	if (!sk)
		return 0;
	sk = bpf_sk_fullsock(sk);
	if (!sk)
		return 0;
	hook.socket = sk;
	hook.tcp = bpf_tcp_sock(sk);
	if (hook.tcp)
		begin_at(&hook, sk, ROLE_UNKNOWN, received, sent);
	return 0;
}

/* A packet of a socket, before the kernel takes it in or after it made it. */
static __always_inline void packet(struct __sk_buff *skb, bool comes, bool with_payload)
{
	struct bpf_sock *sk = skb->sk;
	struct hook hook = { .is_typed = 1 };
	struct connection *connection;
	struct segment segment;

	if (!sk)
		return;
	sk = bpf_sk_fullsock(sk);
	if (!sk)
		return;
	hook.socket = sk;
	connection = find(&hook);
	if (!connection) {
		bool all;

		/* the kernel's own sockets, which send RST for others, are no streams */
		if (sk->type != SOCK_STREAM || sk->protocol != IPPROTO_TCP || !may_send(sk->state))
			return;
		if (configured_role(sk->src_port, bpf_ntohs(sk->dst_port), &all) == ROLE_UNKNOWN && !all)
			return;
	}
	hook.tcp = bpf_tcp_sock(sk);
	if (!hook.tcp || !read_segment(skb, &segment) || segment.flags & TCP_FLAG_SYN)
		return;
	hook.now = time_of(sk, comes);
	if (!connection && segment.end != segment.start && with_payload) {
		begin_joined(skb, comes ? segment.start : segment.acknowledges,
			     comes ? hook.tcp->snd_nxt : segment.start);
		connection = find(&hook);
	} else if (!connection && segment.end != segment.start) {
		connection = begin_at(&hook, sk, ROLE_UNKNOWN, comes ? segment.start : segment.acknowledges,
				      comes ? hook.tcp->snd_nxt : segment.start);
	}
	if (!connection)
		return;
	if (with_payload && mode_of_tasks() != TCPRT_DEFAULT) {
		hook.exchange = bpf_sk_storage_get(&exchanges, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
		if (!hook.exchange)
			return;
	}
	if (comes)
		come(&hook, connection, &segment, skb);
	else
		go(&hook, connection, &segment, skb);
	if (is_end(&hook, connection, &segment, comes))
		end_of(&hook, connection, unsent_at(sk, connection));
}

/* How much data comes with the last segment of the handshake. */
static __always_inline __u32 data_with(struct bpf_sock_ops *ops)
{
	const __u32 lengths_of = 12;
	__u8 *data, *end;
	__u32 header;

	if (!bpf_core_field_exists(struct bpf_sock_ops___since510, skb_len))
		return 0;
	data = ops->skb_data;
	end = ops->skb_data_end;
	if (!data || data + lengths_of + 1 > end)
		return 0;
	header = (data[lengths_of] >> 4) * 4;
	return ops->skb_len > header ? ops->skb_len - header : 0;
}

/*
 * Data that no packet of a socket showed, as it came or went before the handshake had ended (fast open, TCP_DEFER_ACCEPT). In mode
 * http it is taken for a request, of which the text is not known, until what answers it shows that it was none.
 */
static __always_inline void take_unseen(struct hook *hook, struct connection *connection, struct bpf_sock *sk, __u32 bytes)
{
	bool is_server = connection->role == ROLE_SERVER;

	if (is_server) {
		connection->received += bytes;
		connection->received_bytes += bytes;
	} else {
		connection->sent += bytes;
		connection->sent_bytes += bytes;
	}
	if (mode_of_tasks() != TCPRT_HTTP_ONLY)
		return;
	hook->exchange = bpf_sk_storage_get(&exchanges, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!hook->exchange)
		return;
	hook->exchange->newest = 1;
	hook->exchange->current = 1;
	hook->exchange->is_unseen = 1;
	start_task(hook, connection);
	connection->request_end_ns = hook->now;
	if (is_server) {
		connection->task_received_bytes = bytes;
		connection->task_received = connection->received;
	} else {
		connection->task_sent_bytes = bytes;
	}
}

/* How much a client sent with its SYN (TCP fast open): what is acknowledged begins with the SYN. */
static __always_inline __u32 sent_with_syn(const struct bpf_tcp_sock *tcp)
{
	__u32 first = tcp->snd_una - (__u32)tcp->bytes_acked + 1, bytes = tcp->snd_nxt - first;

	/* a SYN is one segment; a socket that is used again may count on from before */
	return bytes <= 0xffff ? bytes : 0;
}

/* What is told of a socket: that it is connected, and later that it is not. */
static __always_inline int event_of(struct bpf_sock_ops *ops, bool with_payload)
{
	struct hook hook = { .is_typed = 1 };
	struct bpf_sock *sk = ops->sk;
	__u32 op = ops->op, state = ops->args[1], early = 0, data;
	struct connection *connection;

	if (op != BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB && op != BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB &&
	    op != BPF_SOCK_OPS_STATE_CB)
		return 1;
	if (!sk)
		return 1;
	hook.now = bpf_ktime_get_ns();
	hook.tcp = bpf_tcp_sock(sk);
	if (!hook.tcp)
		return 1;
	hook.socket = sk;
	if (op == BPF_SOCK_OPS_STATE_CB) {
		connection = find(&hook);
		if (!connection)
			return 1;
		if (state == TCP_FIN_WAIT1 || state == TCP_LAST_ACK)
			connection->sent_fin = 1;
		if (state == TCP_CLOSE) {
			if (with_payload)
				hook.exchange = bpf_sk_storage_get(&exchanges, sk, 0, 0);
			end_of(&hook, connection, unsent_at(sk, connection));
		}
		return 1;
	}
	if (op == BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB)
		early = sent_with_syn(hook.tcp);
	connection = begin_at(&hook, sk, op == BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB ? ROLE_CLIENT : ROLE_SERVER,
			      hook.tcp->rcv_nxt, hook.tcp->snd_nxt - early);
	if (!connection)
		return 1;
	bpf_sock_ops_cb_flags_set(ops, ops->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG);
	data = data_with(ops);
	/* when is not known */
	if (early)
		connection->joined = 1;
	if (with_payload && mode_of_tasks() != TCPRT_DEFAULT) {
		__u32 unseen = op == BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB ? early : data;

		if (unseen)
			take_unseen(&hook, connection, sk, unseen);
	} else if (early) {
		on_send(&hook, connection, hook.tcp->snd_nxt);
	} else if (data) {
		on_receive(&hook, connection, connection->received + data, 0);
	}
	return 1;
}

#endif
