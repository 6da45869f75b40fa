/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A connection and what happens to it, whichever hook tells of it.
 *
 *	server:  IDLE --receive--> REQUEST --send--> RESPONSE --receive--> R, REQUEST ...
 *		 close: N in REQUEST, R or W in RESPONSE; then E
 *	client:  IDLE --send--> REQUEST --receive--> RESPONSE --send--> P, REQUEST ...
 *		 close: P
 *
 * Bytes are differences of sequence numbers, summed to 64 bits: what is sent again, comes twice, out of order or in one
 * packet of many segments counts once. Handlers are told the number behind the last byte of data: SYN and FIN, which
 * take a number each, are the hook's to leave out.
 */
#ifndef LCC_TCPRT_CONNECTION_H
#define LCC_TCPRT_CONNECTION_H

#include "compat.bpf.h"
#include "contexts.h"
#include "lcc.bpf.h"
#include "tcprt/exchange.bpf.h"
#include <bpf/bpf_endian.h>

enum connection_role {
	/* Older than its observation, and the ports do not tell: who is first seen to send is the client. */
	ROLE_UNKNOWN,
	ROLE_SERVER,
	ROLE_CLIENT,
};

enum connection_phase {
	PHASE_IDLE,
	PHASE_REQUEST,
	PHASE_RESPONSE,
};

struct connection {
	__u64 opened_ns;
	/* The task: T0, its request's last packet (T1), its response's first (T2) and last; server: last acknowledgement (T3). */
	__u64 start_ns;
	__u64 request_end_ns;
	__u64 response_start_ns;
	__u64 response_end_ns;
	/* Payload of the connection, and of the task. */
	__u64 received_bytes;
	__u64 sent_bytes;
	__u64 task_received_bytes;
	__u64 task_sent_bytes;
	/* Sequence numbers behind the last byte of data: received, sent, acknowledged by the peer. */
	__u32 received;
	__u32 sent;
	__u32 acknowledged;
	/* Of what is received, and sent: behind the last byte that is part of a task. */
	__u32 task_received;
	__u32 task_sent;
	/* tcp_sock.total_retrans when the connection was first seen, and when the task's sending began. */
	__u32 opened_retransmissions;
	__u32 task_retransmissions;
	__u32 task;
	__u8 role;
	__u8 phase;
	/* The side's FIN is queued; the peer's has come. */
	__u8 sent_fin;
	__u8 received_fin;
	/* As in the event. */
	bool reordered;
	bool joined;
	__u16 family;
	__u16 local_port;
	__u16 peer_port;
	__u32 netns;
	__u64 cgroup;
	struct lcc_address local;
	struct lcc_address peer;
	char comm[TASK_COMM_LEN];
	__u32 pid;
	/* Whose socket it is is known; it is not of those that are asked for. */
	bool identified;
	bool unwanted;
	/* Of the task: a time was taken later than what it is of. */
	bool late;
	__u8 unused;
};

LCC_LOG(events, tcprt_event, 8192);
LCC_CONFIG(struct tcprt_config);

/* A hook's call: when it was, and where the socket's figures are: in `tp` where `tcp` is NULL. */
struct hook {
	const struct sock *sk;
	const struct tcp_sock *tp;
	struct bpf_tcp_sock *tcp;
	__u64 now;
	/* The socket, as helpers take it. */
	void *socket;
	/* They do: the program is no kprobe. */
	bool is_typed;
	/* The payload is looked at, and this is known of it; NULL where it is not. */
	struct exchange *exchange;
};

/* Whether the side may still send, on a connection that is established. */
static __always_inline bool may_send(__u8 state)
{
	return state == TCP_ESTABLISHED || state == TCP_CLOSE_WAIT;
}

/* Whether the side's own FIN is queued. */
static __always_inline bool is_shut(__u8 state)
{
	return state == TCP_FIN_WAIT1 || state == TCP_FIN_WAIT2 || state == TCP_CLOSING || state == TCP_LAST_ACK;
}

static __always_inline bool after(__u32 a, __u32 b)
{
	return (__s32)(a - b) > 0;
}

static __always_inline __u64 microseconds(__u64 from, __u64 to)
{
	return to > from ? (to - from) / 1000 : 0;
}

/*
 * Whether the verifier knows what `tp` is: it is the helper's. 5.9, 478cfbdf5f13 ("bpf: Add bpf_skc_to_{tcp,
 * tcp_timewait, tcp_request}_sock() helpers").
 */
