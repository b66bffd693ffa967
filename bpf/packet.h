/* From bytes to what is known of a packet. Nothing is changed here; what is cut short or odd is not ours. */
#pragma once

#include "layout.h"

enum { ETHERNET = 14 };

enum fragmented { WHOLE, FIRST, LATER };

enum tcp_flags { FIN = 1, SYN = 2, RST = 4 };

/* Errors of ICMP and ICMPv6. */
enum {
	UNREACHABLE_V4 = 3,
	TIME_EXCEEDED_V4 = 11,
	PARAMETER_V4 = 12,
	UNREACHABLE_V6 = 1,
	TOO_BIG_V6 = 2,
	PARAMETER_V6 = 4,
	/* The code of UNREACHABLE_V4. */
	FRAGMENTATION_NEEDED = 4,
};

struct packet {
	struct key key;
	/* Where the header behind those of IP begins. */
	__u32 at;
	__u32 id;
	__u8 fragmented;
	__u8 hops;
	__u8 flags;
	__u8 is_v4;
	/* That of IPv4's header. */
	__u16 checksum;
};

struct ipv4 {
	__u8 version_words, service;
	__u16 length, id, offset;
	__u8 hops, protocol;
	__u16 checksum;
	__u32 source, destination;
};

struct ipv6 {
	__u32 version_class_label;
	__u16 length;
	__u8 next, hops;
	struct address source, destination;
};

static inline_always void set_v4(struct address *address, __u32 v4)
{
	address->words[0] = 0;
	address->words[1] = 0;
	address->words[2] = 0xffff0000;
	address->words[3] = v4;
}

static inline_always int same(const struct address *one, const struct address *other)
{
	return one->words[0] == other->words[0] && one->words[1] == other->words[1] && one->words[2] == other->words[2] &&
	       one->words[3] == other->words[3];
}

/* The sum of ones' complement with a difference added, as `bpf_csum_diff` gives it. */
static inline_always __u16 sum_changed(__u16 sum, __u32 by)
{
	__u32 total = (__u32)(__u16)~sum + (by & 0xffff) + (by >> 16);
	total = (total & 0xffff) + (total >> 16);
	total = (total & 0xffff) + (total >> 16);
	return ~total;
}

/* The bytes that the ports and flags of a protocol take; 0 for one that is none of ours. */
static inline_always __u32 least(__u8 protocol)
{
	switch (protocol) {
	case IPPROTO_TCP:
		return 20;
	case IPPROTO_UDP:
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return 8;
	default:
		return 0;
	}
}

static inline_always int read_v4(struct __sk_buff *skb, struct packet *packet)
{
	struct ipv4 ip;
	if (bpf_skb_load_bytes(skb, ETHERNET, &ip, sizeof ip))
		return -1;
	__u32 head = (ip.version_words & 15) * 4;
	if (ip.version_words >> 4 != 4 || head < sizeof ip)
		return -1;
	__u32 length = swapped16(ip.length);
	__u16 offset = swapped16(ip.offset);
	packet->fragmented = offset & 0x1fff ? LATER : offset & 0x2000 ? FIRST : WHOLE;
	/* What the kernel has joined beyond 64 KiB has no length. */
	if (!length && skb->gso_size)
		length = skb->len - ETHERNET;
	if (length > skb->len - ETHERNET || length < head + (packet->fragmented == LATER ? 1 : least(ip.protocol)))
		return -1;
	set_v4(&packet->key.source, ip.source);
	set_v4(&packet->key.destination, ip.destination);
	packet->key.protocol = ip.protocol;
	packet->at = ETHERNET + head;
	packet->id = ip.id;
	packet->hops = ip.hops;
	packet->checksum = ip.checksum;
	packet->is_v4 = 1;
	return 0;
}

static inline_always int read_v6(struct __sk_buff *skb, struct packet *packet)
{
	struct ipv6 ip;
	if (bpf_skb_load_bytes(skb, ETHERNET, &ip, sizeof ip))
		return -1;
	if ((ip.version_class_label & 0xf0) != 0x60)
		return -1;
	__u32 length = swapped16(ip.length);
	if (!length && skb->gso_size)
		length = skb->len - ETHERNET - sizeof ip;
	if (length > skb->len - ETHERNET - sizeof ip)
		return -1;
	__u32 at = ETHERNET + sizeof ip, end = at + length;
	__u8 next = ip.next;
	packet->fragmented = WHOLE;
	for (int headers = 0; headers < 4; headers++) {
		__u8 extension[8];
		if (next != IPPROTO_HOPOPTS && next != IPPROTO_ROUTING && next != IPPROTO_DSTOPTS && next != IPPROTO_FRAGMENT)
			break;
		if (bpf_skb_load_bytes(skb, at, extension, sizeof extension))
			return -1;
		if (next == IPPROTO_FRAGMENT) {
			__u16 offset = (__u16)extension[2] << 8 | extension[3];
			packet->fragmented = offset & 0xfff8 ? LATER : offset & 1 ? FIRST : WHOLE;
			packet->id = (__u32)extension[4] << 24 | (__u32)extension[5] << 16 | (__u32)extension[6] << 8 | extension[7];
			at += 8;
		} else {
			at += 8 + (__u32)extension[1] * 8;
		}
		next = extension[0];
		if (packet->fragmented == LATER)
			break;
	}
	if (at + (packet->fragmented == LATER ? 1 : least(next)) > end)
		return -1;
	packet->key.source = ip.source;
	packet->key.destination = ip.destination;
	packet->key.protocol = next;
	packet->at = at;
	packet->hops = ip.hops;
	return 0;
}

/* Ports and flags, for packets that have them. */
static inline_always int read_ports(struct __sk_buff *skb, struct packet *packet)
{
	struct {
		__u16 source_port, destination_port;
		__u32 numbers[2];
		__u8 words, flags;
	} tcp;
	if (packet->key.protocol != IPPROTO_TCP)
		return bpf_skb_load_bytes(skb, packet->at, &packet->key.source_port, 4);
	if (bpf_skb_load_bytes(skb, packet->at, &tcp, 14))
		return -1;
	packet->key.source_port = tcp.source_port;
	packet->key.destination_port = tcp.destination_port;
	packet->flags = tcp.flags;
	return 0;
}

static inline_always int is_ours(const struct packet *packet)
{
	return packet->key.protocol == IPPROTO_TCP || packet->key.protocol == IPPROTO_UDP;
}

/* 0 if all is known that the packet's headers say. */
static inline_always int read_packet(struct __sk_buff *skb, struct packet *packet)
{
	/* Packets with a tag are for another interface, and those for another machine are only overheard. */
	if (skb->pkt_type != PACKET_HOST || skb->vlan_present)
		return -1;
	if (skb->protocol == swapped16(ETH_P_IP)) {
		if (read_v4(skb, packet))
			return -1;
	} else if (skb->protocol == swapped16(ETH_P_IPV6)) {
		if (read_v6(skb, packet))
			return -1;
	} else {
		return -1;
	}
	if (is_ours(packet) && packet->fragmented != LATER)
		return read_ports(skb, packet);
	return 0;
}
