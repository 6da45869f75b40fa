/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * All that differs between kernels 3.10 and 7.x stands here, one accessor each, with the commit that made the
 * difference. A flavour (`struct x___pre514`) is `struct x` as it was before 5.14; libbpf ignores what follows the
 * three underscores when it looks for the type.
 */
#ifndef LCC_COMPAT_BPF_H
#define LCC_COMPAT_BPF_H

#include "kernel_types.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct net___pre319 {
	unsigned int proc_inum;
};

struct sock_common___pre41 {
	struct net *skc_net;
};

struct sock___pre44 {
	unsigned long sk_flags;
};

struct sock_cgroup_data___pre515 {
	__u64 val;
};

union kernfs_node_id {
	__u64 id;
};

struct kernfs_node___pre55 {
	union kernfs_node_id id;
};

struct net_device___pre41 {
	struct net *nd_net;
};

struct rtt_meas {
	__u32 rtt;
};

struct sk_buff_head {
	__u32 qlen;
};

struct tcp_sock___pre49 {
	struct rtt_meas rtt_min[3];
	struct sk_buff_head out_of_order_queue;
};

struct rb_node;

struct rb_root {
	struct rb_node *rb_node;
};

struct tcp_sock___since49 {
	struct rb_root out_of_order_queue;
};

struct bpf_sock_ops___since510 {
	__u32 skb_len;
};

/* As far as the first three arguments of functions, at their true places: arch/x86/include/asm/ptrace.h. */
struct pt_regs___x86_64 {
	unsigned long r15;
	unsigned long others[11];
	unsigned long dx;
	unsigned long si;
	unsigned long di;
};

/* The same of 32 bits, whose kernel passes three arguments in registers (-mregparm=3): ax, dx, cx. */
struct pt_regs___i386 {
	unsigned long bx;
	unsigned long cx;
	unsigned long dx;
	unsigned long others[3];
	unsigned long ax;
};

/* arch/arm64/include/asm/ptrace.h */
struct pt_regs___arm64 {
	__u64 regs[31];
};

#pragma clang attribute pop

/*
 * A member of a kernel's structure. Where the verifier knows the type that `p` points to it is loaded, which costs less
 * than the helper that reads any memory. `is_typed` may be true only of what the kernel gave a program as a pointer to
 * that type: arguments of fentry and tp_btf programs, what helpers give.
 */
#define compat_read(is_typed, p, member)                                                    \
	({                                                                                  \
		__typeof__(p) at_ = (p);                                                    \
		(is_typed) ? at_->member : BPF_CORE_READ(at_, member);                      \
	})

/*
 * A pointer that is a member of a kernel's structure: as wide as the kernel has it, which is half of BPF's on kernels of 32 bits. NULL where
 * it cannot be read.
 */
#define compat_pointer(p, member)                                                                        \
	({                                                                                               \
		__typeof__(p) of_ = (p);                                                                 \
		__u64 to_ = 0;                                                                           \
		bpf_probe_read_kernel(&to_, bpf_core_field_size(of_->member),                            \
				      (const void *)__builtin_preserve_access_index(&of_->member));      \
		(__typeof__(of_->member))to_;                                                            \
	})

/*
 * An argument, the first being 0, of the function that a kprobe is at, up to the third. Each branch loads from the context
 * itself: one load with an offset out of two is what the verifier refuses. 0 on other architectures.
 */
static __always_inline __u64 compat_kprobe_argument(void *ctx, int number)
{
	const struct pt_regs___x86_64 *x86 = ctx;
	const struct pt_regs___i386 *i386 = ctx;
	const struct pt_regs___arm64 *arm = ctx;
	__u64 value = 0;

	if (bpf_core_field_exists(x86->r15)) {
		value = number == 0 ? x86->di : number == 1 ? x86->si : x86->dx;
		asm volatile("" : "+r"(value));
	} else if (bpf_core_field_exists(i386->ax)) {
		value = number == 0 ? i386->ax : number == 1 ? i386->dx : i386->cx;
		asm volatile("" : "+r"(value));
	} else if (bpf_core_field_exists(arm->regs)) {
		value = arm->regs[number];
		asm volatile("" : "+r"(value));
	}
	return value;
}

/* 5.8, 71d19214776e ("bpf: add bpf_ktime_get_boot_ns()"). Nanoseconds. */
static __always_inline __u64 compat_now(void)
{
	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_ktime_get_boot_ns))
		return bpf_ktime_get_boot_ns();
	return bpf_ktime_get_ns();
}

/* 3.19, 435d5f4bb2cc ("common object embedded into various struct ....ns"). 0 where there are no namespaces. */
static __always_inline __u32 compat_net_inum(const struct net *net)
{
	const struct net___pre319 *old = (const void *)net;

	if (bpf_core_field_exists(net->ns.inum))
		return BPF_CORE_READ(net, ns.inum);
	if (bpf_core_field_exists(old->proc_inum))
		return BPF_CORE_READ(old, proc_inum);
	return 0;
}

