/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What pingtrace's programs send to user space, and what user space configures. bpf/pingtrace/src/event.rs reads the
 * same layout; a test compares them.
 */
#ifndef LCC_PINGTRACE_H
#define LCC_PINGTRACE_H

#include "kernel_types.h"

/* In network order; an IPv4 address is mapped, ::ffff:a.b.c.d (RFC 4291, 2.5.5.2). */
struct lcc_address {
	__u8 bytes[16];
};

enum pingtrace_kind {
	/* A request left this host and its reply was read. */
	PINGTRACE_ROUND_TRIP = 1,
	/* A request came to this host and its reply left. */
	PINGTRACE_ANSWERED = 2,
	/* The request or the reply was dropped on this host. */
	PINGTRACE_DROPPED = 3,
	/* A probe of pingtrace's passed a device on its way through this host: asked for by passes. */
	PINGTRACE_PASSED = 4,
};

/* Which end of the ping this host is. On loopback it is both, and tells both. */
enum pingtrace_role {
	PINGTRACE_LOCAL = 1,
	PINGTRACE_REMOTE = 2,
	/* Neither: of a device that is passed. */
	PINGTRACE_BETWEEN = 3,
};

enum pingtrace_packet {
	PINGTRACE_NONE = 0,
	PINGTRACE_REQUEST = 1,
	PINGTRACE_REPLY = 2,
};

/*
 * One ping on one host. Times: nanoseconds of the boot clock (monotonic before Linux 5.8), 0 where the point was not
 * seen. They stand in the order of the way.
 */
struct pingtrace_event {
	enum pingtrace_kind kind;
	enum pingtrace_role role;
	/* of the echo header, host order */
	__u16 id;
	__u16 sequence;
	/* AF_INET or AF_INET6 */
	__u16 family;
	/* IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_UDP or IPPROTO_TCP */
	__u16 protocol;
	/*
	 * Of this host, and of the other one, as the request has them. Where a host drops or passes on what it was only to
	 * forward: of the request's destination, and of its source.
	 */
	struct lcc_address local_address;
	struct lcc_address peer_address;
	/* inode number of the network namespace, as in /proc/PID/ns/net */
	__u32 netns;
	/* the device that the request left by first, or came in by; or that is passed */
	__u32 ifindex;
	char device[IFNAMSIZ];
	/* of the request's IP packet, headers included: bytes */
	__u32 length;
	/*
	 * who read the reply: process, thread, name; 0 and empty where nobody did. As long as a ping is in the map: the
	 * process that it woke
	 */
	__u32 pid;
	__u32 tid;
	char comm[TASK_COMM_LEN];
	/* enum skb_drop_reason of this kernel; 0 where the kernel does not say why (always before 5.17) */
	__u32 drop_reason;
	enum pingtrace_packet dropped_packet;
	/* the CPU at r_rx_devrcv or l_rx_iprcv */
	__u32 receive_cpu;
	/* 1: the request is queued for its device */
	__u64 l_tx_devqueue;
	/* 2: the driver is given the request; of devices on top of each other, the lowest */
	__u64 l_tx_devout;
	/* 9: the request is taken from its device */
	__u64 r_rx_devrcv;
	/* 3: ICMP, or a socket of the server's, has the request */
	__u64 r_rx_icmprcv;
	/* 4: the driver is given the reply */
	__u64 r_tx_devout;
	/*
	 * 10: the softirq is raised that receives the reply; or, where one was under way, the reply is queued for it
	 */
	__u64 l_rx_softirq;
	/* 5: the reply is taken from its device */
	__u64 l_rx_iprcv;
	/* 6: the socket has the reply */
	__u64 l_rx_skdataready;
	/* 7: the reader is put on a run queue; 0 where it did not sleep */
	__u64 l_rx_wakeup;
	/* the reader has copied the reply: what the kernel sees of 8, l_rx_user */
	__u64 l_rx_read;
	/* the packet is freed without having arrived */
	__u64 dropped;
	/* 11 to 14: a driver is given, and a device has brought, the request (echo) and the reply */
	__u64 m_tx_devecho;
	__u64 m_rx_devecho;
	__u64 m_tx_devreply;
	__u64 m_rx_devreply;
};

/* What is told. All zero: everything. */
struct pingtrace_config {
	/* from l_tx_devqueue to l_rx_read, or r_rx_devrcv to r_tx_devout: faster pings are not told */
	__u64 threshold_ns;
	/* only pings that this process reads */
	__u32 pid;
	/* only this network namespace */
	__u32 netns;
	/* only this role */
	enum pingtrace_role role;
	/* only this id of the echo header, host order */
	__u16 id;
	/* TCP probes to this port and from it, host order; 0: none */
	__u16 tcp_port;
	/* 1: UDP probes too */
	__u8 udp;
	/* 1: no pings but those of pingtrace's own */
	__u8 only_probes;
	/* 1: tell also each device that pingtrace's own pass, by namespace */
	__u8 passes;
	__u8 unused[5];
};

#endif
