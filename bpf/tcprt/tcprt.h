/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What tcprt sends to user space, and what it is told. In the machine's byte order unless said otherwise. */
#ifndef LCC_TCPRT_H
#define LCC_TCPRT_H

#include "kernel_types.h"

/* Network order; IPv4 as IPv4-mapped IPv6, ::ffff:a.b.c.d (RFC 4291, 2.5.5.2). */
struct lcc_address {
	__u8 bytes[16];
};

enum {
	/* Bytes of a request that are kept. */
	TCPRT_REQUEST = 92,
};

/*
 * A task is one request and its response on a connection that carries one at a time.
 *
 *	kind	which				start	total: until		receive			service
 *	R	server: answered, acknowledged	T0	T3			T1 - T0			T2 - T1
 *	W	server: closed while sending	T0	the close		T1 - T0			T2 - T1
 *	N	server: closed while receiving	T0	the close		T1 - T0			0
 *	E	server: closed, after a task	the connection's, until the close
 *	P	client: answered, or closed	first	last of response	response's first	request's last
 *		before (then receive and	sent	(closed before:		to last			to response's
 *		service are 0)			packet	the close)		packet			first packet
 *
 * T0, T1: first and last packet of the request arrive. T2: the response's first packet is sent. T3: its last byte is
 * acknowledged; where the next request comes before that, its arrival.
 */
struct tcprt_event {
	/* Monotonic clock, which does not run while the machine sleeps: nanoseconds. */
	__u64 start_ns;
	__u64 total_us;
	__u64 receive_us;
	__u64 service_us;
	/* Payload of the task; E: of the connection. Each byte counts once, however often it was sent. */
	__u64 sent_bytes;
	__u64 received_bytes;
	/* W, E: of what was to be sent, not acknowledged. */
	__u64 unacknowledged_bytes;
	/* The smallest that the kernel knows of; 0 where it knows of none. */
	__u32 min_rtt_us;
	/* Segments sent again since the response began (P: since the request began); E: of the connection. */
	__u32 retransmissions;
	/* From 1 on; E: the last one's. */
	__u32 task;
	/* The largest segment that was sent at the time, bytes of payload. */
	__u32 mss;
	struct lcc_address local;
	struct lcc_address peer;
	__u16 local_port;
	__u16 peer_port;
	/* AF_INET or AF_INET6: that of the addresses, which may not be the socket's. */
	__u16 family;
	/* R, W, N, E or P. */
	char kind;
	/* Part of the task came out of order. */
	bool reordered : 1;
	/*
	 * The connection is older than its observation. Its first task may have begun before, tasks count from there,
	 * as do the connection's bytes and retransmissions, and which side is the server's is a guess.
	 * Or, of a task, the kernel has left out a program's call, and a time is later than what it is of.
	 */
	bool joined : 1;
	/* The socket's control group: its id, the inode number of its folder; 0 where it has none, or is not known. */
	__u64 cgroup;
	/* The network namespace: its inode number; 0 where it is not known. */
	__u32 netns;
	/* The process that first read from the socket since the connection is observed; 0 where none did. */
	__u32 pid;
	char comm[TASK_COMM_LEN];
	/* HTTP: the response's status; 0 where there is none. */
	__u16 status;
	/* enum tcprt_protocol */
	__u8 protocol;
	/* HTTP: bytes of `request` that are filled: the begin of the request, its first line if that is short enough. */
	__u8 request_length;
	char request[TCPRT_REQUEST];
};

/* What a task was recognised as. */
enum tcprt_protocol {
	/* Not looked at. */
	TCPRT_ANY,
	TCPRT_HTTP,
	TCPRT_TLS,
};

/* What is a task. */
enum tcprt_mode {
	/* Whatever is sent and answered. */
	TCPRT_DEFAULT,
	/* What begins with a request of HTTP/1, from the first byte to the next one's; other data is none. */
	TCPRT_HTTP_ONLY,
	/* TLS: application data. Handshakes, alerts (close_notify) and the like are none. */
	TCPRT_HTTPS,
};

/* Both ends are of the range. Host order. */
struct tcprt_ports {
	__u16 first;
	__u16 last;
};

enum {
	TCPRT_RANGES = 8,
};

/*
 * Which connections are measured: those whose local port is in a range of `local` (servers), and those whose peer's
 * port is in a range of `peer` (clients). All where both are empty.
 */
struct tcprt_config {
	/* Ranges in use, up to TCPRT_RANGES. */
	__u32 local_count;
	__u32 peer_count;
	struct tcprt_ports local[TCPRT_RANGES];
	struct tcprt_ports peer[TCPRT_RANGES];
	/* Only connections of this control group and those below it, by the id; of this process; of this namespace. */
	__u64 cgroup;
	__u32 pid;
	__u32 netns;
	/* enum tcprt_mode: others than the default see packets at control groups. */
	__u32 mode;
	__u32 unused;
};

#endif
