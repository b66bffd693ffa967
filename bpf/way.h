/* The way that a packet takes from here, by the kernel's tables of routes and neighbours. */
#pragma once

#include "connections.h"

/* How addresses stand in a frame. */
struct ethernet {
	__u8 destination[6], source[6];
};

struct way {
	struct bpf_fib_lookup fib;
	__u8 is_known;
	__u8 is_direct;
};

/* Of the packet, or of each that a frame segments into later: what the kernel joins may be longer than any way is wide. */
static inline_always __u16 length_of(struct __sk_buff *skb, const struct packet *packet)
{
	__u32 length = skb->len - ETHERNET;
	if (skb->gso_size) {
		__u8 words = 2 << 4;
		if (packet->key.protocol == IPPROTO_TCP && bpf_skb_load_bytes(skb, packet->at + 12, &words, 1))
			return 0;
		length = packet->at - ETHERNET + (words >> 4) * 4 + skb->gso_size;
	}
	return length > 0xffff ? 0xffff : length;
}

/* The way for a packet of this length; if it is too big, `tot_len` says for which MTU. */
static inline_always int find_way(struct __sk_buff *skb, const struct packet *packet, __u16 length, const struct address *source,
				  const struct address *destination, struct way *way)
{
	struct bpf_fib_lookup *fib = &way->fib;
	fib->ifindex = skb->ifindex;
	fib->l4_protocol = packet->key.protocol;
	if (packet->is_v4) {
		fib->family = AF_INET;
		fib->src[0] = source->words[3];
		fib->dst[0] = destination->words[3];
	} else {
		fib->family = AF_INET6;
		*(struct address *)fib->src = *source;
		*(struct address *)fib->dst = *destination;
	}
	fib->tot_len = length;
	long found = bpf_fib_lookup(skb, fib, sizeof *fib, 0);
	way->is_known = found == BPF_FIB_LKUP_RET_SUCCESS;
	if (found == BPF_FIB_LKUP_RET_FRAG_NEEDED)
		return TOO_BIG;
	if (found != BPF_FIB_LKUP_RET_SUCCESS && found != BPF_FIB_LKUP_RET_NO_NEIGH)
		return UNROUTABLE;
	return DROPS;
}

static inline_always int leave(struct __sk_buff *skb, struct way *way, const struct address *next_hop)
{
	struct bpf_fib_lookup *fib = &way->fib;
	if (way->is_known) {
		struct ethernet ends;
		__builtin_memcpy(ends.destination, fib->dmac, 6);
		__builtin_memcpy(ends.source, fib->smac, 6);
		if (bpf_skb_store_bytes(skb, 0, &ends, sizeof ends, 0))
			return drop(REFUSED);
		return bpf_redirect(fib->ifindex, 0);
	}
	/* The kernel asks for the neighbour's Ethernet address and keeps the packet until it knows. */
	if (!way->is_direct)
		return bpf_redirect_neigh(fib->ifindex, 0, 0, 0);
	struct bpf_redir_neigh hop = { .family = fib->family };
	if (fib->family == AF_INET)
		hop.next_hop[0] = next_hop->words[3];
	else
		*(struct address *)hop.next_hop = *next_hop;
	return bpf_redirect_neigh(fib->ifindex, &hop, sizeof hop, 0);
}
