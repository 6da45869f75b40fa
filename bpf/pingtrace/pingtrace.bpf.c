// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The way of ICMP and ICMPv6 echo packets, and of pingtrace's own probes in UDP and TCP, through this host, point by point:
 * one event for each ping that comes to its end here, as its sender or as the one that answers. Replies in UDP and TCP have
 * no end here: whoever has sent the request looks it up in the map.
 *
 *	sender    1 net_dev_queue > 2 net_dev_start_xmit              10 softirq_raise > 5 netif_receive_skb
 *	                                  |                                |             > 6 sk_data_ready
 *	                                  v                                |             > 7 sched_wakeup > consume_skb
 *	answerer                          9 netif_receive_skb > 3 icmp_rcv > 4 net_dev_start_xmit
 *
 * A ping's stamps are kept by network namespace, role, peer, id and sequence number, so that both ends may be in one
 * kernel, and even in one namespace. Packets that are only forwarded were received before they are sent (skb_iif):
 * they begin nothing at point 1 and end nothing at point 4.
 */
#include "pingtrace/ping.bpf.h"
#include <bpf/bpf_tracing.h>

enum {
	/* include/linux/interrupt.h */
	NET_RX_SOFTIRQ = 3,
	/* RFC 791, RFC 8200: where the headers' members are, and the end of the second */
	IP_PROTOCOL = 9,
	IP_SOURCE = 12,
	IPV6_NEXT_HEADER = 6,
	IPV6_SOURCE = 8,
	IPV6_HEADER = 40,
};

/* Point 1. */
static __always_inline void device_queue(const struct sk_buff *skb)
{
	const struct sock *sk = compat_pointer(skb, sk);
	const struct net_device *dev;
	struct ping_key key;
	struct echo echo;
	struct ping *ping;
	__u32 netns;

	if (!sk || !read_sent(skb, &echo) || echo.reply || BPF_CORE_READ(skb, skb_iif))
		return;
	/* a device of the host below one of a container is not where the request begins */
	dev = compat_pointer(skb, dev);
	netns = device_netns(dev);
	if (netns != compat_net_inum(compat_sock_net(sk)))
		return;
	ping = find(&echo, PINGTRACE_LOCAL, netns, &key);
	/* the next of devices on top of each other; or TCP sends it once more, and it is as if it had waited for that */
	if (ping && ping->buffer == (__u64)compat_pointer(skb, head) && !ping->event.l_rx_iprcv) {
		if (echo.protocol == IPPROTO_TCP && ping->event.l_tx_devout) {
			ping->event.l_tx_devqueue = compat_now();
			ping->event.l_tx_devout = 0;
		}
		return;
	}
	if (!make_key(&echo, PINGTRACE_LOCAL, netns, &key))
		return;
	ping = make_ping(skb, dev, &echo, &key);
	if (!ping)
		return;
	ping->socket = !is_icmp(&echo) || is_echo_socket(sk) ? (__u64)sk : 0;
	ping->event.l_tx_devqueue = compat_now();
	bpf_map_update_elem(&pings, &key, ping, BPF_ANY);
}

/* Points 11 to 14: of which the namespace is neither end's, user space knows. */
static __always_inline void pass(void *ctx, const struct sk_buff *skb, const struct net_device *dev,
				 const struct echo *echo, bool sent)
{
	const volatile struct pingtrace_config *config = lcc_config();
	struct ping_key key = {};
	struct ping *ping;
	__u64 now;

	if (!config || !config->passes || !echo->probe || (config->id && config->id != echo->id))
		return;
	key.role = PINGTRACE_BETWEEN;
	key.netns = device_netns(dev);
	key.peer = echo->reply ? echo->destination : echo->source;
	ping = make_ping(skb, dev, echo, &key);
	if (!ping)
		return;
	now = compat_now();
	ping->event.kind = PINGTRACE_PASSED;
	ping->event.local_address = echo->reply ? echo->source : echo->destination;
	if (echo->reply && sent)
		ping->event.m_tx_devreply = now;
	else if (echo->reply)
		ping->event.m_rx_devreply = now;
	else if (sent)
		ping->event.m_tx_devecho = now;
	else
		ping->event.m_rx_devecho = now;
	lcc_emit(ctx, &events, &events_lost, &ping->event, sizeof(ping->event));
}

