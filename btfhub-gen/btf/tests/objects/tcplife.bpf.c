// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* What an agent asks that follows TCP connections: a real one's mixture of relocations. */
#include "core.h"

#define AF_INET 2

struct in6_addr {
	union {
		u8 u6_addr8[16];
		u32 u6_addr32[4];
	} in6_u;
} RELOCATABLE;

struct net_device {
	int ifindex;
} RELOCATABLE;

struct ns_common {
	unsigned int inum;
} RELOCATABLE;

struct net {
	struct ns_common ns;
} RELOCATABLE;

typedef struct {
	struct net *net;
} possible_net_t;

struct sock_common {
	union {
		struct {
			u32 skc_daddr;
			u32 skc_rcv_saddr;
		};
	};
	union {
		struct {
			u16 skc_dport;
			u16 skc_num;
		};
	};
	u16 skc_family;
	volatile u8 skc_state;
	int skc_bound_dev_if;
	possible_net_t skc_net;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
} RELOCATABLE;

struct sock {
	struct sock_common __sk_common;
	u32 sk_mark;
	void *sk_user_data;
} RELOCATABLE;

struct tcp_sock {
	u32 srtt_us;
	u32 mdev_us;
	u32 snd_cwnd;
	u32 total_retrans;
	u64 bytes_received;
	u64 bytes_acked;
	u8 nonagle : 4;
} RELOCATABLE;

struct task_struct {
	int tgid;
	char comm[16];
	struct task_struct *group_leader;
} RELOCATABLE;

enum bpf_func_id {
	BPF_FUNC_ringbuf_reserve = 131,
};

enum {
	TCP_ESTABLISHED = 1,
};

#define READ(to, access) probe_read_kernel(&(to), sizeof(to), (const void *)&(access))

SEC("tp_btf/inet_sock_set_state")
int set_state(u64 *ctx)
{
	struct sock *sk = (void *)ctx[0];
	struct tcp_sock *tcp = (void *)sk;
	u16 family, port, lport;
	u32 addr = 0, value;
	u64 bytes;
	u8 state;

	READ(family, sk->__sk_common.skc_family);
	READ(port, sk->__sk_common.skc_dport);
	READ(lport, sk->__sk_common.skc_num);
	READ(state, sk->__sk_common.skc_state);
	USE(family + port + lport + state);
	if (family == AF_INET) {
		READ(addr, sk->__sk_common.skc_daddr);
		USE(addr);
		READ(addr, sk->__sk_common.skc_rcv_saddr);
	} else if (FIELD_EXISTS(sk->__sk_common.skc_v6_daddr)) {
		READ(addr, sk->__sk_common.skc_v6_daddr.in6_u.u6_addr32[3]);
		USE(addr);
		READ(addr, sk->__sk_common.skc_v6_rcv_saddr.in6_u.u6_addr32[3]);
	}
	USE(addr);
	if (FIELD_EXISTS(tcp->srtt_us)) {
		READ(value, tcp->srtt_us);
		USE(value);
	}
	if (FIELD_EXISTS(tcp->bytes_received)) {
		READ(bytes, tcp->bytes_received);
		USE(bytes);
		READ(bytes, tcp->bytes_acked);
		USE(bytes);
	}
	READ(value, tcp->snd_cwnd);
	USE(value);
	READ(value, tcp->total_retrans);
	USE(value);
	if (ENUM_EXISTS(enum bpf_func_id, BPF_FUNC_ringbuf_reserve))
		USE(1);
	return 0;
}

SEC("raw_tp/sched_process_exit")
int process_exit(u64 *ctx)
{
	struct task_struct *task = (void *)ctx[0], *leader;
	char comm[16];
	int tgid;

	READ(tgid, task->tgid);
	READ(comm, task->comm);
	READ(leader, task->group_leader);
	USE(tgid + comm[3]);
	READ(tgid, leader->tgid);
	USE(tgid);
	return 0;
}
