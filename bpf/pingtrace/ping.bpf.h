/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What is kept of a ping until it ends, by whom it is found again, and what of it is sent to user space. */
#ifndef LCC_PINGTRACE_PING_BPF_H
#define LCC_PINGTRACE_PING_BPF_H

#include "pingtrace/echo.bpf.h"

struct ping_key {
	struct lcc_address peer;
	__u32 netns;
	__u16 id;
	__u16 sequence;
	__u32 role;
};

struct ping {
	struct pingtrace_event event;
	/* the socket that sent the request, where that is one which can get the reply; else 0 */
	__u64 socket;
	/* the request's buffer: the same for its clones and on each device that it passes */
	__u64 buffer;
	/* the reply was queued for the softirq */
	__u64 queued;
	/* the process that the reply woke */
	__u32 woken;
	/* of a request in UDP or TCP: whom it is for */
	__u16 port;
	__u16 unused;
};

/* A CPU's part in receiving. */
struct receiving {
	/* the packet that was taken from a device last: whose it is */
	struct ping_key key;
	/* it is on its way to a socket */
	__u32 delivers;
	/* a socket has it just now, so that the next task to be woken on this CPU is its reader */
	__u32 wakes;
	__u32 unused;
	/* since when the softirq for receiving is raised, and since when the one was that runs */
	__u64 raised;
	__u64 runs;
};

/* A task that is being woken for a reply. */
struct waking {
	struct ping_key key;
	__u32 tid;
};

enum {
	PINGS = 4096,
	/* a power of two: a task has the place that its number's low bits say */
	WAKINGS = 1024,
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, PINGS);
	__type(key, struct ping_key);
	__type(value, struct ping);
} pings SEC(".maps");

/* Where a new ping is put together; the stack is too small. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct ping);
} scratch SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct receiving);
} receivings SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, WAKINGS);
	__type(key, __u32);
	__type(value, struct waking);
} wakings SEC(".maps");

LCC_STREAM(events, pingtrace_event, 1 << 20);
static __always_inline __u32 device_netns(const struct net_device *dev)
{
	return dev ? compat_net_inum(compat_device_net(dev)) : 0;
}

/* The namespace that a packet was sent in: its socket's, as long as it has one. */
static __always_inline __u32 sender_netns(const struct sk_buff *skb, const struct net_device *dev)
{
	const struct sock *sk = BPF_CORE_READ(skb, sk);

	return sk ? compat_net_inum(compat_sock_net(sk)) : device_netns(dev);
}

/* The key of an echo's ping; false where the configuration does not ask for it. */
static __always_inline bool make_key(const struct echo *echo, enum pingtrace_role role, __u32 netns,
				     struct ping_key *key)
{
	const volatile struct pingtrace_config *config = lcc_config();

	if (!config || (config->id && config->id != echo->id))
		return 0;
	if ((config->role && config->role != role) || (config->netns && config->netns != netns))
		return 0;
	/* who answers is no process */
	if (config->pid && role == PINGTRACE_REMOTE)
		return 0;
	key->peer = echo->reply == (role == PINGTRACE_LOCAL) ? echo->source : echo->destination;
	key->netns = netns;
	key->id = echo->id;
	key->sequence = echo->sequence;
	key->role = role;
	return 1;
}

static __always_inline struct ping *find(const struct echo *echo, enum pingtrace_role role, __u32 netns,
					 struct ping_key *key)
{
	return make_key(echo, role, netns, key) ? bpf_map_lookup_elem(&pings, key) : 0;
}

/* A new ping with all but its stamps, not yet in the map. */
static __always_inline struct ping *make_ping(const struct sk_buff *skb, const struct net_device *dev,
					      const struct echo *echo, const struct ping_key *key)
{
	__u32 zero = 0;
	struct ping *ping = bpf_map_lookup_elem(&scratch, &zero);

	if (!ping)
		return 0;
	__builtin_memset(ping, 0, sizeof(*ping));
	ping->buffer = (__u64)BPF_CORE_READ(skb, head);
	ping->port = echo->port;
	/* what it will be, unless it is dropped: the map may be asked before */
	ping->event.kind = key->role == PINGTRACE_LOCAL ? PINGTRACE_ROUND_TRIP : PINGTRACE_ANSWERED;
	ping->event.role = key->role;
	ping->event.id = echo->id;
	ping->event.sequence = echo->sequence;
	ping->event.family = echo->family;
	ping->event.protocol = echo->protocol;
	ping->event.local_address = key->role == PINGTRACE_LOCAL ? echo->source : echo->destination;
	ping->event.peer_address = key->peer;
	ping->event.netns = key->netns;
	ping->event.ifindex = BPF_CORE_READ(dev, ifindex);
	BPF_CORE_READ_STR_INTO(&ping->event.device, dev, name);
	ping->event.length = echo->length;
	return ping;
}

/* Sends the event, unless the ping was faster than what is asked for, and forgets the ping. */
static __always_inline void finish(void *ctx, struct ping *ping, struct ping_key *key, enum pingtrace_kind kind,
				   __u64 took)
{
	const volatile struct pingtrace_config *config = lcc_config();

	ping->event.kind = kind;
	if (config && took >= config->threshold_ns && (!config->pid || config->pid == ping->event.pid))
		lcc_emit(ctx, &events, &events_lost, &ping->event, sizeof(ping->event));
	bpf_map_delete_elem(&pings, key);
}

static __always_inline bool is_echo_socket(const struct sock *sk)
{
	__u16 protocol = compat_sock_protocol(sk);

	return protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6;
}

/*
 * Is this the socket of the server that a request in UDP or TCP is for? Of ICMP, a raw socket that is given a copy of the
 * request (pingtrace -s has one) is so right before ICMP itself.
 */
static __always_inline bool is_servers(const struct ping *ping, const struct sock *sk)
{
	__u16 protocol = compat_sock_protocol(sk);
	bool has_ports = protocol == IPPROTO_UDP || protocol == IPPROTO_TCP;

	if (protocol != ping->event.protocol || (has_ports && BPF_CORE_READ(sk, __sk_common.skc_num) != ping->port))
		return 0;
	return compat_net_inum(compat_sock_net(sk)) == ping->event.netns;
}

/*
 * Is this the socket that the ping's sender waits at? Every raw socket for ICMP gets a copy of every reply. Where the
 * request came from a socket that gets none (AF_PACKET, IPPROTO_RAW), it is any that does.
 */
static __always_inline bool is_for(const struct ping *ping, const struct sock *sk)
{
	if (ping->event.role == PINGTRACE_REMOTE)
		return is_servers(ping, sk);
	if (ping->socket)
		return ping->socket == (__u64)sk;
	return is_echo_socket(sk) && compat_net_inum(compat_sock_net(sk)) == ping->event.netns;
}

#endif
