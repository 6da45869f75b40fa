/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Tasks by what is in the packets: rank 5. What is none is counted for the connection and is part of no task.
 *
 *	http:	a request begins where a method does, at the begin of a segment or behind the end of another request's header; a
 *		response where `HTTP/1.` does. Requests that come before the one ahead of them is answered wait for their
 *		turn. A response of 1xx (but 101) belongs to the request that it comes for.
 *	https:	TLS records are followed by their lengths. Application data is the task's, but for what TLS 1.3 hides in it:
 *		the handshake, tickets and close_notify, told by their order and lengths (RFC 8446, 4.4.4, 4.6.1, 6.1).
 *
 * Known: a pipelined request behind one that has a body is taken for its end; of one part, the first 2 KiB are looked through for
 * where the next begins.
 */
#ifndef LCC_TCPRT_PAYLOAD_H
#define LCC_TCPRT_PAYLOAD_H

#include "tcprt/store.bpf.h"

/* enum tcprt_mode */
static __always_inline __u32 mode_of_tasks(void)
{
	const volatile struct tcprt_config *config = lcc_config();

	return config ? config->mode : TCPRT_DEFAULT;
}

/* Part of a packet, by offsets. */
struct piece {
	__u32 at;
	__u32 end;
};

/*
 * Whether it is at least 1, and at most so much, which the compiler knows and the verifier does not. Before 6.8, d028f87517d6
 * ("bpf: make the verifier tracks the 'not equal' for regs"), a comparison with 0 does not tell it the former: this is with 1.
 */
static __always_inline bool is_in(__u64 *length, __u64 most)
{
	__u64 least = 1, value = *length;

	asm volatile("" : "+r"(value), "+r"(least));
	value &= 127;
	*length = value;
	return value >= least && value <= most;
}

/* RFC 9110, 9.3; RFC 5789. By the first four bytes; of the shorter two, with the space behind them. */
static __always_inline bool is_method(struct __sk_buff *skb, __u32 at, __u32 end)
{
	char first[4] = {};

	if (at + sizeof(first) > end) {
		/* not yet whole */
		if (at >= end || bpf_skb_load_bytes(skb, at, first, 1))
			return 0;
		return first[0] == 'G' || first[0] == 'P' || first[0] == 'H' || first[0] == 'D' || first[0] == 'O' ||
		       first[0] == 'C' || first[0] == 'T';
	}
	if (bpf_skb_load_bytes(skb, at, first, sizeof(first)))
		return 0;
#define IS_FIRST(a, b, c, d) (first[0] == a && first[1] == b && first[2] == c && first[3] == d)
	return IS_FIRST('G', 'E', 'T', ' ') || IS_FIRST('P', 'O', 'S', 'T') || IS_FIRST('P', 'U', 'T', ' ') ||
	       IS_FIRST('H', 'E', 'A', 'D') || IS_FIRST('D', 'E', 'L', 'E') || IS_FIRST('P', 'A', 'T', 'C') ||
	       IS_FIRST('O', 'P', 'T', 'I') || IS_FIRST('C', 'O', 'N', 'N') || IS_FIRST('T', 'R', 'A', 'C');
}

/* The status of a response that begins there (RFC 9112, 4); 0 where none does; 1 where it is not yet whole. */
static __always_inline __u32 status_at(struct __sk_buff *skb, __u32 at, __u32 end)
{
	/* HTTP/1.1 200 */
	char line[12];

	if (at + sizeof(line) > end) {
		if (at >= end || bpf_skb_load_bytes(skb, at, line, 1))
			return 0;
		return line[0] == 'H';
	}
	if (bpf_skb_load_bytes(skb, at, line, sizeof(line)))
		return 0;
	if (line[0] != 'H' || line[1] != 'T' || line[2] != 'T' || line[3] != 'P' || line[4] != '/' || line[5] != '1' ||
	    line[6] != '.' || line[8] != ' ' || line[9] < '1' || line[9] > '9')
		return 0;
	return (line[9] - '0') * 100 + (line[10] - '0') * 10 + (line[11] - '0');
}

/* What begins_at() gives: a request; a response's status, above it. Both may be, of what is not yet whole. */
enum {
	BEGINS_REQUEST = 1,
	BEGINS_STATUS_SHIFT = 16,
};

/*
 * What begins there. A function of its own to the verifier, as those below, which it looks at once, wherever they are called from
 * (5.6, 51c39bb1d5d1 ("bpf: Introduce function-by-function verification")).
 */
