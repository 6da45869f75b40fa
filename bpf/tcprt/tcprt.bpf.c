// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Response times of TCP servers and clients, for each task (a request and its response) on each connection, without
 * their help and without knowing their protocol. The group `tcp` has four ways to see the same:
 *
 *	1  fentry, and the tracepoint of a socket's state with BTF's types (Linux 5.5, on arm64 6.0)
 *	2  kprobes, and the same tracepoint without (4.17)
 *	3  kprobes alone (4.10, and RHEL 7's 3.10)
 *	4  the control groups' packets and socket events, where functions cannot be probed (5.3)
 *
 * Known: data in a SYN (TCP fast open) is not seen by 1 to 3.
 */
#include "tcprt/connection.bpf.h"
#include <bpf/bpf_endian.h>
#include <bpf/bpf_tracing.h>

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

/* Whether the side's own FIN is queued. */
static __always_inline bool is_shut(__u8 state)
{
	return state != TCP_ESTABLISHED && state != TCP_CLOSE_WAIT;
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
	return keep(hook, (__u64)sk, &new);
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

/* tcp_event_data_recv(): data has come in order, rcv_nxt has moved. In the fast path what it acknowledges has not. */
static __always_inline int receive(void *ctx, const struct sock *sk, const struct sk_buff *skb)
{
	struct hook hook = { .ctx = ctx, .sk = sk, .now = compat_now() };
	const struct tcp_skb_cb *segment = segment_of(skb);
	const struct tcp_sock *tp = (const void *)sk;
	struct connection *connection;
	__u64 key = (__u64)sk;

	connection = bpf_map_lookup_elem(&connections, &key);
	if (!connection)
		connection = begin(&hook, ROLE_UNKNOWN, BPF_CORE_READ(segment, seq), BPF_CORE_READ(tp, snd_nxt));
	if (!connection)
		return 0;
	segment_acknowledges(&hook, connection, segment);
	on_receive(&hook, connection, BPF_CORE_READ(tp, rcv_nxt) - has_fin(skb), compat_tcp_has_gap(tp));
	return 0;
}

/* tcp_event_new_data_sent(): a segment was sent for the first time, snd_nxt has not moved. */
static __always_inline int send(void *ctx, const struct sock *sk, const struct sk_buff *skb)
{
	struct hook hook = { .ctx = ctx, .sk = sk, .now = compat_now() };
	const struct tcp_skb_cb *segment = segment_of(skb);
	const struct tcp_sock *tp = (const void *)sk;
	__u32 start = BPF_CORE_READ(segment, seq);
	__u32 end = BPF_CORE_READ(segment, end_seq) - has_fin(skb);
	struct connection *connection;
	__u64 key = (__u64)sk;

	connection = bpf_map_lookup_elem(&connections, &key);
	if (!connection && end != start)
		connection = begin(&hook, ROLE_UNKNOWN, BPF_CORE_READ(tp, rcv_nxt), start);
	if (!connection)
		return 0;
	catch_up_received(&hook, connection);
	on_send(&hook, connection, end);
	return 0;
}

/* tcp_ack(): a segment that acknowledges something has come, snd_una has not moved. */
static __always_inline int acknowledge(void *ctx, const struct sock *sk, const struct sk_buff *skb)
{
	struct hook hook = { .ctx = ctx, .sk = sk, .now = compat_now() };
	struct connection *connection;
	__u64 key = (__u64)sk;

	connection = bpf_map_lookup_elem(&connections, &key);
	if (connection)
		segment_acknowledges(&hook, connection, segment_of(skb));
	return 0;
}

static __always_inline void close_sock(const struct hook *hook, struct connection *connection, __u64 key)
{
	const struct tcp_sock *tp = (const void *)hook->sk;
	__u32 written = BPF_CORE_READ(tp, write_seq) - connection->sent_fin;

	catch_up_sent(hook, connection);
	on_ack(hook, connection, BPF_CORE_READ(tp, snd_una));
	count_received(connection, BPF_CORE_READ(tp, rcv_nxt) - compat_sock_is_done(hook->sk));
	on_close(hook, connection, after(written, connection->sent) ? written - connection->sent : 0);
	bpf_map_delete_elem(&connections, &key);
}

static __always_inline int change_state(void *ctx, const struct sock *sk, int from, int to)
{
	struct hook hook = { .ctx = ctx, .sk = sk, .now = compat_now() };
	const struct tcp_sock *tp = (const void *)sk;
	struct connection *connection;
	__u64 key = (__u64)sk;

	if (compat_sock_protocol(sk) != IPPROTO_TCP)
		return 0;
	if (to == TCP_ESTABLISHED) {
		__u8 role = from == TCP_SYN_SENT ? ROLE_CLIENT : ROLE_SERVER;

		begin(&hook, role, BPF_CORE_READ(tp, rcv_nxt), BPF_CORE_READ(tp, snd_nxt));
		return 0;
	}
	connection = bpf_map_lookup_elem(&connections, &key);
	if (!connection)
		return 0;
	if (to == TCP_FIN_WAIT1 || to == TCP_LAST_ACK)
		connection->sent_fin = 1;
	else if (to == TCP_CLOSE)
		close_sock(&hook, connection, key);
	return 0;
}

LCC_ONE_OF(tcp, 1) SEC("fentry/tcp_event_data_recv")
int BPF_PROG(receive_fentry, const struct sock *sk, const struct sk_buff *skb)
{
	return receive(ctx, sk, skb);
}

LCC_ONE_OF(tcp, 1) SEC("fentry/tcp_event_new_data_sent")
int BPF_PROG(send_fentry, const struct sock *sk, const struct sk_buff *skb)
{
	return send(ctx, sk, skb);
}

LCC_ONE_OF(tcp, 1) SEC("fentry/tcp_ack")
int BPF_PROG(ack_fentry, const struct sock *sk, const struct sk_buff *skb)
{
	return acknowledge(ctx, sk, skb);
}

LCC_ONE_OF(tcp, 1) SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(state_btf, const struct sock *sk, int from, int to)
{
	return change_state(ctx, sk, from, to);
}

static __always_inline const void *argument(struct pt_regs *ctx, int number)
{
	return (const void *)compat_kprobe_argument(ctx, number);
}

LCC_ONE_OF(tcp, 2) SEC("kprobe/tcp_event_data_recv")
int receive_kprobe(struct pt_regs *ctx)
{
	return receive(ctx, argument(ctx, 0), argument(ctx, 1));
}

LCC_ONE_OF(tcp, 2) SEC("kprobe/tcp_event_new_data_sent")
int send_kprobe(struct pt_regs *ctx)
{
	return send(ctx, argument(ctx, 0), argument(ctx, 1));
}

LCC_ONE_OF(tcp, 2) SEC("kprobe/tcp_ack")
int ack_kprobe(struct pt_regs *ctx)
{
	return acknowledge(ctx, argument(ctx, 0), argument(ctx, 1));
}

/* 4.16, 563e0bb0dc74 ("net: tracepoint: replace tcp_set_state tracepoint with inet_sock_set_state tracepoint"). */
LCC_ONE_OF(tcp, 2) SEC("raw_tp/inet_sock_set_state")
int BPF_PROG(state_raw, const struct sock *sk, int from, int to)
{
	return change_state(ctx, sk, from, to);
}

LCC_ONE_OF(tcp, 3) SEC("kprobe/tcp_event_data_recv")
int receive_old(struct pt_regs *ctx)
{
	return receive(ctx, argument(ctx, 0), argument(ctx, 1));
}

LCC_ONE_OF(tcp, 3) SEC("kprobe/tcp_event_new_data_sent")
int send_old(struct pt_regs *ctx)
{
	return send(ctx, argument(ctx, 0), argument(ctx, 1));
}

LCC_ONE_OF(tcp, 3) SEC("kprobe/tcp_ack")
int ack_old(struct pt_regs *ctx)
{
	return acknowledge(ctx, argument(ctx, 0), argument(ctx, 1));
}

LCC_ONE_OF(tcp, 3) SEC("kprobe/tcp_set_state")
int state_old(struct pt_regs *ctx)
{
	const struct sock *sk = argument(ctx, 0);

	return change_state(ctx, sk, BPF_CORE_READ(sk, __sk_common.skc_state), (int)compat_kprobe_argument(ctx, 1));
}

/* A TCP segment as it is in a packet. */
struct segment {
	__u32 start;
	/* Behind its last byte of data. */
	__u32 end;
	__u32 acknowledges;
	__u8 flags;
};

/* Reads a packet that begins with its IP header. IPv6's only extension here is the one of large GSO packets. */
static __always_inline bool read_segment(struct __sk_buff *skb, struct segment *segment)
{
	const __u32 lengths_of = 12, flags_of = 13;
	__u32 at, words;
	__u8 tcp[20], first, next;

	if (bpf_skb_load_bytes(skb, 0, &first, 1))
		return 0;
	if (first >> 4 == 4) {
		at = (first & 0xf) * 4;
	} else {
		at = 40;
		if (bpf_skb_load_bytes(skb, 6, &next, 1))
			return 0;
		if (next == IPPROTO_HOPOPTS) {
			at += 8;
			if (bpf_skb_load_bytes(skb, 40, &next, 1))
				return 0;
		}
		if (next != IPPROTO_TCP)
			return 0;
	}
	if (bpf_skb_load_bytes(skb, at, tcp, sizeof(tcp)))
		return 0;
	words = tcp[lengths_of] >> 4;
	if (skb->len < at + words * 4)
		return 0;
	segment->start = bpf_ntohl(*(__be32 *)&tcp[4]);
	segment->acknowledges = bpf_ntohl(*(__be32 *)&tcp[8]);
	segment->end = segment->start + skb->len - at - words * 4;
	segment->flags = tcp[flags_of];
	return 1;
}

/* Begins with a connection of a socket that packets and socket events show. NULL where it is not measured. */
static __always_inline struct connection *begin_at(const struct hook *hook, const struct bpf_sock *sk, __u64 key,
						   __u8 role, __u32 received, __u32 sent)
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
	return keep(hook, key, &new);
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

/* The greatest window of TCP (RFC 7323, 2.3): a number farther ahead is none of this connection. */
#define LARGEST_WINDOW (1U << 30)

static __always_inline void come(const struct hook *hook, struct connection *connection, const struct segment *segment)
{
	__u32 expected = hook->tcp->rcv_nxt;

	if (segment->flags & TCP_FLAG_ACK && !after(segment->acknowledges, connection->sent + 1))
		on_ack(hook, connection, segment->acknowledges);
	/* nor what the kernel has already */
	if (segment->end - expected > LARGEST_WINDOW)
		return;
	if (segment->end != segment->start && segment->end != expected) {
		if (after(segment->end, connection->received))
			on_receive(hook, connection, segment->end, after(segment->start, connection->received));
		else
			on_fill(hook, connection);
	}
	if (segment->flags & TCP_FLAG_FIN)
		connection->received_fin = 1;
}

static __always_inline void go(const struct hook *hook, struct connection *connection, const struct segment *segment)
{
	/* what came with the handshake passes the control group as the listener's */
	if (segment->flags & TCP_FLAG_ACK)
		on_receive(hook, connection, segment->acknowledges - connection->received_fin, 0);
	/* behind a FIN, segments without data begin with the number after it */
	if (segment->end != segment->start)
		on_send(hook, connection, segment->end);
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

/* A packet of a socket, before the kernel takes it in or after it made it. */
static __always_inline void packet(struct __sk_buff *skb, bool comes)
{
	struct hook hook = { .ctx = skb, .now = compat_now() };
	struct bpf_sock *sk = skb->sk;
	struct connection *connection;
	struct segment segment;
	__u64 key;

	if (!sk)
		return;
	sk = bpf_sk_fullsock(sk);
	/* the kernel's own sockets, which send RST for others, are no streams */
	if (!sk || sk->type != SOCK_STREAM || sk->protocol != IPPROTO_TCP || sk->state == TCP_LISTEN)
		return;
	hook.tcp = bpf_tcp_sock(sk);
	if (!hook.tcp || !read_segment(skb, &segment) || segment.flags & TCP_FLAG_SYN)
		return;
	key = (__u64)sk;
	connection = bpf_map_lookup_elem(&connections, &key);
	if (!connection) {
		if (segment.end == segment.start || is_shut(sk->state))
			return;
		connection = begin_at(&hook, sk, key, ROLE_UNKNOWN, comes ? segment.start : segment.acknowledges,
				      comes ? hook.tcp->snd_nxt : segment.start);
	}
	if (!connection)
		return;
	if (comes)
		come(&hook, connection, &segment);
	else
		go(&hook, connection, &segment);
	if (is_end(&hook, connection, &segment, comes)) {
		on_close(&hook, connection, unsent_at(sk, connection));
		bpf_map_delete_elem(&connections, &key);
	}
}

LCC_ONE_OF(tcp, 4) SEC("cgroup_skb/ingress")
int packet_in(struct __sk_buff *skb)
{
	packet(skb, 1);
	return 1;
}

LCC_ONE_OF(tcp, 4) SEC("cgroup_skb/egress")
int packet_out(struct __sk_buff *skb)
{
	packet(skb, 0);
	return 1;
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

LCC_ONE_OF(tcp, 4) SEC("sockops")
int socket_event(struct bpf_sock_ops *ops)
{
	struct hook hook = { .ctx = ops, .now = compat_now() };
	struct bpf_sock *sk = ops->sk;
	__u32 op = ops->op, state = ops->args[1], data;
	struct connection *connection;
	__u64 key;

	if (op != BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB && op != BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB &&
	    op != BPF_SOCK_OPS_STATE_CB)
		return 1;
	if (!sk)
		return 1;
	hook.tcp = bpf_tcp_sock(sk);
	if (!hook.tcp)
		return 1;
	key = (__u64)sk;
	if (op == BPF_SOCK_OPS_STATE_CB) {
		connection = bpf_map_lookup_elem(&connections, &key);
		if (!connection)
			return 1;
		if (state == TCP_FIN_WAIT1 || state == TCP_LAST_ACK)
			connection->sent_fin = 1;
		if (state == TCP_CLOSE) {
			on_close(&hook, connection, unsent_at(sk, connection));
			bpf_map_delete_elem(&connections, &key);
		}
		return 1;
	}
	connection = begin_at(&hook, sk, key, op == BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB ? ROLE_CLIENT : ROLE_SERVER,
			      hook.tcp->rcv_nxt, hook.tcp->snd_nxt);
	if (!connection)
		return 1;
	bpf_sock_ops_cb_flags_set(ops, ops->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG);
	data = data_with(ops);
	if (data)
		on_receive(&hook, connection, connection->received + data, 0);
	return 1;
}

/*
 * Who reads from a socket: the process that copies what has come. 4.16, 6163849d289b ("net: tcp: add trace event for
 * tcp_rcv_space_adjust"). Sockets that the kernel itself reads from (kTLS, sockmap, NFS) show whoever was interrupted.
 */
LCC_OPTIONAL SEC("raw_tp/tcp_rcv_space_adjust")
int BPF_PROG(reader, const struct sock *sk)
{
	struct connection *connection;
	__u64 key = (__u64)sk;

	connection = bpf_map_lookup_elem(&connections, &key);
	if (!connection || connection->pid)
		return 0;
	connection->pid = bpf_get_current_pid_tgid() >> 32;
	bpf_get_current_comm(connection->comm, sizeof(connection->comm));
	if (!connection->identified)
		identify(connection, sk);
	return 0;
}

/*
 * The end of connections that are older than their observation and that no segment ends, for 4: the peer is gone.
 * 4.16, e1a4aa50f4ae ("tcp: add tracepoint trace_tcp_destroy_sock()").
 */
LCC_OPTIONAL SEC("raw_tp/tcp_destroy_sock")
int BPF_PROG(destroyed, const struct sock *sk)
{
	struct hook hook = { .ctx = ctx, .sk = sk, .now = compat_now() };
	__u64 key = (__u64)sk;
	struct connection *connection;

	connection = bpf_map_lookup_elem(&connections, &key);
	if (connection)
		close_sock(&hook, connection, key);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