/* 4.1, 0c5c9fb55106 ("net: Introduce possible_net_t"). */
static __always_inline const struct net *compat_sock_net(const struct sock *sk)
{
	const struct sock_common *now = &sk->__sk_common;
	const struct sock_common___pre41 *old = (const void *)now;

	if (bpf_core_field_exists(now->skc_net.net))
		return compat_pointer(now, skc_net.net);
	if (bpf_core_field_exists(old->skc_net))
		return compat_pointer(old, skc_net);
	return 0;
}

/*
 * A socket's control group of the unified hierarchy; NULL where it has none. 4.5, bd1060a1d671 ("sock, cgroup: add
 * sock->sk_cgroup"); a word that has class and priority of the older hierarchies in it, if its lowest bit is set, until 5.15,
 * 8520e224f547 ("bpf, cgroups: Fix cgroup v2 fallback on v1/v2 mixed mode").
 */
static __always_inline const struct cgroup *compat_sock_cgroup(const struct sock *sk)
{
	const struct sock_cgroup_data *now = &sk->sk_cgrp_data;
	const struct sock_cgroup_data___pre515 *old = (const void *)now;
	__u64 value;

	if (!bpf_core_field_exists(sk->sk_cgrp_data))
		return 0;
	if (bpf_core_field_exists(now->cgroup))
		return compat_pointer(now, cgroup);
	if (!bpf_core_field_exists(old->val))
		return 0;
	value = BPF_CORE_READ(old, val);
	/* the two lowest bits are flags */
	return value & 1 ? 0 : (const void *)(value & ~3ULL);
}

/*
 * A control group's id, the inode number of its folder. A union until 5.5, 67c0496e87d1 ("kernfs: convert kernfs_node->id from
 * union kernfs_node_id to u64").
 */
static __always_inline __u64 compat_cgroup_id(const struct cgroup *cgroup)
{
	const struct kernfs_node *node = compat_pointer(cgroup, kn);
	const struct kernfs_node___pre55 *old = (const void *)node;

	if (bpf_core_type_exists(union kernfs_node_id))
		return BPF_CORE_READ(old, id.id);
	return BPF_CORE_READ(node, id);
}

/* Is it this control group, or one below it? As far as 16 levels up. */
static __always_inline bool compat_cgroup_is_below(const struct cgroup *cgroup, __u64 id)
{
	const struct cgroup_subsys_state *state = &cgroup->self;
	bool is_below = 0;

#pragma unroll
	for (int level = 0; level < 16; level++) {
		if (cgroup && compat_cgroup_id(cgroup) == id)
			is_below = 1;
		state = cgroup ? compat_pointer(cgroup, self.parent) : 0;
		cgroup = state ? compat_pointer(state, cgroup) : 0;
	}
	return is_below;
}

/* As compat_sock_net(), for a device. */
static __always_inline const struct net *compat_device_net(const struct net_device *dev)
{
	const struct net_device___pre41 *old = (const void *)dev;

	if (bpf_core_field_exists(dev->nd_net.net))
		return compat_pointer(dev, nd_net.net);
	if (bpf_core_field_exists(old->nd_net))
		return compat_pointer(old, nd_net);
	return 0;
}

/* A bitfield of 8 until 5.6, bf9765145b85 ("sock: Make sk_protocol a 16-bit value"). */
static __always_inline __u16 compat_sock_protocol(const struct sock *sk)
{
	return BPF_CORE_READ_BITFIELD_PROBED(sk, sk_protocol);
}

/*
 * Whether the peer's FIN has come in order: tcp_fin() sets this flag, and no other place of TCP. 4.4, 8e5eb54d303b
 * ("net: align sk_refcnt on 128 bytes boundary").
 */
static __always_inline bool compat_sock_is_done(const struct sock *sk, bool is_typed)
{
	const struct sock___pre44 *old = (const void *)sk;
	unsigned long flags = 0;

	if (bpf_core_field_exists(sk->__sk_common.skc_flags))
		flags = compat_read(is_typed, sk, __sk_common.skc_flags);
	else if (bpf_core_field_exists(old->sk_flags))
		flags = BPF_CORE_READ(old, sk_flags);
	return (flags >> bpf_core_enum_value(enum sock_flags, SOCK_DONE)) & 1;
}

/*
 * What the clock showed when TCP began with a packet that it receives or sends, which is less work than to ask again: monotonic
 * clock, nanoseconds. 4.20, 9799ccb0e984 ("tcp: add tcp_wstamp_ns socket field"); the clock itself where TCP does not keep it.
 */
static __always_inline __u64 compat_tcp_now(const struct tcp_sock *tp, bool is_typed)
{
	__u64 now = 0;

	if (bpf_core_field_exists(tp->tcp_clock_cache))
		now = compat_read(is_typed, tp, tcp_clock_cache);
	return now ? now : bpf_ktime_get_ns();
}

/*
 * 4.9, 6403389211e1 ("tcp: use windowed min filter library for TCP min_rtt estimation"); from 4.4 on, f672258391b4
 * ("tcp: track min RTT using windowed min-filter"), an array. Microseconds; 0 where the kernel does not keep it.
 */
