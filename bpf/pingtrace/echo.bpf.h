/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What is followed, as a packet's headers have it: an ICMP or ICMPv6 echo, or a probe of pingtrace's in UDP or TCP, which is
 * told by its magic.
 */
#ifndef LCC_PINGTRACE_ECHO_BPF_H
#define LCC_PINGTRACE_ECHO_BPF_H

#include "compat.bpf.h"
#include "pingtrace/pingtrace.h"
#include <bpf/bpf_endian.h>
/* after libbpf's headers */
#include "lcc.bpf.h"

enum {
	/* include/net/ip.h: the bits of frag_off that are the offset */
	IP_OFFSET = 0x1fff,
	/* bpf/pingtrace/src/wire.rs has the whole format */
	PROBE_MAGIC = 0x7ace,
	PROBE_MAGIC_AT = 4,
	PROBE_DONTADD = 1,
	PROBE_ICMP_CODE = 1,
	ECHO_HEADER = 8,
	UDP_HEADER = 8,
	SEGMENTS = 1024,
};

struct echo {
	struct lcc_address source;
	struct lcc_address destination;
	__u16 family;
	__u16 protocol;
	__u32 length;
	__u16 id;
	__u16 sequence;
	/* of UDP and TCP, host order */
	__u16 port;
	bool reply;
	/* it is a probe of pingtrace's */
	bool probe;
};

/* The header of a probe, in network order. */
struct probe_header {
	__u8 version;
	__u8 num;
	__be16 flags;
	__be16 magic;
	__be16 reserve;
	__be32 id;
	__be32 seq;
};

/* The begin of a TCP header. */
struct tcp_start {
	__be16 source;
	__be16 destination;
	__be32 sequence;
	__be32 acknowledged;
	/* in words, in the upper four bits */
	__u8 length;
	__u8 flags;
	__be16 window;
};

/* A TCP segment on its way. */
struct segment_key {
	struct lcc_address source;
	struct lcc_address destination;
	__be16 source_port;
	__be16 destination_port;
	__be32 sequence;
};

/*
 * TCP keeps what it sends in pages, which no tracepoint can read: segments with a probe are put here where they leave the
 * socket.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, SEGMENTS);
	__type(key, struct segment_key);
	__type(value, struct probe_header);
} segments SEC(".maps");

LCC_CONFIG(struct pingtrace_config);

static __always_inline void map_address(struct lcc_address *address, __be32 v4)
{
	address->bytes[10] = 0xff;
	address->bytes[11] = 0xff;
	__builtin_memcpy(&address->bytes[12], &v4, sizeof(v4));
}

static __always_inline bool is_probe(const struct probe_header *header)
{
	return header->magic == bpf_htons(PROBE_MAGIC) && !header->version;
}

/* Takes a probe's header over. Second replies tell times, and are not followed themselves. */
static __always_inline bool take_probe(const struct probe_header *header, struct echo *echo)
{
	if (!is_probe(header) || header->flags & bpf_htons(PROBE_DONTADD))
		return 0;
	echo->probe = 1;
	echo->id = bpf_ntohl(header->id);
	echo->sequence = bpf_ntohl(header->seq);
	echo->reply = bpf_ntohs(header->reserve) & 1;
	return 1;
}

/* Of an echo: whether it is to be followed. */
static __always_inline bool take_echo(const unsigned char *payload, __u8 code, struct echo *echo)
{
	const volatile struct pingtrace_config *config = lcc_config();
	struct probe_header header = {};

	if (code == PROBE_ICMP_CODE && !bpf_probe_read_kernel(&header, sizeof(header), payload))
		echo->probe = is_probe(&header);
	if (echo->probe && header.flags & bpf_htons(PROBE_DONTADD))
		return 0;
	return echo->probe || !config || !config->only_probes;
}

/* Is what begins there in the buffer, and not in pages? */
static __always_inline bool is_linear(const struct sk_buff *skb, const unsigned char *payload)
{
	const unsigned char *data = compat_pointer(skb, data);

	return payload + sizeof(struct probe_header) <= data + (BPF_CORE_READ(skb, len) - BPF_CORE_READ(skb, data_len));
}