__attribute__((noinline)) __u32 begins_at(struct __sk_buff *skb, __u32 at, __u32 end)
{
	return (is_method(skb, at, end) ? BEGINS_REQUEST : 0) | status_at(skb, at, end) << BEGINS_STATUS_SHIFT;
}

enum {
	/* Bytes that are looked through at a time, and those of them that the next time looks through again. */
	CHUNK = 32,
	OVERLAP = 6,
	CHUNKS = 80,
};

/* How many bytes behind `at`, in a chunk, a request's header has ended, or a response's first line begins; CHUNK if neither. */
__attribute__((noinline)) __u32 look_through(struct __sk_buff *skb, __u32 at, __u32 end, __u32 is_request)
{
	const __u64 blank_line = 0x0d0a0d0a, version = 0x485454502f312eULL /* HTTP/1. */, seven = (1ULL << 56) - 1;
	__u64 length = end - at, window = 0;
	__u8 chunk[CHUNK] = {};

	if (length > CHUNK)
		length = CHUNK;
	if (!is_in(&length, CHUNK) || bpf_skb_load_bytes(skb, at, chunk, length))
		return CHUNK;
#pragma unroll
	for (__u32 i = 0; i < CHUNK; i++) {
		window = window << 8 | chunk[i];
		if (is_request && (window & 0xffffffff) == blank_line)
			return i + 1;
		if (!is_request && (window & seven) == version)
			return i - OVERLAP;
	}
	return CHUNK;
}

/* Where the next request or response may begin, from `at` on; `end` if it does not. */
__attribute__((noinline)) __u32 next_begin(struct __sk_buff *skb, __u32 at, __u32 end, __u32 is_request)
{
	for (__u32 number = 0; number < CHUNKS; number++) {
		__u32 found;

		if (at >= end)
			break;
		found = look_through(skb, at, end, is_request);
		if (found < CHUNK)
			return at + found;
		at += CHUNK - OVERLAP;
	}
	return end;
}

/* Puts the begin of the newest request into its text: what is there of it in [at, end). */
static __always_inline void note_text(struct __sk_buff *skb, struct exchange *exchange, struct piece piece, bool is_begin)
{
	struct request_text *text = &exchange->texts[exchange->newest & (TEXTS - 1)];
	__u64 length = piece.end - piece.at, have;

	/* its place is that of one that is still needed */
	if (exchange->newest - exchange->current >= TEXTS)
		return;
	if (is_begin) {
		text->number = exchange->newest;
		text->length = 0;
	}
	have = text->length;
	if (text->number != exchange->newest || have >= TCPRT_REQUEST || !length)
		return;
	if (length > TCPRT_REQUEST)
		length = TCPRT_REQUEST;
	asm volatile("" : "+r"(have));
	have &= 127;
	if (!is_in(&length, TCPRT_REQUEST) || bpf_skb_load_bytes(skb, piece.at, &text->bytes[have], length))
		return;
	have += length;
	text->length = have > TCPRT_REQUEST ? TCPRT_REQUEST : have;
}

/* Part of a request, of a whole one, or of several at once. */
static __always_inline void request_data(const struct hook *hook, struct connection *connection, struct __sk_buff *skb,
					 struct piece piece, bool is_begin, __u32 behind)
{
	struct exchange *exchange = hook->exchange;
	__u32 bytes = piece.end - piece.at;
	struct request *request;

	if (is_begin && connection->phase == PHASE_IDLE) {
		exchange->newest += 1;
		exchange->current = exchange->newest;
		exchange->status = 0;
		start_task(hook, connection);
	} else if (is_begin && exchange->newest - exchange->current < REQUESTS - 1) {
		exchange->newest += 1;
		request = &exchange->requests[exchange->newest & (REQUESTS - 1)];
		request->start_ns = hook->now;
		request->bytes = 0;
	} else if (is_begin) {
		add(&requests_untold, 1);
		is_begin = 0;
	}
	if (connection->phase == PHASE_IDLE)
		return;
	note_text(skb, exchange, piece, is_begin);
	if (exchange->newest != exchange->current) {
		request = &exchange->requests[exchange->newest & (REQUESTS - 1)];
		request->end_ns = hook->now;
		request->bytes += bytes;
		return;
	}
	if (connection->phase == PHASE_REQUEST)
		connection->request_end_ns = hook->now;
	if (connection->role == ROLE_SERVER) {
		connection->task_received_bytes += bytes;
		connection->task_received = behind;
	} else {
		connection->task_sent_bytes += bytes;
	}
}