/* Points 2 and 4: before the driver has the packet; once it has (net_dev_xmit), the packet may be freed. */
static __always_inline void device_out(void *ctx, const struct sk_buff *skb, const struct net_device *dev)
{
	struct ping_key key;
	struct echo echo;
	struct ping *ping;

	if (!read_sent(skb, &echo))
		return;
	if (BPF_CORE_READ(skb, skb_iif)) {
		pass(ctx, skb, dev, &echo, 1);
		return;
	}
	if (!echo.reply) {
		ping = find(&echo, PINGTRACE_LOCAL, sender_netns(skb, dev), &key);
		if (!ping || ping->event.l_rx_iprcv)
			return;
		if (!ping->event.l_tx_devout || ping->buffer == (__u64)compat_pointer(skb, head))
			ping->event.l_tx_devout = compat_now();
		return;
	}
	/* the socket of the kernel's own replies is no namespace's since 6.0 */
	ping = find(&echo, PINGTRACE_REMOTE, device_netns(dev), &key);
	if (!ping)
		return;
	ping->event.r_tx_devout = compat_now();
	if (!compat_device_has_lower(dev))
		finish(ctx, ping, &key, PINGTRACE_ANSWERED, ping->event.r_tx_devout - ping->event.r_rx_devrcv);
}

/* The reply waits for the softirq: loopback, veth, and whatever else has no queue of its own. */
static __always_inline void device_backlog(const struct sk_buff *skb)
{
	struct ping_key key;
	struct echo echo;
	struct ping *ping;

	if (!read_received(skb, &echo) || !echo.reply)
		return;
	ping = find(&echo, PINGTRACE_LOCAL, device_netns(compat_pointer(skb, dev)), &key);
	if (ping && !ping->event.l_rx_iprcv)
		ping->queued = compat_now();
}

/* Points 9 and 5. */
static __always_inline void device_receive(void *ctx, const struct sk_buff *skb)
{
	const struct net_device *dev;
	struct receiving *receiving;
	struct ping_key key;
	struct ping *ping;
	struct echo echo;
	__u32 zero = 0;
	__u64 now, softirq;

	if (!read_received(skb, &echo))
		return;
	dev = compat_pointer(skb, dev);
	pass(ctx, skb, dev, &echo, 0);
	now = compat_now();
	receiving = bpf_map_lookup_elem(&receivings, &zero);
	if (!echo.reply) {
		ping = find(&echo, PINGTRACE_REMOTE, device_netns(dev), &key);
		/* a bridge's port, then the bridge */
		if (ping && ping->buffer == (__u64)compat_pointer(skb, head))
			return;
		if (!make_key(&echo, PINGTRACE_REMOTE, device_netns(dev), &key))
			return;
		ping = make_ping(skb, dev, &echo, &key);
		if (!ping)
			return;
		ping->event.r_rx_devrcv = now;
		ping->event.receive_cpu = bpf_get_smp_processor_id();
		bpf_map_update_elem(&pings, &key, ping, BPF_ANY);
		if (!receiving)
			return;
		receiving->key = key;
		receiving->delivers = 1;
		receiving->wakes = 0;
		return;
	}
	ping = find(&echo, PINGTRACE_LOCAL, device_netns(dev), &key);
	if (!ping || !receiving)
		return;
	receiving->key = key;
	receiving->delivers = 1;
	receiving->wakes = 0;
	if (ping->event.l_rx_iprcv)
		return;
	ping->event.l_rx_iprcv = now;
	ping->event.receive_cpu = bpf_get_smp_processor_id();
	/* a softirq that was raised before the request left, or before the reply was queued, was not raised for it */
	softirq = receiving->runs > ping->queued ? receiving->runs : ping->queued;
	if (softirq > ping->event.l_tx_devout)
		ping->event.l_rx_softirq = softirq;
}