static __always_inline bool read_payload(const struct sk_buff *skb, const unsigned char *payload, struct echo *echo)
{
	struct probe_header header;

	if (bpf_probe_read_kernel(&header, sizeof(header), payload) || !take_probe(&header, echo))
		return 0;
	return is_linear(skb, payload);
}

static __always_inline bool read_udp(const struct sk_buff *skb, const unsigned char *transport, struct echo *echo)
{
	__be16 ports[2];

	if (!read_payload(skb, transport + UDP_HEADER, echo))
		return 0;
	if (bpf_probe_read_kernel(ports, sizeof(ports), transport))
		return 0;
	echo->port = bpf_ntohs(ports[1]);
	return 1;
}

static __always_inline bool read_tcp(const struct sk_buff *skb, const unsigned char *transport, struct echo *echo)
{
	const struct probe_header *header;
	struct segment_key key;
	struct tcp_start tcp;

	if (bpf_probe_read_kernel(&tcp, sizeof(tcp), transport))
		return 0;
	echo->port = bpf_ntohs(tcp.destination);
	if (read_payload(skb, transport + (tcp.length >> 4) * 4, echo))
		return 1;
	key.source = echo->source;
	key.destination = echo->destination;
	key.source_port = tcp.source;
	key.destination_port = tcp.destination;
	key.sequence = tcp.sequence;
	header = bpf_map_lookup_elem(&segments, &key);
	return header && take_probe(header, echo);
}

/* Is it UDP or TCP that is followed? */
static __always_inline bool is_asked_for(__u8 protocol)
{
	const volatile struct pingtrace_config *config = lcc_config();

	if (!config)
		return 0;
	return (protocol == IPPROTO_UDP && config->udp) || (protocol == IPPROTO_TCP && config->tcp_port);
}

static __always_inline bool read_transport(const struct sk_buff *skb, const unsigned char *transport, struct echo *echo)
{
	if (echo->protocol == IPPROTO_UDP)
		return read_udp(skb, transport, echo);
	return read_tcp(skb, transport, echo);
}

/* Told from other programs' packets, which are most of them, by as few reads as can be. */
static __always_inline bool may_be_probe(__u8 protocol, const unsigned char *transport)
{
	const volatile struct pingtrace_config *config = lcc_config();
	__be16 words[2] = {};

	if (protocol == IPPROTO_UDP) {
		bpf_probe_read_kernel(words, sizeof(words[0]), transport + UDP_HEADER + PROBE_MAGIC_AT);
		return words[0] == bpf_htons(PROBE_MAGIC);
	}
	bpf_probe_read_kernel(words, sizeof(words), transport);
	return config && (words[0] == bpf_htons(config->tcp_port) || words[1] == bpf_htons(config->tcp_port));
}

static __always_inline bool read_echo4(const struct sk_buff *skb, const unsigned char *network, struct echo *echo)
{
	const struct iphdr *ip = (const void *)network;
	__u8 protocol = BPF_CORE_READ(ip, protocol);
	const struct icmphdr *icmp;
	__u8 type;

	if (protocol != IPPROTO_ICMP && !is_asked_for(protocol))
		return 0;
	icmp = (const void *)(network + BPF_CORE_READ_BITFIELD_PROBED(ip, ihl) * 4);
	if (protocol != IPPROTO_ICMP && !may_be_probe(protocol, (const void *)icmp))
		return 0;
	/* a later fragment has no ICMP header */
	if (BPF_CORE_READ(ip, frag_off) & bpf_htons(IP_OFFSET))
		return 0;
	echo->family = AF_INET;
	echo->protocol = protocol;
	if (protocol != IPPROTO_ICMP) {
		echo->length = bpf_ntohs(BPF_CORE_READ(ip, tot_len));
		map_address(&echo->source, BPF_CORE_READ(ip, saddr));
		map_address(&echo->destination, BPF_CORE_READ(ip, daddr));
		return read_transport(skb, (const void *)icmp, echo);
	}
	type = BPF_CORE_READ(icmp, type);
	if (type != ICMP_ECHO && type != ICMP_ECHOREPLY)
		return 0;
	echo->reply = type == ICMP_ECHOREPLY;
	echo->length = bpf_ntohs(BPF_CORE_READ(ip, tot_len));
	echo->id = bpf_ntohs(BPF_CORE_READ(icmp, un.echo.id));
	echo->sequence = bpf_ntohs(BPF_CORE_READ(icmp, un.echo.sequence));
	map_address(&echo->source, BPF_CORE_READ(ip, saddr));
	map_address(&echo->destination, BPF_CORE_READ(ip, daddr));
	return take_echo((const void *)icmp + ECHO_HEADER, BPF_CORE_READ(icmp, code), echo);
}

