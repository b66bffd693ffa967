/* NAT on packets as they arrive at an interface (TCX or clsact, ingress). A packet of a connection that is known, or to a service,
 * is rewritten and sent on from here; every other packet passes untouched. */
#include "icmp.h"

/* What belongs to a packet that is not the first of its kind is in the first one only: its ports. */
static inline_always int know_fragment(struct packet *packet, __u64 now)
{
	struct fragment_key key = { packet->key.source, packet->key.destination, packet->id, packet->key.protocol, {} };
	if (packet->fragmented == LATER) {
		struct fragment *first = bpf_map_lookup_elem(&fragments, &key);
		/* Receivers wait no longer for the rest (RFC 791 section 3.2), and numbers come again. */
		if (!first || now - first->seen > 30 * SECOND)
			return -1;
		packet->key.source_port = first->source_port;
		packet->key.destination_port = first->destination_port;
		return 0;
	}
	struct fragment first = { now, packet->key.source_port, packet->key.destination_port, 0 };
	return bpf_map_update_elem(&fragments, &key, &first, BPF_ANY);
}

/* A later fragment that has no connection. If its first one was seen, and was for no service, it passed, and so do the others; else
 * nobody knows what it belongs to, and only what is for an address of ours may be of a service. */
static inline_always int leave_fragment(const struct packet *packet, int is_known)
{
	struct service_key at = { packet->key.destination, packet->key.destination_port, packet->key.protocol, 0 };
	if (is_known && !bpf_map_lookup_elem(&services, &at))
		return TC_ACT_UNSPEC;
	return bpf_map_lookup_elem(&vips, &packet->key.destination) ? drop(FRAGMENT) : TC_ACT_UNSPEC;
}

SEC("classifier")
int tidegate_nat(struct __sk_buff *skb)
{
	struct packet packet = {};
	if (read_packet(skb, &packet))
		return TC_ACT_UNSPEC;
	if (packet.key.protocol == (packet.is_v4 ? IPPROTO_ICMP : IPPROTO_ICMPV6))
		return packet.fragmented == WHOLE ? translate_error(skb, &packet) : TC_ACT_UNSPEC;
	if (!is_ours(&packet))
		return TC_ACT_UNSPEC;
	__u64 now = bpf_ktime_get_ns();
	if (packet.fragmented == LATER && know_fragment(&packet, now))
		return leave_fragment(&packet, 0);
	struct flow *known = find(&packet.key);
	struct flow flow;
	if (known && !is_over(known, &packet) && tend(&packet, known, now)) {
		/* The table may give this place to another connection at any time. */
		flow = *known;
	} else {
		if (packet.fragmented == LATER)
			return leave_fragment(&packet, 1);
		int opened = open(&packet, &flow, now);
		if (opened < 0) {
			if (is_stray(&packet))
				return drop(STRAY);
			/* For this host itself, beside the services that share its address. */
			if (packet.fragmented == FIRST && bpf_map_lookup_elem(&vips, &packet.key.destination))
				know_fragment(&packet, now);
			return TC_ACT_UNSPEC;
		}
		if (opened != DROPS)
			return drop(opened);
	}
	if (packet.fragmented == FIRST)
		know_fragment(&packet, now);
	return forward(skb, &packet, &flow);
}

/* `bpf_fib_lookup` is for programs with a licence that fits the kernel's: the files of this folder may be used under the MIT licence and
 * under the GPL, version 2, as well as under Tidegate's own. */
char _license[] SEC("license") = "Dual MIT/GPL";