/* The next request that waits is the one that is answered now. */
static __always_inline void next_request(const struct hook *hook, struct connection *connection)
{
	struct exchange *exchange = hook->exchange;
	struct request *request;

	exchange->current += 1;
	exchange->status = 0;
	request = &exchange->requests[exchange->current & (REQUESTS - 1)];
	start_task(hook, connection);
	connection->start_ns = request->start_ns;
	connection->request_end_ns = request->end_ns;
	if (connection->role == ROLE_SERVER)
		connection->task_received_bytes = request->bytes;
	else
		connection->task_sent_bytes = request->bytes;
}

/* Part of a response, or a whole one. */
static __always_inline void response_data(const struct hook *hook, struct connection *connection, __u32 bytes,
					  __u32 status, __u32 behind)
{
	struct exchange *exchange = hook->exchange;
	bool is_server = connection->role == ROLE_SERVER;

	if (connection->phase == PHASE_IDLE)
		return;
	if (exchange->is_unseen && !status) {
		/* what it answers was none of HTTP's */
		connection->phase = PHASE_IDLE;
		connection->task -= 1;
		exchange->is_unseen = 0;
		return;
	}
	exchange->is_unseen = 0;
	if (status && connection->phase == PHASE_RESPONSE && exchange->newest != exchange->current) {
		bool is_open = after(connection->sent, connection->acknowledged);

		if (is_server)
			send_task(hook, connection, 'R', is_open ? hook->now : connection->response_end_ns, 0);
		else
			send_task(hook, connection, 'P', connection->response_end_ns, 0);
		next_request(hook, connection);
	}
	if (connection->phase == PHASE_REQUEST && !(status >= 100 && status < 200 && status != 101)) {
		connection->phase = PHASE_RESPONSE;
		connection->response_start_ns = hook->now;
		connection->response_end_ns = hook->now;
		if (is_server)
			connection->task_retransmissions = retransmissions(hook);
	}
	if (status >= 100 && connection->phase == PHASE_RESPONSE && !exchange->status)
		exchange->status = status;
	if (is_server) {
		connection->task_sent_bytes += bytes;
		connection->task_sent = behind;
	} else {
		connection->task_received_bytes += bytes;
		connection->task_received = behind;
		if (connection->phase == PHASE_RESPONSE)
			connection->response_end_ns = hook->now;
	}
}

/*
 * The status of a response that began in the packet before, with less than its first line: where this one has the rest of it, all
 * three digits.
 */
static __always_inline void complete_status(struct __sk_buff *skb, struct exchange *exchange, struct piece piece,
					    __u32 status)
{
	const __u32 digits_at = 9;
	__u32 have = exchange->status_have;
	char digits[3];

	exchange->status_have = status == 1 ? piece.end - piece.at : 0;
	if (status || !have || have > digits_at || piece.at + digits_at - have + sizeof(digits) > piece.end)
		return;
	if (!bpf_skb_load_bytes(skb, piece.at + digits_at - have, digits, sizeof(digits)) && !exchange->status)
		exchange->status = (digits[0] - '0') * 100 + (digits[1] - '0') * 10 + (digits[2] - '0');
}

/* How data goes. */
enum {
	IS_RECEIVED = 1,
	IS_FROM_SERVER = 2,
	/* It is not looked through for more. */
	IS_REST = 4,
};

/*
 * Takes the first part of HTTP's data in [at, end): of one request, or of one response. Gives where the next begins, which is `end`
 * where there is none. `base`: the sequence number of the packet's first byte.
 */
