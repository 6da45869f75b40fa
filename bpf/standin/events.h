/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the programs send to user space. Times are nanoseconds of the boot clock (monotonic before 5.8). */
#ifndef LCC_STANDIN_EVENTS_H
#define LCC_STANDIN_EVENTS_H

#include "kernel_types.h"

/* A connection reached ESTABLISHED or CLOSE, or sent a segment again. Addresses and remote port: network order. */
struct connection_event {
	__u64 time;
	__u64 bytes_acked;
	__u64 bytes_received;
	__u8 local_address[16];
	__u8 remote_address[16];
	__u16 local_port;
	__u16 remote_port;
	__u16 family;
	__u8 state;
	__u8 retransmission;
	__u32 net_inum;
	__u32 uid;
	__u32 mark;
	__u32 srtt_us;
	__u32 min_rtt_us;
	__u32 mss;
	__u32 congestion_window;
	__u32 in_flight;
	__u32 unacknowledged;
	__u32 total_retransmissions;
	__u32 reordering;
	__u32 send_queue;
	__u8 congestion_state;
	__u8 consecutive_timeouts;
	__u8 nagle;
	__u8 transparent;
	__u8 tos;
	__u8 locks;
	char congestion_control[TCP_CA_NAME_MAX];
};

/* The points that an echo packet passes. */
enum ping_point {
	PING_DEVICE_QUEUE,
	PING_DEVICE_XMIT,
	PING_DEVICE_RECEIVE,
	PING_CONSUMED,
	PING_DROPPED,
	PING_POINTS,
};

struct ping_key {
	__be16 id;
	__be16 sequence;
};

struct ping_event {
	__u64 times[PING_POINTS];
	__s64 packet_time;
	struct ping_key key;
	__u32 hash;
	__u32 mark;
	__u32 length;
	__u32 net_inum;
	__s32 ifindex;
	__u32 mtu;
	__u8 family;
	__u8 reply;
	__u8 packet_type;
	__u8 lockless_device;
	__u8 ttl;
	__u8 drop_is_explained;
	__u16 drop_reason;
	char device[IFNAMSIZ];
};

/* A task waited longer than the threshold for its CPU. */
struct delay_event {
	__u64 time;
	__u64 wait;
	__u64 start_time;
	__u64 cgroup_id;
	__u64 run_time;
	__u64 switches;
	__s64 anonymous_pages;
	__u64 preempted_state;
	__s32 pid;
	__s32 tgid;
	__s32 parent_tgid;
	__s32 priority;
	__u32 cpu;
	__u32 pid_namespace;
	__s32 preempted_pid;
	__u32 in_execve;
	char comm[TASK_COMM_LEN];
};

#endif