/* Point 3. */
static __always_inline void icmp_receive(const struct sk_buff *skb)
{
	struct ping_key key;
	struct echo echo;
	struct ping *ping;

	if (!read_sent(skb, &echo) || echo.reply)
		return;
	ping = find(&echo, PINGTRACE_REMOTE, device_netns(compat_pointer(skb, dev)), &key);
	if (ping && !ping->event.r_tx_devout)
		ping->event.r_rx_icmprcv = compat_now();
}

/* The reply that this CPU delivers, where it is for this socket (or no socket is asked for). */
static __always_inline void data_ready(const struct sock *sk, struct receiving *receiving)
{
	struct ping_key key = receiving->key;
	struct ping *ping = bpf_map_lookup_elem(&pings, &key);

	if (!ping) {
		receiving->delivers = 0;
		return;
	}
	if (sk && !is_for(ping, sk))
		return;
	receiving->delivers = 0;
	if (key.role == PINGTRACE_REMOTE) {
		if (!ping->event.r_rx_icmprcv && !ping->event.r_tx_devout)
			ping->event.r_rx_icmprcv = compat_now();
		return;
	}
	if (ping->event.l_rx_skdataready)
		return;
	ping->event.l_rx_skdataready = compat_now();
	receiving->wakes = 1;
}

/* Point 6: called for every socket of the host, so that most must be told from a reply's at once. */
static __always_inline void socket_data_ready(const struct sock *sk)
{
	__u32 zero = 0;
	struct receiving *receiving = bpf_map_lookup_elem(&receivings, &zero);

	if (receiving && receiving->delivers)
		data_ready(sk, receiving);
}

/* The reader's task, while it is still this CPU that wakes it. */
static __always_inline void reader_waking(const struct task_struct *task)
{
	__u32 zero = 0, tid, place;
	struct receiving *receiving = bpf_map_lookup_elem(&receivings, &zero);
	struct waking *waking;
	struct ping_key key;
	struct ping *ping;

	if (!receiving || !receiving->wakes)
		return;
	receiving->wakes = 0;
	key = receiving->key;
	ping = bpf_map_lookup_elem(&pings, &key);
	if (!ping)
		return;
	tid = BPF_CORE_READ(task, pid);
	place = tid & (WAKINGS - 1);
	waking = bpf_map_lookup_elem(&wakings, &place);
	if (!waking)
		return;
	ping->woken = BPF_CORE_READ(task, tgid);
	ping->event.pid = ping->woken;
	waking->key = key;
	waking->tid = tid;
}

/* Point 7, on the CPU that the task is to run on. */
static __always_inline void reader_woken(const struct task_struct *task)
{
	__u32 tid = BPF_CORE_READ(task, pid);
	__u32 place = tid & (WAKINGS - 1);
	struct waking *waking = bpf_map_lookup_elem(&wakings, &place);
	struct ping_key key;
	struct ping *ping;

	if (!waking || !tid || waking->tid != tid)
		return;
	waking->tid = 0;
	key = waking->key;
	ping = bpf_map_lookup_elem(&pings, &key);
	if (ping && !ping->event.l_rx_read)
		ping->event.l_rx_wakeup = compat_now();
}

/*
 * The end of a round trip: the reader frees the reply, having copied it. What the stack itself frees is no socket's.
 */