static __always_inline __u32 compat_tcp_min_rtt_us(const struct tcp_sock *tp, bool is_typed)
{
	const struct tcp_sock___pre49 *old = (const void *)tp;

	if (bpf_core_field_exists(tp->rtt_min.s[0].v))
		return compat_read(is_typed, tp, rtt_min.s[0].v);
	if (bpf_core_field_exists(old->rtt_min[0].rtt))
		return BPF_CORE_READ(old, rtt_min[0].rtt);
	return 0;
}

/*
 * Whether data has come that is behind a gap. 4.9, 9f5afeae5152 ("tcp: use an RB tree for ooo receive queue").
 */
static __always_inline bool compat_tcp_has_gap(const struct tcp_sock *tp, bool is_typed)
{
	const struct tcp_sock___since49 *now = (const void *)tp;
	const struct tcp_sock___pre49 *old = (const void *)tp;

	if (bpf_core_field_exists(now->out_of_order_queue.rb_node))
		return (is_typed ? now->out_of_order_queue.rb_node : compat_pointer(now, out_of_order_queue.rb_node)) != 0;
	if (bpf_core_field_exists(old->out_of_order_queue.qlen))
		return BPF_CORE_READ(old, out_of_order_queue.qlen) != 0;
	return 0;
}

/* 16 bits wide since 3.11, 1a37e412a022 ("net: Use 16bits for *_headers fields of struct skbuff"), 32 before. */
static __always_inline __u32 compat_skb_network_header(const struct sk_buff *skb)
{
	return BPF_CORE_READ_BITFIELD_PROBED(skb, network_header);
}

/*
 * 5.17, c504e5c2f964 ("net: skb: introduce kfree_skb_reason()"): is the tracepoint's reason one that says why?
 * The values moved since: 5.18, 6.1 and 6.3 each put new ones before the old.
 */
static __always_inline bool compat_drop_is_explained(__u32 reason)
{
	if (!bpf_core_enum_value_exists(enum skb_drop_reason, SKB_DROP_REASON_NOT_SPECIFIED))
		return 0;
	return reason != bpf_core_enum_value(enum skb_drop_reason, SKB_DROP_REASON_NOT_SPECIFIED);
}

/* Is it this reason of the kernel's? No, where the kernel does not know it. */
#define compat_drop_is(reason, name)                                                        \
	(bpf_core_enum_value_exists(enum skb_drop_reason, name) &&                          \
	 (reason) == bpf_core_enum_value(enum skb_drop_reason, name))

/*
 * Reasons for which one copy of a packet is dropped, while others may well arrive: of several raw or packet sockets, one
 * has no room or a filter; or no protocol wants it besides raw sockets.
 */
static __always_inline bool compat_drop_is_of_copy(__u32 reason)
{
	return compat_drop_is(reason, SKB_DROP_REASON_NO_SOCKET) ||
	       compat_drop_is(reason, SKB_DROP_REASON_SOCKET_FILTER) ||
	       compat_drop_is(reason, SKB_DROP_REASON_SOCKET_RCVBUFF) ||
	       compat_drop_is(reason, SKB_DROP_REASON_PACKET_SOCK_ERROR);
}

/*
 * Does the device send through another one of its namespace: a bond, a VLAN, a bridge? 3.13, 2f268f129c2d ("net: add
 * adj_list to save only neighbours"); false before.
 */
static __always_inline bool compat_device_has_lower(const struct net_device *dev)
{
	const struct netdev_adjacent *adjacent;
	const struct list_head *first;

	if (!bpf_core_field_exists(dev->adj_list.lower) || !bpf_core_field_exists(struct netdev_adjacent, list))
		return 0;
	first = compat_pointer(dev, adj_list.lower.next);
	if (!first || (const void *)first == __builtin_preserve_access_index(&dev->adj_list.lower))
		return 0;
	adjacent = (const void *)first - bpf_core_field_offset(struct netdev_adjacent, list);
	return compat_net_inum(compat_device_net(compat_pointer(adjacent, dev))) ==
	       compat_net_inum(compat_device_net(dev));
}

/* As far as the stack pointer of a process, at its true place: arch/x86/include/asm/ptrace.h. */
struct pt_regs___i386_user {
	unsigned long ax_and_before[7];
	unsigned long segments_and_flags[8];
	unsigned long sp;
} __attribute__((preserve_access_index));

/*
 * An argument, the first being 0, of the user's function that a uprobe is at, up to the third: an integer or a pointer. Functions of C on
 * i386 have them on the stack, behind the address that they return to, four bytes each; elsewhere they are where the kernel's own have them.
 */
static __always_inline __u64 compat_uprobe_argument(void *ctx, int number)
{
	const struct pt_regs___x86_64 *x86 = ctx;
	const struct pt_regs___i386 *i386 = ctx;
	const struct pt_regs___i386_user *user = ctx;
	__u32 value = 0;
	__u64 stack;

	if (bpf_core_field_exists(x86->r15) || !bpf_core_field_exists(i386->ax))
		return compat_kprobe_argument(ctx, number);
	stack = user->sp;
	bpf_probe_read_user(&value, sizeof(value), (const void *)(stack + 4 + 4 * number));
	return value;
}

#endif