static __always_inline bool has_tp(const struct hook *hook)
{
	return hook->is_typed && bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_skc_to_tcp_sock);
}

/* A member of a hook's `tp`. */
#define of_tcp(hook, member) compat_read(has_tp(hook), (hook)->tp, member)

static __always_inline __u32 retransmissions(const struct hook *hook)
{
	return hook->tcp ? hook->tcp->total_retrans : of_tcp(hook, total_retrans);
}

/* What an event tells besides its connection. */
struct told {
	__u64 start_ns;
	__u64 total_us;
	__u64 receive_us;
	__u64 service_us;
	__u64 sent_bytes;
	__u64 received_bytes;
	__u64 unacknowledged_bytes;
	__u32 retransmissions_from;
	char kind;
};

static __always_inline void write_exchange(struct tcprt_event *event, const struct exchange *exchange, __u32 mode)
{
	const struct request_text *text = &exchange->texts[exchange->current & (TEXTS - 1)];

	event->protocol = mode == TCPRT_HTTP_ONLY ? TCPRT_HTTP : TCPRT_TLS;
	if (mode != TCPRT_HTTP_ONLY || event->kind == 'E')
		return;
	event->status = exchange->status;
	if (text->number != exchange->current)
		return;
	event->request_length = text->length;
	__builtin_memcpy(event->request, text->bytes, sizeof(event->request));
}

static __always_inline void write_event(const struct hook *hook, const struct connection *connection,
					const struct told *told)
{
	const volatile struct tcprt_config *config = lcc_config();
	struct events_slot *slot;
	struct tcprt_event *event;
	__u32 min_rtt_us;

	if (!config || connection->unwanted || (config->pid && connection->pid != config->pid))
		return;
	slot = lcc_log_begin(&events, &events_heads, hook->now);
	if (!slot)
		return;
	event = &slot->event;
	event->start_ns = told->start_ns;
	event->total_us = told->total_us;
	event->receive_us = told->receive_us;
	event->service_us = told->service_us;
	event->sent_bytes = told->sent_bytes;
	event->received_bytes = told->received_bytes;
	event->unacknowledged_bytes = told->unacknowledged_bytes;
	min_rtt_us = hook->tcp ? hook->tcp->rtt_min : compat_tcp_min_rtt_us(hook->tp, has_tp(hook));
	event->min_rtt_us = min_rtt_us == ~0U ? 0 : min_rtt_us;
	event->retransmissions = retransmissions(hook) - told->retransmissions_from;
	event->task = connection->task;
	event->mss = hook->tcp ? hook->tcp->mss_cache : of_tcp(hook, mss_cache);
	event->local = connection->local;
	event->peer = connection->peer;
	event->local_port = connection->local_port;
	event->peer_port = connection->peer_port;
	event->family = connection->family;
	event->kind = told->kind;
	event->reordered = connection->reordered;
	event->joined = connection->joined || connection->late;
	event->cgroup = connection->cgroup;
	event->netns = connection->netns;
	event->pid = connection->pid;
	__builtin_memcpy(event->comm, connection->comm, sizeof(event->comm));
	event->status = 0;
	event->protocol = TCPRT_ANY;
	event->request_length = 0;
	if (hook->exchange)
		write_exchange(event, hook->exchange, config->mode);
	lcc_log_end(&slot->number);
}

/* Tells what became of a task that ended at `end`. */
static __always_inline void send_task(const struct hook *hook, const struct connection *connection, char kind, __u64 end,
				      __u64 unacknowledged)
{
	bool is_client = connection->role == ROLE_CLIENT;
	bool is_answered = connection->phase == PHASE_RESPONSE;
	struct told told = {
		.kind = kind,
		.start_ns = connection->start_ns,
		.total_us = microseconds(connection->start_ns, end),
		.sent_bytes = is_client || is_answered ? connection->task_sent_bytes : 0,
		.received_bytes = connection->task_received_bytes,
		.unacknowledged_bytes = unacknowledged,
		.retransmissions_from = connection->task_retransmissions,
	};

	if (is_answered)
		told.service_us = microseconds(connection->request_end_ns, connection->response_start_ns);
	if (!is_client)
		told.receive_us = microseconds(connection->start_ns, connection->request_end_ns);
	else if (is_answered)
		told.receive_us = microseconds(connection->response_start_ns, end);
	write_event(hook, connection, &told);
}

static __always_inline void start_task(const struct hook *hook, struct connection *connection)
{
	connection->phase = PHASE_REQUEST;
	connection->start_ns = hook->now;
	connection->task += 1;
	connection->reordered = 0;
	connection->late = 0;
	connection->task_received_bytes = 0;
	connection->task_sent_bytes = 0;
	connection->task_retransmissions = retransmissions(hook);
}

