/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* An ICMP or ICMPv6 echo, as a packet's headers have it. */
#ifndef LCC_PINGTRACE_ECHO_BPF_H
#define LCC_PINGTRACE_ECHO_BPF_H

#include "compat.bpf.h"
#include "pingtrace/pingtrace.h"
#include <bpf/bpf_endian.h>

enum {
	/* include/net/ip.h: the bits of frag_off that are the offset */
	IP_OFFSET = 0x1fff,
};

struct echo {
	struct lcc_address source;
	struct lcc_address destination;
	__u32 family;
	__u32 length;
	__u16 id;
	__u16 sequence;
	bool reply;
};

static __always_inline void map_address(struct lcc_address *address, __be32 v4)
{
	address->bytes[10] = 0xff;
	address->bytes[11] = 0xff;
	__builtin_memcpy(&address->bytes[12], &v4, sizeof(v4));
}

static __always_inline bool read_echo4(const unsigned char *network, struct echo *echo)
{
	const struct iphdr *ip = (const void *)network;
	const struct icmphdr *icmp;
	__u8 type;

	if (BPF_CORE_READ(ip, protocol) != IPPROTO_ICMP)
		return 0;
	/* a later fragment has no ICMP header */
	if (BPF_CORE_READ(ip, frag_off) & bpf_htons(IP_OFFSET))
		return 0;
	icmp = (const void *)(network + BPF_CORE_READ_BITFIELD_PROBED(ip, ihl) * 4);
	type = BPF_CORE_READ(icmp, type);
	if (type != ICMP_ECHO && type != ICMP_ECHOREPLY)
		return 0;
	echo->family = AF_INET;
	echo->reply = type == ICMP_ECHOREPLY;
	echo->length = bpf_ntohs(BPF_CORE_READ(ip, tot_len));
	echo->id = bpf_ntohs(BPF_CORE_READ(icmp, un.echo.id));
	echo->sequence = bpf_ntohs(BPF_CORE_READ(icmp, un.echo.sequence));
	map_address(&echo->source, BPF_CORE_READ(ip, saddr));
	map_address(&echo->destination, BPF_CORE_READ(ip, daddr));
	return 1;
}

static __always_inline bool read_echo6(const unsigned char *network, struct echo *echo)
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
	echo->family = AF_INET6;
	echo->reply = type == ICMPV6_ECHO_REPLY;
	echo->length = bpf_core_type_size(struct ipv6hdr) + bpf_ntohs(BPF_CORE_READ(ip, payload_len));
	echo->id = bpf_ntohs(BPF_CORE_READ(icmp, icmp6_dataun.u_echo.identifier));
	echo->sequence = bpf_ntohs(BPF_CORE_READ(icmp, icmp6_dataun.u_echo.sequence));
	bpf_core_read(&echo->source, sizeof(echo->source), &ip->saddr);
	bpf_core_read(&echo->destination, sizeof(echo->destination), &ip->daddr);
	return 1;
}

/* Is the packet an echo? Its IP header is at `network`. */
static __always_inline bool read_echo(__be16 protocol, const unsigned char *network, struct echo *echo)
{
	__builtin_memset(echo, 0, sizeof(*echo));
	if (protocol == bpf_htons(ETH_P_IP))
		return read_echo4(network, echo);
	return protocol == bpf_htons(ETH_P_IPV6) && read_echo6(network, echo);
}

/* Where the stack has set the network header: everywhere but at the entry of receiving. */
static __always_inline bool read_sent(const struct sk_buff *skb, struct echo *echo)
{
	return read_echo(BPF_CORE_READ(skb, protocol), BPF_CORE_READ(skb, head) + compat_skb_network_header(skb), echo);
}

/* At the entry of receiving the data begins with the IP header, and the network header may not be set. */
static __always_inline bool read_received(const struct sk_buff *skb, struct echo *echo)
{
	return read_echo(BPF_CORE_READ(skb, protocol), BPF_CORE_READ(skb, data), echo);
}

#endif