static __always_inline void consumed(void *ctx, const struct sk_buff *skb)
{
	const struct sock *sk = compat_pointer(skb, sk);
	struct ping_key key;
	struct echo echo;
	struct ping *ping;
	__u64 task;

	if (!sk || !read_sent(skb, &echo) || !echo.reply || !is_icmp(&echo))
		return;
	ping = find(&echo, PINGTRACE_LOCAL, compat_net_inum(compat_sock_net(sk)), &key);
	if (!ping || !is_for(ping, sk))
		return;
	ping->event.l_rx_read = compat_now();
	task = bpf_get_current_pid_tgid();
	ping->event.pid = task >> 32;
	ping->event.tid = task;
	bpf_get_current_comm(&ping->event.comm, sizeof(ping->event.comm));
	/* some other task was woken, or this one had not yet slept when it was: it did not wait for that */
	if (ping->woken != ping->event.pid || ping->event.l_rx_wakeup > ping->event.l_rx_read)
		ping->event.l_rx_wakeup = 0;
	finish(ctx, ping, &key, PINGTRACE_ROUND_TRIP, ping->event.l_rx_read - ping->event.l_tx_devqueue);
}

static __always_inline void drop(void *ctx, struct ping *ping, struct ping_key *key, __u32 reason, bool reply)
{
	ping->event.dropped = compat_now();
	ping->event.drop_reason = compat_drop_is_explained(reason) ? reason : 0;
	ping->event.dropped_packet = reply ? PINGTRACE_REPLY : PINGTRACE_REQUEST;
	finish(ctx, ping, key, PINGTRACE_DROPPED, ~0ULL);
}

/*
 * The end of a ping that does not arrive. Not each packet that is freed as dropped is one: a copy for a socket whose
 * filter does not want it, the original once the socket has its copy, and a sent packet where the driver does not say
 * otherwise.
 */
static __always_inline void dropped(void *ctx, const struct sk_buff *skb, __u32 reason)
{
	const struct net_device *dev;
	bool for_good, explained;
	struct ping_key key;
	struct echo echo;
	struct ping *ping;

	/* TCP sends it once more */
	if (!read_sent(skb, &echo) || echo.protocol == IPPROTO_TCP)
		return;
	dev = compat_pointer(skb, dev);
	explained = compat_drop_is_explained(reason);
	for_good = BPF_CORE_READ_BITFIELD_PROBED(skb, cloned) ? explained && !compat_drop_is_of_copy(reason) : 1;
	ping = find(&echo, PINGTRACE_REMOTE, device_netns(dev), &key);
	if (ping && (echo.reply || ping->buffer == (__u64)compat_pointer(skb, head))) {
		if (for_good)
			drop(ctx, ping, &key, reason, echo.reply);
		return;
	}
	if (echo.reply) {
		ping = find(&echo, PINGTRACE_LOCAL, device_netns(dev), &key);
		if (ping && for_good && !ping->event.l_rx_skdataready)
			drop(ctx, ping, &key, reason, 1);
		return;
	}
	ping = find(&echo, PINGTRACE_LOCAL, sender_netns(skb, dev), &key);
	if (ping && ping->buffer == (__u64)compat_pointer(skb, head) && (!ping->event.l_tx_devout || explained))
		drop(ctx, ping, &key, reason, 0);
}

/* Point 10. */
static __always_inline void receive_raised(unsigned int softirq)
{
	__u32 zero = 0;
	struct receiving *receiving;

	if (softirq != NET_RX_SOFTIRQ)
		return;
	receiving = bpf_map_lookup_elem(&receivings, &zero);
	if (receiving && !receiving->raised)
		receiving->raised = compat_now();
}

static __always_inline void receive_runs(unsigned int softirq)
{
	__u32 zero = 0;
	struct receiving *receiving;

	if (softirq != NET_RX_SOFTIRQ)
		return;
	receiving = bpf_map_lookup_elem(&receivings, &zero);
	if (!receiving)
		return;
	receiving->runs = receiving->raised;
	receiving->raised = 0;
}

/* What is received from here on is not received by a softirq (TUN devices do so in the process that writes). */
static __always_inline void receive_ends(unsigned int softirq)
{
	__u32 zero = 0;
	struct receiving *receiving;

	if (softirq != NET_RX_SOFTIRQ)
		return;
	receiving = bpf_map_lookup_elem(&receivings, &zero);
	if (receiving)
		receiving->runs = 0;
}

SEC("raw_tp/net_dev_queue")
int BPF_PROG(on_device_queue, const struct sk_buff *skb)
{
	device_queue(skb);
	return 0;
}