__attribute__((noinline)) __u32 take_part(struct __sk_buff *skb, __u32 at, __u32 end, __u32 how, __u32 base)
{
	__u32 begins = begins_at(skb, at, end), behind = end, status;
	struct hook hook = { .is_typed = 1 };
	struct connection *connection;
	struct bpf_sock *sk = skb->sk;
	struct exchange *exchange;
	struct piece piece;
	bool is_request;

	if (!sk || end < at)
		return end;
	sk = bpf_sk_fullsock(sk);
	if (!sk)
		return end;
	hook.socket = sk;
	connection = find(&hook);
	exchange = bpf_sk_storage_get(&exchanges, sk, 0, 0);
	hook.tcp = bpf_tcp_sock(sk);
	if (!connection || !exchange || !hook.tcp)
		return end;
	hook.exchange = exchange;
	hook.now = exchange->now;
	is_request = (connection->role == ROLE_SERVER) == !!(how & IS_RECEIVED);
	/* more responses only where more are waited for */
	if (!(how & IS_REST) && (is_request ? begins & BEGINS_REQUEST : exchange->newest != exchange->current)) {
		behind = next_begin(skb, at + 1, end, is_request);
		/* what is behind a header may be a body */
		if (behind > end || behind <= at || (is_request && !(begins_at(skb, behind, end) & BEGINS_REQUEST)))
			behind = end;
	}
	piece.at = at;
	piece.end = behind;
	if (is_request) {
		request_data(&hook, connection, skb, piece, begins & BEGINS_REQUEST, base + behind);
		return behind;
	}
	status = begins >> BEGINS_STATUS_SHIFT;
	complete_status(skb, exchange, piece, status);
	response_data(&hook, connection, behind - at, status, base + behind);
	return behind;
}

enum {
	/* Requests or responses of a segment that are told apart; the rest is part of the last. More than can wait. */
	PARTS = 64,
};

/* Data of HTTP, from the sequence number `start` on: requests if the side that sends it is the client. */
static __always_inline void http(const struct hook *hook, struct connection *connection, struct __sk_buff *skb,
				 struct piece piece, __u32 start, bool is_received)
{
	__u32 at = piece.at, how = is_received ? IS_RECEIVED : 0;

	hook->exchange->now = hook->now;
	if (connection->role == ROLE_UNKNOWN) {
		if (!(begins_at(skb, at, piece.end) & BEGINS_REQUEST))
			return;
		connection->role = is_received ? ROLE_SERVER : ROLE_CLIENT;
	}
	/* no loop: the verifiers of 5.10 and 6.1 take only those that end with a jump, and the compiler makes others */
#pragma unroll
	for (int part = 0; part < PARTS; part++) {
		if (at < piece.end)
			at = take_part(skb, at, piece.end, how, start - piece.at);
	}
	if (at < piece.end)
		take_part(skb, at, piece.end, how | IS_REST, start - piece.at);
}

/* Requests that were never answered, at the end of their connection: the first ones are told, the others counted. */
static __always_inline void unanswered(const struct hook *hook, struct connection *connection)
{
	struct exchange *exchange = hook->exchange;

	for (int number = 0; number < TEXTS; number++) {
		if (connection->phase == PHASE_IDLE || exchange->newest == exchange->current)
			break;
		if (connection->phase == PHASE_RESPONSE)
			send_task(hook, connection, connection->role == ROLE_SERVER ? 'R' : 'P',
				  connection->response_end_ns, 0);
		else
			send_task(hook, connection, connection->role == ROLE_SERVER ? 'N' : 'P', hook->now, 0);
		next_request(hook, connection);
	}
	if (exchange->newest != exchange->current && connection->phase != PHASE_IDLE)
		add(&requests_untold, exchange->newest - exchange->current);
}

/* RFC 8446, 5.1 */
enum {
	TLS_OLDEST = 20,
	TLS_APPLICATION_DATA = 23,
	TLS_NEWEST = 24,
	TLS_HEADER = 5,
	/* Records that are looked at in a segment. */
	TLS_RECORDS = 40,
	/* Of TLS 1.3, by the two hashes that it has: type, length, hash; type of the record; tag. */
	TLS_FINISHED_SHA256 = 4 + 32 + 1 + 16,
	TLS_FINISHED_SHA384 = 4 + 48 + 1 + 16,
	TLS_ALERT = 2 + 1 + 16,
};

/* Whether a record of application data is the application's. `next`: the length of the one behind it; 0 if not known. */
static __always_inline bool is_applications(struct exchange *exchange, bool from_server, __u32 length, __u32 next)
{
	if (from_server && !exchange->has_client_data) {
		/* TLS 1.3: the handshake's second part */
		exchange->is_tls13 = 1;
		return 0;
	}
	if (!from_server) {
		bool is_handshake = exchange->is_tls13 && !exchange->is_finished;

		exchange->has_client_data = 1;
		if (is_handshake) {
			/* a certificate may come before it, and its proof */
			exchange->handshakes += 1;
			exchange->is_finished = length == TLS_FINISHED_SHA256 || length == TLS_FINISHED_SHA384 ||
						exchange->handshakes == 4;
			return 0;
		}
	}
	if (exchange->is_tls13 && length == TLS_ALERT)
		return 0;
	if (!from_server || !exchange->is_tls13 || exchange->has_server_data)
		return 1;
	/* OpenSSL and others send two tickets, of one length, others one; if none follows that is like it, it may be the response */
	if (!exchange->ticket && (length == next || !next)) {
		exchange->ticket = length;
		return 0;
	}
	exchange->has_server_data = 1;
	exchange->held_ns = 0;
	return exchange->ticket != length;
}