static __always_inline bool read_echo6(const struct sk_buff *skb, const unsigned char *network, struct echo *echo)
{
	const struct ipv6hdr *ip = (const void *)network;
	__u8 protocol = BPF_CORE_READ(ip, nexthdr);
	const struct icmp6hdr *icmp;
	__u8 type;

	if (protocol != IPPROTO_ICMPV6 && !is_asked_for(protocol))
		return 0;
	icmp = (const void *)(network + bpf_core_type_size(struct ipv6hdr));
	if (protocol != IPPROTO_ICMPV6 && !may_be_probe(protocol, (const void *)icmp))
		return 0;
	echo->family = AF_INET6;
	echo->protocol = protocol;
	if (protocol == IPPROTO_ICMPV6) {
		type = BPF_CORE_READ(icmp, icmp6_type);
		if (type != ICMPV6_ECHO_REQUEST && type != ICMPV6_ECHO_REPLY)
			return 0;
		echo->reply = type == ICMPV6_ECHO_REPLY;
	}
	echo->length = bpf_core_type_size(struct ipv6hdr) + bpf_ntohs(BPF_CORE_READ(ip, payload_len));
	bpf_core_read(&echo->source, sizeof(echo->source), &ip->saddr);
	bpf_core_read(&echo->destination, sizeof(echo->destination), &ip->daddr);
	if (protocol != IPPROTO_ICMPV6)
		return read_transport(skb, (const void *)icmp, echo);
	echo->id = bpf_ntohs(BPF_CORE_READ(icmp, icmp6_dataun.u_echo.identifier));
	echo->sequence = bpf_ntohs(BPF_CORE_READ(icmp, icmp6_dataun.u_echo.sequence));
	return take_echo((const void *)icmp + ECHO_HEADER, BPF_CORE_READ(icmp, icmp6_code), echo);
}

/* Is the packet one that is followed? Its IP header is at `network`. */
static __always_inline bool read_echo(const struct sk_buff *skb, const unsigned char *network, struct echo *echo)
{
	__be16 protocol = BPF_CORE_READ(skb, protocol);

	__builtin_memset(echo, 0, sizeof(*echo));
	if (protocol == bpf_htons(ETH_P_IP))
		return read_echo4(skb, network, echo);
	return protocol == bpf_htons(ETH_P_IPV6) && read_echo6(skb, network, echo);
}

/* Where the stack has set the network header: everywhere but at the entry of receiving. */
static __always_inline bool read_sent(const struct sk_buff *skb, struct echo *echo)
{
	return read_echo(skb, compat_pointer(skb, head) + compat_skb_network_header(skb), echo);
}

/* At the entry of receiving the data begins with the IP header, and the network header may not be set. */
static __always_inline bool read_received(const struct sk_buff *skb, struct echo *echo)
{
	return read_echo(skb, compat_pointer(skb, data), echo);
}

static __always_inline bool is_icmp(const struct echo *echo)
{
	return echo->protocol == IPPROTO_ICMP || echo->protocol == IPPROTO_ICMPV6;
}

#endif