SEC("raw_tp/net_dev_start_xmit")
int BPF_PROG(on_device_out, const struct sk_buff *skb, const struct net_device *dev)
{
	device_out(ctx, skb, dev);
	return 0;
}

SEC("raw_tp/netif_receive_skb")
int BPF_PROG(on_device_receive, const struct sk_buff *skb)
{
	device_receive(ctx, skb);
	return 0;
}

SEC("raw_tp/consume_skb")
int BPF_PROG(on_consumed, const struct sk_buff *skb)
{
	consumed(ctx, skb);
	return 0;
}

/* The reason is an argument since 5.17, c504e5c2f964 ("net: skb: introduce kfree_skb_reason()"). */
LCC_OPTIONAL SEC("raw_tp/kfree_skb")
int BPF_PROG(on_dropped, const struct sk_buff *skb)
{
	__u32 reason = 0;

	if (bpf_core_type_exists(enum skb_drop_reason))
		reason = ctx[2];
	dropped(ctx, skb, reason);
	return 0;
}

LCC_ALL_OF(softirq) LCC_OPTIONAL SEC("raw_tp/softirq_raise")
int BPF_PROG(on_softirq_raise, unsigned int softirq)
{
	receive_raised(softirq);
	return 0;
}

LCC_ALL_OF(softirq) LCC_OPTIONAL SEC("raw_tp/softirq_entry")
int BPF_PROG(on_softirq_entry, unsigned int softirq)
{
	receive_runs(softirq);
	return 0;
}

LCC_ALL_OF(softirq) LCC_OPTIONAL SEC("raw_tp/softirq_exit")
int BPF_PROG(on_softirq_exit, unsigned int softirq)
{
	receive_ends(softirq);
	return 0;
}

LCC_ALL_OF(softirq) LCC_OPTIONAL SEC("raw_tp/netif_rx")
int BPF_PROG(on_device_backlog, const struct sk_buff *skb)
{
	device_backlog(skb);
	return 0;
}

LCC_ONE_OF(icmp_receive, 1) LCC_OPTIONAL SEC("fentry/icmp_rcv")
int BPF_PROG(icmp_receive_fentry, const struct sk_buff *skb)
{
	icmp_receive(skb);
	return 0;
}

LCC_ONE_OF(icmp_receive, 2) LCC_OPTIONAL SEC("kprobe/icmp_rcv")
int icmp_receive_kprobe(void *ctx)
{
	icmp_receive((const void *)compat_kprobe_argument(ctx, 0));
	return 0;
}

LCC_ONE_OF(icmpv6_receive, 1) LCC_OPTIONAL SEC("fentry/icmpv6_rcv")
int BPF_PROG(icmpv6_receive_fentry, const struct sk_buff *skb)
{
	icmp_receive(skb);
	return 0;
}

LCC_ONE_OF(icmpv6_receive, 2) LCC_OPTIONAL SEC("kprobe/icmpv6_rcv")
int icmpv6_receive_kprobe(void *ctx)
{
	icmp_receive((const void *)compat_kprobe_argument(ctx, 0));
	return 0;
}

LCC_ONE_OF(data_ready, 1) LCC_OPTIONAL SEC("fentry/sock_def_readable")
int BPF_PROG(data_ready_fentry, const struct sock *sk)
{
	socket_data_ready(sk);
	return 0;
}

LCC_ONE_OF(data_ready, 2) LCC_OPTIONAL SEC("kprobe/sock_def_readable")
int data_ready_kprobe(void *ctx)
{
	socket_data_ready((const void *)compat_kprobe_argument(ctx, 0));
	return 0;
}

/* 6.3, 40e0b0908142 ("net/sock: Introduce trace_sk_data_ready()"): the first that sock_def_readable() does. */
LCC_ONE_OF(data_ready, 3) LCC_OPTIONAL SEC("raw_tp/sk_data_ready")
int BPF_PROG(data_ready_tracepoint, const struct sock *sk)
{
	socket_data_ready(sk);
	return 0;
}