static __always_inline void count_received(struct connection *connection, __u32 end)
{
	if (!after(end, connection->received))
		return;
	connection->received_bytes += end - connection->received;
	connection->task_received_bytes += end - connection->received;
	connection->received = end;
	connection->task_received = end;
}

/* Data up to `end` came. */
static __always_inline void on_receive(const struct hook *hook, struct connection *connection, __u32 end,
				       bool reordered)
{
	if (!after(end, connection->received))
		return;
	if (connection->role == ROLE_UNKNOWN)
		connection->role = ROLE_SERVER;
	if (connection->role == ROLE_SERVER) {
		if (connection->phase == PHASE_RESPONSE) {
			bool is_open = after(connection->sent, connection->acknowledged);

			send_task(hook, connection, 'R', is_open ? hook->now : connection->response_end_ns, 0);
		}
		if (connection->phase != PHASE_REQUEST)
			start_task(hook, connection);
		connection->request_end_ns = hook->now;
	} else if (connection->phase != PHASE_IDLE) {
		if (connection->phase == PHASE_REQUEST)
			connection->response_start_ns = hook->now;
		connection->phase = PHASE_RESPONSE;
		connection->response_end_ns = hook->now;
	}
	if (reordered)
		connection->reordered = 1;
	count_received(connection, end);
}

/* Data came that fills a gap, behind which data had come before. */
static __always_inline void on_fill(const struct hook *hook, struct connection *connection)
{
	connection->reordered = 1;
	if (connection->role == ROLE_SERVER && connection->phase == PHASE_REQUEST)
		connection->request_end_ns = hook->now;
	if (connection->role == ROLE_CLIENT && connection->phase == PHASE_RESPONSE)
		connection->response_end_ns = hook->now;
}

/* Data up to `end` is sent for the first time. */
static __always_inline void on_send(const struct hook *hook, struct connection *connection, __u32 end)
{
	if (!after(end, connection->sent))
		return;
	if (connection->role == ROLE_UNKNOWN)
		connection->role = ROLE_CLIENT;
	if (connection->role == ROLE_CLIENT) {
		if (connection->phase == PHASE_RESPONSE)
			send_task(hook, connection, 'P', connection->response_end_ns, 0);
		if (connection->phase != PHASE_REQUEST)
			start_task(hook, connection);
		connection->request_end_ns = hook->now;
	} else if (connection->phase == PHASE_REQUEST) {
		connection->phase = PHASE_RESPONSE;
		connection->response_start_ns = hook->now;
		connection->response_end_ns = hook->now;
		connection->task_sent_bytes = 0;
		connection->task_retransmissions = retransmissions(hook);
	}
	connection->sent_bytes += end - connection->sent;
	connection->task_sent_bytes += end - connection->sent;
	connection->sent = end;
	connection->task_sent = end;
}

/* The peer acknowledges all before `number`, which is not beyond what was sent. */
static __always_inline void on_ack(const struct hook *hook, struct connection *connection, __u32 number)
{
	/* the FIN's */
	if (after(number, connection->sent))
		number = connection->sent;
	if (!after(number, connection->acknowledged))
		return;
	connection->acknowledged = number;
	if (connection->role == ROLE_SERVER && connection->phase == PHASE_RESPONSE)
		connection->response_end_ns = hook->now;
}

/* The connection is over. `unsent`: bytes that wait behind what was sent. */
static __always_inline void on_close(const struct hook *hook, struct connection *connection, __u32 unsent)
{
	__u64 unacknowledged = unsent;
	struct told told = {};

	if (after(connection->sent, connection->acknowledged))
		unacknowledged += connection->sent - connection->acknowledged;
	if (connection->role == ROLE_CLIENT) {
		if (connection->phase == PHASE_RESPONSE)
			send_task(hook, connection, 'P', connection->response_end_ns, 0);
		else if (connection->phase == PHASE_REQUEST)
			send_task(hook, connection, 'P', hook->now, 0);
		return;
	}
	if (!connection->task)
		return;
	if (connection->phase == PHASE_REQUEST)
		send_task(hook, connection, 'N', hook->now, 0);
	else if (unsent || after(connection->task_sent, connection->acknowledged))
		send_task(hook, connection, 'W', hook->now, unacknowledged);
	else
		send_task(hook, connection, 'R', connection->response_end_ns, 0);
	connection->late = 0;
	told.kind = 'E';
	told.start_ns = connection->opened_ns;
	told.total_us = microseconds(connection->opened_ns, hook->now);
	told.sent_bytes = connection->sent_bytes;
	told.received_bytes = connection->received_bytes;
	told.unacknowledged_bytes = unacknowledged;
	told.retransmissions_from = connection->opened_retransmissions;
	write_event(hook, connection, &told);
}

