/* What becomes of a packet: its way is looked up first, so that one without a way is dropped as it came; then addresses, ports and
 * checksums are written, and it leaves by that way. */
#pragma once

#include "too_big.h"

/* How addresses stand in a header: four bytes each in IPv4, sixteen in IPv6. */
struct pair {
	struct address source, destination;
};

/* What a packet gets. */
struct rewriting {
	struct pair to;
	__u32 ports;
	/* Where these stand, and the checksum that covers the addresses; 0 for none. */
	__u32 ports_at, checksum_at;
	__u64 flags;
};

/* What is written of a header of IPv4: all from its hops on, and the ports behind it. */
struct written_v4 {
	__u8 hops, protocol;
	__u16 checksum;
	__u32 source, destination, ports;
};

enum { WRITTEN_V4 = ETHERNET + 8, HOPS_V6 = ETHERNET + 7 };

/* What two addresses of IPv4 in the place of others change in a sum. */
static inline_always __u32 difference_v4(const struct pair *from, const struct pair *to)
{
	__u64 by = (__u64)~from->source.words[3] + (__u32)~from->destination.words[3];
	by += (__u64)to->source.words[3] + to->destination.words[3];
	by = (by & 0xffffffff) + (by >> 32);
	return (by & 0xffffffff) + (by >> 32);
}

/* One hop less, and other addresses and ports, with the checksums that cover the addresses. */
static inline_always int rewrite(struct __sk_buff *skb, const struct packet *packet, const struct rewriting *by)
{
	const struct pair *from = (const struct pair *)&packet->key, *to = &by->to;
	__u8 hops = packet->hops - 1;
	if (packet->is_v4) {
		__u32 change = difference_v4(from, to);
		if (by->checksum_at && bpf_l4_csum_replace(skb, by->checksum_at, 0, change, by->flags | BPF_F_PSEUDO_HDR))
			return -1;
		struct written_v4 header = { hops, packet->key.protocol, 0, to->source.words[3], to->destination.words[3],
					     by->ports };
		/* A hop less is one less in the low byte. */
		header.checksum = sum_changed(sum_changed(packet->checksum, 0xffff - 1), change);
		/* Without options the ports come next. */
		if (by->ports_at == ETHERNET + sizeof(struct ipv4))
			return bpf_skb_store_bytes(skb, WRITTEN_V4, &header, sizeof header, 0);
		if (bpf_skb_store_bytes(skb, WRITTEN_V4, &header, sizeof header - sizeof header.ports, 0))
			return -1;
	} else {
		__s64 change = bpf_csum_diff((const __u32 *)from, sizeof *from, (const __u32 *)to, sizeof *to, 0);
		if (by->checksum_at && bpf_l4_csum_replace(skb, by->checksum_at, 0, change, by->flags | BPF_F_PSEUDO_HDR))
			return -1;
		/* IPv6 has no checksum of its own that would make up for it, so a sum that the device has made is told. */
		if (bpf_skb_store_bytes(skb, HOPS_V6, &hops, 1, BPF_F_RECOMPUTE_CSUM) ||
		    bpf_skb_store_bytes(skb, HOPS_V6 + 1, to, sizeof *to, BPF_F_RECOMPUTE_CSUM))
			return -1;
	}
	return by->ports_at ? bpf_skb_store_bytes(skb, by->ports_at, &by->ports, sizeof by->ports, 0) : 0;
}

/* What a connection makes of a packet. Under direct return addresses and ports stay. */
static inline_always int rewrite_packet(struct __sk_buff *skb, const struct packet *packet, const struct flow *flow, int is_direct)
{
	struct rewriting by = { .to = *(const struct pair *)&packet->key };
	if (is_direct)
		return rewrite(skb, packet, &by);
	int is_udp = packet->key.protocol == IPPROTO_UDP;
	by.to = *(const struct pair *)&flow->source;
	/* A sum of 0 says that there is none, in UDP. */
	by.flags = is_udp ? BPF_F_MARK_MANGLED_0 : 0;
	/* What follows the first fragment has addresses and nothing else that is ours. */
	if (packet->fragmented == LATER)
		return rewrite(skb, packet, &by);
	by.ports_at = packet->at;
	by.checksum_at = packet->at + (is_udp ? 6 : 16);
	by.ports = flow->source_port | (__u32)flow->destination_port << 16;
	__u32 before = packet->key.source_port | (__u32)packet->key.destination_port << 16;
	if (before != by.ports && bpf_l4_csum_replace(skb, by.checksum_at, before, by.ports, by.flags | 4))
		return -1;
	return rewrite(skb, packet, &by);
}

/* The packet of a connection, on its way. */
static inline_always int forward(struct __sk_buff *skb, const struct packet *packet, const struct flow *flow)
{
	struct way way = {};
	way.is_direct = (flow->kind & ~REPLY) == DIRECT;
	if (packet->hops <= 1)
		return drop(TTL);
	int found = find_way(skb, packet, length_of(skb, packet), &flow->source, &flow->destination, &way);
	if (found == TOO_BIG)
		return tell_too_big(skb, packet, way.fib.tot_len);
	if (found != DROPS)
		return drop(found);
	if (rewrite_packet(skb, packet, flow, way.is_direct))
		return drop(REFUSED);
	count(skb, flow);
	return leave(skb, &way, &flow->destination);
}
