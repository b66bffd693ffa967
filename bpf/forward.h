/* What becomes of a packet: its way is looked up first, so that one without a way is dropped as it came; then addresses, ports and
 * checksums are written, and it leaves by that way. */
#pragma once

#include "too_big.h"

/* How addresses stand in a header: four bytes each in IPv4, sixteen in IPv6. */
struct pair {
	struct address source, destination;
};

enum { SOURCE_V4 = ETHERNET + 12, SOURCE_V6 = ETHERNET + 8, HOPS_V4 = ETHERNET + 8, HOPS_V6 = ETHERNET + 7, CHECKSUM_V4 = ETHERNET + 10 };

/* One hop less. */
static inline_always int write_hops(struct __sk_buff *skb, const struct packet *packet)
{
	__u8 hops = packet->hops - 1;
	if (!packet->is_v4)
		return bpf_skb_store_bytes(skb, HOPS_V6, &hops, 1, BPF_F_RECOMPUTE_CSUM);
	__u16 protocol = (__u16)packet->key.protocol << 8;
	if (bpf_l3_csum_replace(skb, CHECKSUM_V4, protocol | packet->hops, protocol | hops, 2))
		return -1;
	return bpf_skb_store_bytes(skb, HOPS_V4, &hops, 1, 0);
}

/* Other addresses, with the checksums that cover them: that of IPv4's header, and the one at `checksum` in what the packet
 * carries, unless that is 0. */
static inline_always int write_addresses(struct __sk_buff *skb, const struct packet *packet, const struct pair *to, __u32 checksum,
					 __u64 flags)
{
	const struct pair *from = (const struct pair *)&packet->key;
	if (packet->is_v4) {
		__u32 before[2] = { from->source.words[3], from->destination.words[3] };
		__u32 after[2] = { to->source.words[3], to->destination.words[3] };
		__s64 by = bpf_csum_diff(before, 8, after, 8, 0);
		if (bpf_l3_csum_replace(skb, CHECKSUM_V4, 0, by, 0))
			return -1;
		if (checksum && bpf_l4_csum_replace(skb, checksum, 0, by, flags | BPF_F_PSEUDO_HDR))
			return -1;
		return bpf_skb_store_bytes(skb, SOURCE_V4, after, 8, 0);
	}
	__s64 by = bpf_csum_diff((const __u32 *)from, sizeof *from, (const __u32 *)to, sizeof *to, 0);
	if (checksum && bpf_l4_csum_replace(skb, checksum, 0, by, flags | BPF_F_PSEUDO_HDR))
		return -1;
	/* IPv6 has no checksum of its own that would make up for the addresses, so a sum that the device has made is told. */
	return bpf_skb_store_bytes(skb, SOURCE_V6, to, sizeof *to, BPF_F_RECOMPUTE_CSUM);
}

static inline_always int write_flow(struct __sk_buff *skb, const struct packet *packet, const struct flow *flow)
{
	int is_udp = packet->key.protocol == IPPROTO_UDP;
	/* A sum of 0 says that there is none, in UDP. */
	__u64 flags = is_udp ? BPF_F_MARK_MANGLED_0 : 0;
	/* What follows the first fragment has addresses and nothing else that is ours. */
	__u32 checksum = packet->fragmented == LATER ? 0 : packet->at + (is_udp ? 6 : 16);
	if (write_addresses(skb, packet, (const struct pair *)&flow->source, checksum, flags))
		return -1;
	if (packet->fragmented == LATER)
		return 0;
	__u32 before = packet->key.source_port | (__u32)packet->key.destination_port << 16;
	__u32 after = flow->source_port | (__u32)flow->destination_port << 16;
	if (before == after)
		return 0;
	if (bpf_l4_csum_replace(skb, checksum, before, after, flags | 4))
		return -1;
	return bpf_skb_store_bytes(skb, packet->at, &after, 4, 0);
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
	if (write_hops(skb, packet))
		return drop(REFUSED);
	if (!way.is_direct && write_flow(skb, packet, flow))
		return drop(REFUSED);
	count(skb, flow);
	return leave(skb, &way, &flow->destination);
}
