/* Errors that routers and hosts send about packets that we have rewritten (RFC 5508 section 4, RFC 6146 section 3.5.2 in spirit):
 * the packet that is quoted is the one that the sender of the error saw, so its connection is found by the answer to it, and it
 * is written back to what the receiver had sent. An MTU in it stays: nothing is added to packets here. */
#pragma once

#include "forward.h"

/* What is quoted, as far as errors must quote: headers without options, and eight bytes. */
struct quote_v4 {
	struct ipv4 ip;
	__u16 source_port, destination_port;
	__u16 third, checksum;
};

struct quote_v6 {
	struct ipv6 ip;
	__u16 source_port, destination_port;
	__u16 third, checksum;
};

/* The whole of what is quoted changes by ports, by addresses, and by the checksums that make up for them. A difference in
 * `changed` remains that the sum of the error has to take up. */
static inline_always int write_quote(struct __sk_buff *skb, const struct packet *packet, const struct key *quoted,
				     const struct flow *flow, __u32 at, __s64 *changed)
{
	struct pair before = { quoted->destination, quoted->source }, after = { flow->destination, flow->source };
	__u32 ports_before = quoted->destination_port | (__u32)quoted->source_port << 16;
	__u32 ports_after = flow->destination_port | (__u32)flow->source_port << 16;
	__s64 by_addresses = bpf_csum_diff((const __u32 *)&before, sizeof before, (const __u32 *)&after, sizeof after, 0);
	__s64 by_ports = bpf_csum_diff(&ports_before, 4, &ports_after, 4, 0);
	__s64 by = bpf_csum_diff(&ports_before, 4, &ports_after, 4, (__u32)by_addresses);
	*changed = by_ports;
	if (packet->is_v4) {
		__u32 addresses[2] = { after.source.words[3], after.destination.words[3] };
		__u16 sum;
		if (bpf_skb_load_bytes(skb, at + 10, &sum, 2))
			return -1;
		sum = sum_changed(sum, by_addresses);
		if (bpf_skb_store_bytes(skb, at + 10, &sum, 2, 0) || bpf_skb_store_bytes(skb, at + 12, addresses, 8, 0))
			return -1;
		at += sizeof(struct ipv4);
	} else {
		if (bpf_skb_store_bytes(skb, at + 8, &after, sizeof after, 0))
			return -1;
		*changed = by;
		at += sizeof(struct ipv6);
	}
	if (bpf_skb_store_bytes(skb, at, &ports_after, 4, 0))
		return -1;
	/* The checksum of what is quoted, if it is there. */
	__u32 sum_at = at + (quoted->protocol == IPPROTO_UDP ? 6 : 16);
	__u16 sum;
	if (bpf_skb_load_bytes(skb, sum_at, &sum, 2))
		return 0;
	if (quoted->protocol == IPPROTO_UDP && !sum)
		return 0;
	__u16 written = sum_changed(sum, by);
	if (quoted->protocol == IPPROTO_UDP && !written)
		written = 0xffff;
	__u32 sum_before = sum, sum_after = written;
	*changed = bpf_csum_diff(&sum_before, 4, &sum_after, 4, (__u32)*changed);
	return bpf_skb_store_bytes(skb, sum_at, &written, 2, 0);
}

/* The answer to the packet that an error quotes, and 0 if it quotes one that may be ours. */
static inline_always int read_quote(struct __sk_buff *skb, const struct packet *packet, __u32 at, struct key *answer)
{
	if (packet->is_v4) {
		struct quote_v4 quote;
		if (bpf_skb_load_bytes(skb, at, &quote, sizeof quote))
			return -1;
		/* Options, and fragments without ports. */
		if (quote.ip.version_words != 0x45 || quote.ip.offset & swapped16(0x1fff))
			return -1;
		set_v4(&answer->source, quote.ip.destination);
		set_v4(&answer->destination, quote.ip.source);
		answer->source_port = quote.destination_port;
		answer->destination_port = quote.source_port;
		answer->protocol = quote.ip.protocol;
	} else {
		struct quote_v6 quote;
		if (bpf_skb_load_bytes(skb, at, &quote, sizeof quote))
			return -1;
		answer->source = quote.ip.destination;
		answer->destination = quote.ip.source;
		answer->source_port = quote.destination_port;
		answer->destination_port = quote.source_port;
		answer->protocol = quote.ip.next;
	}
	return answer->protocol == IPPROTO_TCP || answer->protocol == IPPROTO_UDP ? 0 : -1;
}

static inline_always int translate_error(struct __sk_buff *skb, const struct packet *packet)
{
	__u8 kind;
	if (bpf_skb_load_bytes(skb, packet->at, &kind, 1))
		return TC_ACT_UNSPEC;
	if (packet->is_v4 ? kind != UNREACHABLE_V4 && kind != TIME_EXCEEDED_V4 && kind != PARAMETER_V4
			  : kind < UNREACHABLE_V6 || kind > PARAMETER_V6)
		return TC_ACT_UNSPEC;
	struct key answer = {};
	__u32 at = packet->at + 8;
	if (read_quote(skb, packet, at, &answer))
		return TC_ACT_UNSPEC;
	struct flow *known = find(&answer);
	if (!known)
		return TC_ACT_UNSPEC;
	struct flow flow = *known;
	/* Whoever sends an error sends it to the source of what it quotes. */
	if (!same(&packet->key.destination, &answer.destination))
		return TC_ACT_UNSPEC;
	if (packet->hops <= 1)
		return drop(TTL);
	/* Clients and, under full NAT, servers hear of errors from the only address that they know. */
	struct rewriting by = { .to = { packet->key.source, flow.destination } };
	if (flow.kind & REPLY || flow.kind == FULL)
		by.to.source = flow.source;
	struct way way = {};
	way.is_direct = flow.kind == DIRECT;
	int found = find_way(skb, packet, length_of(skb, packet), &by.to.source, &flow.destination, &way);
	if (found != DROPS)
		return drop(found);
	if (way.is_direct) {
		by.to = *(const struct pair *)&packet->key;
	} else {
		__s64 changed;
		if (write_quote(skb, packet, &answer, &flow, at, &changed))
			return drop(REFUSED);
		if (bpf_l4_csum_replace(skb, packet->at + 2, 0, changed, 0))
			return drop(REFUSED);
		/* Only the sum of ICMPv6 covers the addresses (RFC 4443 section 2.3). */
		by.checksum_at = packet->is_v4 ? 0 : packet->at + 2;
	}
	if (rewrite(skb, packet, &by))
		return drop(REFUSED);
	return leave(skb, &way, &flow.destination);
}
