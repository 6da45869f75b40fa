// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The way of an ICMP or ICMPv6 echo packet through this host: the time at which it passed each point, sent to user
 * space when it ends. Stands in for pingtrace.
 */
#include "compat.bpf.h"
#include "standin/events.h"
#include <bpf/bpf_endian.h>
#include <bpf/bpf_tracing.h>

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct ping_key);
	__type(value, struct ping_event);
} pings SEC(".maps");

/* The echo's key, or false where the packet is none. */
static __always_inline bool read_echo4(const unsigned char *network, struct ping_event *event)
{
	const struct iphdr *ip = (const void *)network;
	const struct icmphdr *icmp;
	__u8 type;

	if (BPF_CORE_READ(ip, protocol) != IPPROTO_ICMP)
		return 0;
	icmp = (const void *)(network + BPF_CORE_READ_BITFIELD_PROBED(ip, ihl) * 4);
	type = BPF_CORE_READ(icmp, type);
	if (type != ICMP_ECHO && type != ICMP_ECHOREPLY)
		return 0;
	event->family = AF_INET;
	event->reply = type == ICMP_ECHOREPLY;
	event->ttl = BPF_CORE_READ(ip, ttl);
	event->key.id = BPF_CORE_READ(icmp, un.echo.id);
	event->key.sequence = BPF_CORE_READ(icmp, un.echo.sequence);
	return 1;
}

static __always_inline bool read_echo6(const unsigned char *network, struct ping_event *event)
{
	const struct ipv6hdr *ip = (const void *)network;
	const struct icmp6hdr *icmp;
	__u8 type;

	if (BPF_CORE_READ(ip, nexthdr) != IPPROTO_ICMPV6)
		return 0;
	icmp = (const void *)(network + bpf_core_type_size(struct ipv6hdr));
	type = BPF_CORE_READ(icmp, icmp6_type);
	if (type != ICMPV6_ECHO_REQUEST && type != ICMPV6_ECHO_REPLY)
		return 0;
	event->family = AF_INET6;
	event->reply = type == ICMPV6_ECHO_REPLY;
	event->ttl = BPF_CORE_READ(ip, hop_limit);
	event->key.id = BPF_CORE_READ(icmp, icmp6_dataun.u_echo.identifier);
	event->key.sequence = BPF_CORE_READ(icmp, icmp6_dataun.u_echo.sequence);
	return 1;
}

static __always_inline bool read_echo(const struct sk_buff *skb, struct ping_event *event)
{
	const unsigned char *network = BPF_CORE_READ(skb, head) + compat_skb_network_header(skb);

	switch (BPF_CORE_READ(skb, protocol)) {
	case bpf_htons(ETH_P_IP):
		return read_echo4(network, event);
	case bpf_htons(ETH_P_IPV6):
		return read_echo6(network, event);
	}
	return 0;
}

static __always_inline void read_device(const struct net_device *dev, struct ping_event *event)
{
	event->ifindex = BPF_CORE_READ(dev, ifindex);
	event->mtu = BPF_CORE_READ(dev, mtu);
	event->net_inum = compat_net_inum(compat_device_net(dev));
	event->lockless_device = compat_device_lltx(dev);
	BPF_CORE_READ_STR_INTO(&event->device, dev, name);
}

static __always_inline void pass(const struct sk_buff *skb, enum ping_point point)
{
	struct ping_event event = {}, *known;

	if (!read_echo(skb, &event))
		return;
	known = bpf_map_lookup_elem(&pings, &event.key);
	if (known) {
		known->times[point] = compat_now();
		return;
	}
	event.times[point] = compat_now();
	event.packet_time = compat_skb_tstamp(skb);
	event.hash = compat_skb_hash(skb);
	event.mark = BPF_CORE_READ(skb, mark);
	event.length = BPF_CORE_READ(skb, len);
	event.packet_type = BPF_CORE_READ_BITFIELD_PROBED(skb, pkt_type);
	read_device(BPF_CORE_READ(skb, dev), &event);
	bpf_map_update_elem(&pings, &event.key, &event, BPF_ANY);
}

static __always_inline void end(void *ctx, const struct sk_buff *skb, enum ping_point point, __u32 reason)
{
	struct ping_event event = {}, *known;

	if (!read_echo(skb, &event))
		return;
	known = bpf_map_lookup_elem(&pings, &event.key);
	if (!known)
		return;
	known->times[point] = compat_now();
	known->drop_reason = reason;
	known->drop_is_explained = point == PING_DROPPED && compat_drop_is_explained(reason);
	bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, known, sizeof(*known));
	bpf_map_delete_elem(&pings, &event.key);
}

SEC("raw_tp/net_dev_queue")
int BPF_PROG(device_queue, const struct sk_buff *skb)
{
	pass(skb, PING_DEVICE_QUEUE);
	return 0;
}

/* Before the driver has it: after net_dev_xmit the driver may have freed the skb. */
SEC("raw_tp/net_dev_start_xmit")
int BPF_PROG(device_xmit, const struct sk_buff *skb)
{
	pass(skb, PING_DEVICE_XMIT);
	return 0;
}

SEC("raw_tp/netif_receive_skb")
int BPF_PROG(device_receive, const struct sk_buff *skb)
{
	pass(skb, PING_DEVICE_RECEIVE);
	return 0;
}

SEC("raw_tp/consume_skb")
int BPF_PROG(consumed, const struct sk_buff *skb)
{
	end(ctx, skb, PING_CONSUMED, 0);
	return 0;
}

/* The reason is an argument since 5.17, c504e5c2f964 ("net: skb: introduce kfree_skb_reason()"). */
SEC("raw_tp/kfree_skb")
int BPF_PROG(dropped, const struct sk_buff *skb)
{
	__u32 reason = 0;

	if (bpf_core_type_exists(enum skb_drop_reason))
		reason = ctx[2];
	end(ctx, skb, PING_DROPPED, reason);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
