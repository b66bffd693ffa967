/* What a router says of a packet that is larger than the way that it has to take (RFC 1191 section 4, RFC 4443 section 3.2). The sender
 * is told by whom it has sent to, the only address that it knows; the error takes the way of any packet. */
#pragma once

#include "way.h"

enum {
	/* All of an error: what every receiver takes (RFC 1812 section 4.3.2.3, RFC 4443 section 2.4 c). */
	ERROR_V4 = 576,
	ERROR_V6 = 1280,
	/* Taken out of a packet that becomes an error: where the device would write a sum that it still owes is in there. */
	CUT = 128,
};

struct icmp {
	__u8 kind, code;
	__u16 checksum, zero, mtu;
};

/* An error: what the stack has no room for. */
union telling {
	struct {
		struct ipv4 ip;
		struct icmp icmp;
		__u8 quote[ERROR_V4 - sizeof(struct ipv4) - sizeof(struct icmp)];
	} v4;
	struct {
		struct ipv6 ip;
		struct icmp icmp;
		__u8 quote[ERROR_V6 - sizeof(struct ipv6) - sizeof(struct icmp)];
	} v6;
};

/* How often those whose addresses have the same hash are told, in the long run and in a row (RFC 1812 section 4.3.2.8). */
#define BETWEEN_TELLINGS (SECOND / 50)
#define TELLINGS_IN_A_ROW 10
#define TELLINGS 1024

/* Neither is pinned: what they hold is over in a moment. */
struct {
	map_type(BPF_MAP_TYPE_PERCPU_ARRAY);
	map_entries(1);
	map_key(__u32);
	map_value(union telling);
} telling SEC(".maps");

/* When the next one of those whose addresses have this hash is told. */
struct {
	map_type(BPF_MAP_TYPE_PERCPU_ARRAY);
	map_entries(TELLINGS);
	map_key(__u32);
	map_value(__u64);
} tellings SEC(".maps");

/* Whether it may be told now. */
static inline_always int may_be_told(const struct address *who)
{
	__u32 slot = (who->words[0] ^ who->words[1] ^ who->words[2] ^ who->words[3]) * 0x9E3779B1U / (0xffffffffU / TELLINGS + 1);
	__u64 *next = bpf_map_lookup_elem(&tellings, &slot), now = bpf_ktime_get_ns();
	if (!next)
		return 0;
	__u64 from = *next > now ? *next : now;
	if (from - now > BETWEEN_TELLINGS * (TELLINGS_IN_A_ROW - 1))
		return 0;
	*next = from + BETWEEN_TELLINGS;
	return 1;
}

/* Addresses of one machine: nobody else is told anything (RFC 1122 section 3.2.2, RFC 4443 section 2.4 e). */
static inline_always int is_one(const struct packet *packet)
{
	const __u32 *words = packet->key.source.words;
	if (packet->is_v4) {
		__u8 first = words[3];
		return first != 0 && first != 127 && first < 224;
	}
	return (words[0] & 0xff) != 0xff && (words[0] | words[1] | words[2]);
}

/* Writes the error, and returns how long it is; 0 if there is none. */
static inline_always __u32 write_telling(struct __sk_buff *skb, const struct packet *packet, union telling *told, __u16 mtu)
{
	if (packet->is_v4) {
		struct ipv4 ip = { 0x45, 0xc0, swapped16(ERROR_V4), 0, swapped16(0x4000), 64, IPPROTO_ICMP, 0,
				   packet->key.destination.words[3], packet->key.source.words[3] };
		ip.checksum = sum_changed(0xffff, bpf_csum_diff(0, 0, (const __u32 *)&ip, sizeof ip, 0));
		if (bpf_skb_load_bytes(skb, ETHERNET, told->v4.quote, sizeof told->v4.quote))
			return 0;
		told->v4.ip = ip;
		told->v4.icmp = (struct icmp) { UNREACHABLE_V4, FRAGMENTATION_NEEDED, 0, 0, swapped16(mtu) };
		__s64 sum = bpf_csum_diff(0, 0, (const __u32 *)&told->v4.icmp, 512, 0);
		sum = bpf_csum_diff(0, 0, (const __u32 *)&told->v4.icmp + 128, ERROR_V4 - sizeof ip - 512, sum);
		told->v4.icmp.checksum = sum_changed(0xffff, sum);
		return ERROR_V4;
	}
	struct ipv6 ip = { 0x60, swapped16(ERROR_V6 - sizeof ip), IPPROTO_ICMPV6, 64, packet->key.destination, packet->key.source };
	if (bpf_skb_load_bytes(skb, ETHERNET, told->v6.quote, sizeof told->v6.quote))
		return 0;
	told->v6.ip = ip;
	told->v6.icmp = (struct icmp) { TOO_BIG_V6, 0, 0, 0, swapped16(mtu) };
	/* The addresses, the length and the protocol are summed, too (RFC 8200 section 8.1). */
	__u32 more[2] = { (__u32)swapped16(ERROR_V6 - sizeof ip) << 16, (__u32)IPPROTO_ICMPV6 << 24 };
	__s64 sum = bpf_csum_diff(0, 0, more, sizeof more, 0);
	sum = bpf_csum_diff(0, 0, (const __u32 *)&told->v6.ip.source, 512, sum);
	sum = bpf_csum_diff(0, 0, (const __u32 *)&told->v6.ip.source + 128, 512, sum);
	sum = bpf_csum_diff(0, 0, (const __u32 *)&told->v6.ip.source + 256, ERROR_V6 - 8 - 1024, sum);
	told->v6.icmp.checksum = sum_changed(0xffff, sum);
	return ERROR_V6;
}

/* Makes an error to its sender of a packet that is too big. It is counted as dropped, and is dropped where nobody may be told: the sender
 * of a later fragment, whoever was told just now, everybody on kernels that do not say how wide the way is. */
static inline_always int tell_too_big(struct __sk_buff *skb, const struct packet *packet, __u16 mtu)
{
	int dropped = drop(TOO_BIG);
	__u32 first = 0, length = packet->is_v4 ? ERROR_V4 : ERROR_V6;
	/* A way that is narrower than the error itself is none that anybody has. */
	if (packet->fragmented == LATER || mtu >= length_of(skb, packet) || mtu < length || packet->at > CUT || !is_one(packet))
		return dropped;
	struct way way = {};
	union telling *told = bpf_map_lookup_elem(&telling, &first);
	if (!told || find_way(skb, packet, length, &packet->key.destination, &packet->key.source, &way) != DROPS)
		return dropped;
	if (!may_be_told(&packet->key.source) || !write_telling(skb, packet, told, mtu))
		return dropped;
	/* The device may still owe the packet a sum, and would write it into the error. What ends before the place of the sum is forgotten by
	 * the kernel to owe one, so that place is cut out, and all of the rest is written anew. */
	if (bpf_skb_change_tail(skb, ETHERNET + length + CUT, 0) || bpf_skb_adjust_room(skb, -CUT, BPF_ADJ_ROOM_MAC, 0))
		return dropped;
	if (packet->is_v4 ? bpf_skb_store_bytes(skb, ETHERNET, told, ERROR_V4, BPF_F_RECOMPUTE_CSUM)
			  : bpf_skb_store_bytes(skb, ETHERNET, told, ERROR_V6, BPF_F_RECOMPUTE_CSUM))
		return dropped;
	return leave(skb, &way, &packet->key.source);
}
