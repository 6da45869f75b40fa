/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The kernel structures that the programs read, each cut to the members in use. CO-RE finds every member by its
 * name in the target's BTF: order, offsets and sizes here mean nothing. What is named or typed differently in
 * some kernel stands in compat.bpf.h.
 *
 * It takes the place of a generated vmlinux.h, and of linux/types.h and linux/bpf.h, which need the build
 * machine's architecture.
 */
#ifndef LCC_KERNEL_TYPES_H
#define LCC_KERNEL_TYPES_H

typedef signed char __s8;
typedef unsigned char __u8;
typedef signed short __s16;
typedef unsigned short __u16;
typedef signed int __s32;
typedef unsigned int __u32;
typedef signed long long __s64;
typedef unsigned long long __u64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u32 __wsum;
typedef __u16 __sum16;
typedef _Bool bool;

/* include/uapi/linux/bpf.h */
enum {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PERF_EVENT_ARRAY = 4,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_LRU_HASH = 9,
	BPF_MAP_TYPE_SK_STORAGE = 24,
	BPF_MAP_TYPE_RINGBUF = 27,
	BPF_F_NO_PREALLOC = 1,
	BPF_SK_STORAGE_GET_F_CREATE = 1,
};
#define BPF_ANY 0ULL
#define BPF_F_CURRENT_CPU 0xffffffffULL

/* include/linux/socket.h, include/uapi/linux/{if_ether,in,icmp,icmpv6}.h, include/net/tcp_states.h */
enum {
	AF_INET = 2,
	AF_INET6 = 10,
	ETH_P_IP = 0x0800,
	ETH_P_IPV6 = 0x86DD,
	IPPROTO_HOPOPTS = 0,
	IPPROTO_ICMP = 1,
	IPPROTO_TCP = 6,
	IPPROTO_UDP = 17,
	IPPROTO_ICMPV6 = 58,
	ICMP_ECHOREPLY = 0,
	ICMP_ECHO = 8,
	ICMPV6_ECHO_REQUEST = 128,
	ICMPV6_ECHO_REPLY = 129,
	SOCK_STREAM = 1,
	TCP_ESTABLISHED = 1,
	TCP_SYN_SENT = 2,
	TCP_SYN_RECV = 3,
	TCP_FIN_WAIT1 = 4,
	TCP_FIN_WAIT2 = 5,
	TCP_CLOSE = 7,
	TCP_CLOSE_WAIT = 8,
	TCP_LAST_ACK = 9,
	TCP_LISTEN = 10,
	TCP_CLOSING = 11,
	TCP_FLAG_FIN = 0x01,
	TCP_FLAG_SYN = 0x02,
	TCP_FLAG_RST = 0x04,
	TCP_FLAG_ACK = 0x10,
	TASK_COMM_LEN = 16,
	IFNAMSIZ = 16,
};

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct in6_addr {
	union {
		__u8 u6_addr8[16];
		__be32 u6_addr32[4];
	} in6_u;
};

struct ns_common {
	unsigned int inum;
};

struct net {
	struct ns_common ns;
};

typedef struct {
	struct net *net;
} possible_net_t;

struct sock_common {
	__be32 skc_daddr;
	__be32 skc_rcv_saddr;
	__be16 skc_dport;
	__u16 skc_num;
	unsigned short skc_family;
	volatile unsigned char skc_state;
	unsigned long skc_flags;
	possible_net_t skc_net;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
};

struct kernfs_node {
	__u64 id;
};

struct cgroup;

struct cgroup_subsys_state {
	struct cgroup *cgroup;
	struct cgroup_subsys_state *parent;
};

struct cgroup {
	struct cgroup_subsys_state self;
	struct kernfs_node *kn;
};

struct sock_cgroup_data {
	struct cgroup *cgroup;
};

struct sock {
	struct sock_common __sk_common;
	__u16 sk_protocol;
	struct sock_cgroup_data sk_cgrp_data;
};

struct minmax_sample {
	__u32 v;
};

struct minmax {
	struct minmax_sample s[3];
};

struct tcp_sock {
	__u32 rcv_nxt;
	__u32 rcv_wup;
	__u32 rcv_wnd;
	__u32 snd_una;
	__u32 snd_nxt;
	__u32 write_seq;
	struct minmax rtt_min;
	__u32 mss_cache;
	__u32 total_retrans;
	__u64 bytes_received;
	__u64 bytes_acked;
	__u64 tcp_clock_cache;
};

struct list_head {
	struct list_head *next;
};

/* In sk_buff.cb, as long as TCP has the packet (include/net/tcp.h). */
struct tcp_skb_cb {
	__u32 seq;
	__u32 end_seq;
	__u32 ack_seq;
};

struct net_device {
	char name[IFNAMSIZ];
	int ifindex;
	possible_net_t nd_net;
	struct {
		struct list_head lower;
	} adj_list;
};

struct netdev_adjacent {
	struct net_device *dev;
	struct list_head list;
};

struct sk_buff {
	struct sock *sk;
	struct net_device *dev;
	char cb[48];
	unsigned int len;
	unsigned int data_len;
	__u8 cloned : 1;
	__be16 protocol;
	int skb_iif;
	__u16 network_header;
	unsigned char *head;
	unsigned char *data;
};

/* The byte order of the two bitfields is the target's: CO-RE finds them by name. */
struct iphdr {
	__u8 ihl : 4, version : 4;
	__u8 tos;
	__be16 tot_len;
	__be16 frag_off;
	__u8 ttl;
	__u8 protocol;
	__be32 saddr;
	__be32 daddr;
};

struct ipv6hdr {
	__be16 payload_len;
	__u8 nexthdr;
	__u8 hop_limit;
	struct in6_addr saddr;
	struct in6_addr daddr;
};

struct icmphdr {
	__u8 type;
	__u8 code;
	union {
		struct {
			__be16 id;
			__be16 sequence;
		} echo;
	} un;
};

struct icmpv6_echo {
	__be16 identifier;
	__be16 sequence;
};

struct icmp6hdr {
	__u8 icmp6_type;
	__u8 icmp6_code;
	union {
		struct icmpv6_echo u_echo;
	} icmp6_dataun;
};

struct task_struct {
	int pid;
	int tgid;
	char comm[TASK_COMM_LEN];
};

#pragma clang attribute pop

/* include/net/dropreason-core.h: only the names count, the values are the target's. */
enum skb_drop_reason {
	SKB_DROP_REASON_NOT_SPECIFIED = 1,
	SKB_DROP_REASON_NO_SOCKET = 4,
	SKB_DROP_REASON_SOCKET_FILTER = 5,
	SKB_DROP_REASON_SOCKET_RCVBUFF = 6,
	SKB_DROP_REASON_PACKET_SOCK_ERROR = 7,
};

/* include/uapi/linux/bpf.h: likewise. */
enum bpf_func_id {
	BPF_FUNC_ktime_get_boot_ns = 125,
	BPF_FUNC_ringbuf_output = 130,
	BPF_FUNC_skc_to_tcp_sock = 137,
	BPF_FUNC_task_storage_get = 156,
};
enum bpf_cmd {
	BPF_MAP_FREEZE = 22,
};

/* include/net/sock.h: likewise. */
enum sock_flags {
	SOCK_DEAD,
	SOCK_DONE,
};

#endif