/* What was taken for a ticket was the response: nothing else came. */
static __always_inline void release_held(struct connection *connection, struct exchange *exchange)
{
	__u64 bytes = exchange->ticket + TLS_HEADER;

	if (!exchange->held_ns || connection->phase != PHASE_REQUEST)
		return;
	connection->phase = PHASE_RESPONSE;
	connection->response_start_ns = exchange->held_ns;
	connection->response_end_ns = exchange->held_ns;
	if (connection->role == ROLE_SERVER)
		connection->task_sent_bytes = bytes;
	else
		connection->task_received_bytes = bytes;
	exchange->has_server_data = 1;
	exchange->held_ns = 0;
}

/* The length of the record whose header is there; 0 where none is. */
static __always_inline __u32 record_at(struct __sk_buff *skb, __u32 at, __u32 end, __u8 *type)
{
	__u8 header[TLS_HEADER];

	if (at + TLS_HEADER > end || bpf_skb_load_bytes(skb, at, header, TLS_HEADER))
		return 0;
	*type = header[0];
	if (header[0] < TLS_OLDEST || header[0] > TLS_NEWEST || header[1] != 3)
		return 0;
	return header[3] << 8 | header[4];
}

/*
 * Follows the record of which the header is at `at`: gives how long it is with its header, 0 where there is no header, or not all
 * of it. `now`: if a request waits for its response.
 */
__attribute__((noinline)) __u32 follow_record(struct __sk_buff *skb, __u32 at, __u32 end, __u32 how, __u64 now)
{
	struct bpf_sock *sk = skb->sk;
	struct exchange *exchange;
	struct tls_way *way;
	__u8 type = 0, other;
	__u32 length, next;

	if (!sk)
		return 0;
	sk = bpf_sk_fullsock(sk);
	if (!sk)
		return 0;
	exchange = bpf_sk_storage_get(&exchanges, sk, 0, 0);
	if (!exchange)
		return 0;
	way = how & IS_RECEIVED ? &exchange->received : &exchange->sent;
	length = record_at(skb, at, end, &type);
	if (!length)
		return 0;
	next = record_at(skb, at + TLS_HEADER + length, end, &other);
	way->is_data = type == TLS_APPLICATION_DATA &&
		       is_applications(exchange, how & IS_FROM_SERVER, length, next);
	if (exchange->ticket && !exchange->has_server_data && how & IS_FROM_SERVER && !exchange->held_ns)
		exchange->held_ns = now;
	return length + TLS_HEADER;
}

/* Whether data of TLS, of which the first byte has the sequence number `start`, has any of the application. */
static __always_inline bool tls(struct exchange *exchange, struct __sk_buff *skb, struct piece piece, __u32 start,
				bool is_received, bool from_server, __u64 now)
{
	struct tls_way *way = is_received ? &exchange->received : &exchange->sent;
	__u32 how = (is_received ? IS_RECEIVED : 0) | (from_server ? IS_FROM_SERVER : 0);
	__u32 end = start + piece.end - piece.at, length;
	volatile __u32 *has_data = &exchange->has_data;
	__u8 type;

	if (!way->is_followed || after(start, way->next)) {
		/* not from its begin, or with a gap */
		if (!record_at(skb, piece.at, piece.end, &type))
			return way->is_data;
		way->is_followed = 1;
		way->is_data = 0;
		way->next = start;
	}
	*has_data = way->is_data && after(way->next, start);
	for (int number = 0; number < TLS_RECORDS; number++) {
		if (!after(end, way->next))
			break;
		length = follow_record(skb, piece.at + (way->next - start), piece.end, how, now);
		/* cut in its header, or none: the next segment may begin with one */
		if (!length)
			way->is_followed = 0;
		*has_data |= way->is_data;
		if (!length)
			break;
		way->next += length;
	}
	return *has_data;
}

#endif