/*
 * Runs before the socket's own filter, and tells no socket: the packet is held against the one that this CPU took from
 * a device. Always lets the packet pass.
 */
LCC_ONE_OF(data_ready, 4) LCC_OPTIONAL SEC("cgroup_skb/ingress")
int data_ready_cgroup(struct __sk_buff *skb)
{
	__be16 echo[2] = {};
	__u8 first = 0, type = 0;
	__u32 zero = 0, at;
	struct receiving *receiving = bpf_map_lookup_elem(&receivings, &zero);

	if (!receiving || !receiving->delivers || bpf_skb_load_bytes(skb, 0, &first, sizeof(first)))
		return 1;
	at = first >> 4 == 6 ? IPV6_HEADER : (first & 15) * 4;
	if (bpf_skb_load_bytes(skb, at, &type, sizeof(type)) || bpf_skb_load_bytes(skb, at + 4, echo, sizeof(echo)))
		return 1;
	if (type != (first >> 4 == 6 ? ICMPV6_ECHO_REPLY : ICMP_ECHOREPLY))
		return 1;
	if (receiving->key.role != PINGTRACE_LOCAL)
		return 1;
	if (receiving->key.id == bpf_ntohs(echo[0]) && receiving->key.sequence == bpf_ntohs(echo[1]))
		data_ready(0, receiving);
	return 1;
}

/* TCP's segments, where they leave the socket. Always lets the packet pass. */
LCC_OPTIONAL SEC("cgroup_skb/egress")
int tcp_sent(struct __sk_buff *skb)
{
	const volatile struct pingtrace_config *config = lcc_config();
	struct probe_header header = {};
	struct segment_key key = {};
	struct tcp_start tcp = {};
	__u8 first = 0, protocol = 0;
	__be32 v4 = 0;
	__u32 at;

	if (!config || !config->tcp_port || bpf_skb_load_bytes(skb, 0, &first, sizeof(first)))
		return 1;
	at = first >> 4 == 6 ? IPV6_NEXT_HEADER : IP_PROTOCOL;
	if (bpf_skb_load_bytes(skb, at, &protocol, sizeof(protocol)) || protocol != IPPROTO_TCP)
		return 1;
	at = first >> 4 == 6 ? IPV6_HEADER : (first & 15) * 4;
	if (bpf_skb_load_bytes(skb, at, &tcp, sizeof(tcp)))
		return 1;
	if (tcp.source != bpf_htons(config->tcp_port) && tcp.destination != bpf_htons(config->tcp_port))
		return 1;
	if (bpf_skb_load_bytes(skb, at + (tcp.length >> 4) * 4, &header, sizeof(header)) || !is_probe(&header))
		return 1;
	if (first >> 4 == 6) {
		bpf_skb_load_bytes(skb, IPV6_SOURCE, &key.source, sizeof(key.source));
		bpf_skb_load_bytes(skb, IPV6_SOURCE + 16, &key.destination, sizeof(key.destination));
	} else {
		bpf_skb_load_bytes(skb, IP_SOURCE, &v4, sizeof(v4));
		map_address(&key.source, v4);
		bpf_skb_load_bytes(skb, IP_SOURCE + 4, &v4, sizeof(v4));
		map_address(&key.destination, v4);
	}
	key.source_port = tcp.source;
	key.destination_port = tcp.destination;
	key.sequence = tcp.sequence;
	bpf_map_update_elem(&segments, &key, &header, BPF_ANY);
	return 1;
}

LCC_ALL_OF(wakeup) LCC_OPTIONAL SEC("raw_tp/sched_waking")
int BPF_PROG(on_reader_waking, const struct task_struct *task)
{
	reader_waking(task);
	return 0;
}

LCC_ALL_OF(wakeup) LCC_OPTIONAL SEC("raw_tp/sched_wakeup")
int BPF_PROG(on_reader_woken, const struct task_struct *task)
{
	reader_woken(task);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
