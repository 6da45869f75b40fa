/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What is known of a connection's payload, where it is looked at. */
#ifndef LCC_TCPRT_EXCHANGE_H
#define LCC_TCPRT_EXCHANGE_H

#include "tcprt/tcprt.h"

enum {
	/* Requests of a connection that can wait, with the one that is answered; and those of which the text is kept. */
	REQUESTS = 16,
	TEXTS = 4,
};

/* Powers of two, as the next: their places are found by shifting, which older verifiers follow better than arithmetic. */
struct request {
	__u64 start_ns;
	__u64 end_ns;
	__u64 bytes;
	__u64 unused;
};

struct request_text {
	/* Of the request. */
	__u32 number;
	__u32 length;
	/* Behind what is kept, room for what is read at a time. */
	char bytes[248];
};

/* The TLS records that go one way. */
struct tls_way {
	/* The sequence number of the next record's header. */
	__u32 next;
	bool is_followed;
	/* The last record is the application's. */
	bool is_data;
};

struct exchange {
	/* Requests count from 1: that came last, that is answered. */
	__u32 newest;
	__u32 current;
	/* Of the response. */
	__u32 status;
	/* Whether a segment has data of the application; here, so that the verifier does not follow it. */
	__u32 has_data;
	/* The first request was not seen: it may be none. */
	__u32 is_unseen;
	/* Bytes of a response's first line, where the packet had no more. */
	__u32 status_have;
	/* When the packet that is looked at was seen. */
	__u64 now;
	struct request requests[REQUESTS];
	struct request_text texts[TEXTS];
	struct tls_way received;
	struct tls_way sent;
	bool is_tls13;
	bool has_client_data;
	bool has_server_data;
	/* The client's handshake is done; records that it took. */
	bool is_finished;
	__u8 handshakes;
	/* The length of what was taken for a ticket; when it was sent, until it is known whether it is one. */
	__u32 ticket;
	__u64 held_ns;
};

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct exchange);
} exchanges SEC(".maps");

/*
 * Requests that are not told by themselves: those that could not wait, of which the bytes are part of the one before; and those
 * that never were answered, behind the first ones. At least so many: a segment's rest counts as one.
 */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} requests_untold SEC(".maps");

#endif