static __always_inline bool is_within(const volatile struct tcprt_ports *ranges, __u32 count, __u16 port)
{
#pragma unroll
	for (__u32 i = 0; i < TCPRT_RANGES; i++) {
		if (i >= count)
			return 0;
		if (port >= ranges[i].first && port <= ranges[i].last)
			return 1;
	}
	return 0;
}

/* Whether the configuration has everything measured. */
static __always_inline bool asks_for_all(const volatile struct tcprt_config *config)
{
	return !config || (!config->local_count && !config->peer_count);
}

/* Which role the configuration has for these ports, if any; `*all` where it has everything measured. */
static __always_inline __u8 configured_role(__u16 local, __u16 peer, bool *all)
{
	const volatile struct tcprt_config *config = lcc_config();

	*all = asks_for_all(config);
	if (*all)
		return ROLE_UNKNOWN;
	if (is_within(config->local, config->local_count, local))
		return ROLE_SERVER;
	if (is_within(config->peer, config->peer_count, peer))
		return ROLE_CLIENT;
	return ROLE_UNKNOWN;
}

/*
 * Gives a connection its role: where it was not seen to be opened (ROLE_UNKNOWN), by the configuration, else by the
 * ports: those that the kernel gives to clients by default start at 32768 (ip(7), ip_local_port_range).
 */
static __always_inline void take_role(struct connection *connection, __u8 role, __u8 configured)
{
	const __u16 ephemeral = 32768;
	__u16 local = connection->local_port;
	__u16 peer = connection->peer_port;

	connection->role = role;
	if (role != ROLE_UNKNOWN)
		return;
	connection->joined = 1;
	if (configured != ROLE_UNKNOWN)
		connection->role = configured;
	else if (local < ephemeral && peer >= ephemeral)
		connection->role = ROLE_SERVER;
	else if (local >= ephemeral && peer < ephemeral)
		connection->role = ROLE_CLIENT;
}

/* Decides by its ports whether a connection is measured, and its role. */
static __always_inline bool is_measured(struct connection *connection, __u8 role)
{
	__u8 configured;
	bool all;

	configured = configured_role(connection->local_port, connection->peer_port, &all);
	if (!all && configured == ROLE_UNKNOWN)
		return 0;
	take_role(connection, role, configured);
	return 1;
}

static __always_inline void map_address(struct lcc_address *address, __be32 ipv4)
{
	__builtin_memset(address->bytes, 0, 10);
	address->bytes[10] = 0xff;
	address->bytes[11] = 0xff;
	__builtin_memcpy(&address->bytes[12], &ipv4, sizeof(ipv4));
}

/* The family of addresses that are IPv6's form. */
static __always_inline __u16 family_of(const struct lcc_address *address)
{
	const __u64 *high = (const void *)&address->bytes[0];
	const __u32 *middle = (const void *)&address->bytes[8];

	return !*high && *middle == bpf_htonl(0xffff) ? AF_INET : AF_INET6;
}

/* Whose socket it is: namespace and control group, and whether it is none of those that are asked for. */
struct owner {
	__u64 cgroup;
	__u32 netns;
	bool unwanted;
};

/* Only where kernel memory can be read: not by programs of control groups. */
static __always_inline struct owner owner_of(const struct sock *sk)
{
	const volatile struct tcprt_config *config = lcc_config();
	const struct cgroup *cgroup = compat_sock_cgroup(sk);
	struct owner owner = {};

	if (!config)
		return owner;
	owner.netns = compat_net_inum(compat_sock_net(sk));
	owner.cgroup = cgroup ? compat_cgroup_id(cgroup) : 0;
	if (config->netns && owner.netns != config->netns)
		owner.unwanted = 1;
	if (config->cgroup && !(cgroup && compat_cgroup_is_below(cgroup, config->cgroup)))
		owner.unwanted = 1;
	return owner;
}

static __always_inline void identify(struct connection *connection, struct owner owner)
{
	connection->identified = 1;
	connection->netns = owner.netns;
	connection->cgroup = owner.cgroup;
	connection->unwanted |= owner.unwanted;
}

#endif
