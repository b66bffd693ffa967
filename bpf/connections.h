/* The table of connections: finding, opening and tending them. A connection has two entries, one for each direction, each
 * found by the packet as it comes; under direct return there is only the client's. */
#pragma once

#include "hash.h"
#include "maps.h"
#include "packet.h"

#define SECOND 1000000000ULL
/* Seconds. */
#define UNANSWERED 10
#define LINGER 5
#define UNBELIEVED 10
#define UNPROVEN 3

static inline_always int drop(__u32 why)
{
	__u64 *count = bpf_map_lookup_elem(&drops, &why);
	if (count)
		*count += 1;
	return TC_ACT_SHOT;
}

static inline_always void count(struct __sk_buff *skb, const struct flow *flow)
{
	__u32 backend = flow->backend;
	struct traffic *passed = bpf_map_lookup_elem(&traffic, &backend);
	if (!passed)
		return;
	__u64 packets = skb->gso_segs > 1 ? skb->gso_segs : 1;
	if (flow->kind & REPLY) {
		passed->packets_out += packets;
		passed->bytes_out += skb->len;
	} else {
		passed->packets_in += packets;
		passed->bytes_in += skb->len;
	}
}

/* The half of a connection that is found by this key. While the table comes into the place of one of another size, what has not been copied
 * yet is taken from there. A port that was given there and has not been copied may be given once more in that moment, which takes two
 * connections of so many at the same port. */
static inline_always struct flow *find(const struct key *key)
{
	struct flow *known = bpf_map_lookup_elem(&flows, key);
	if (known)
		return known;
	__u32 only = 0;
	void *table = bpf_map_lookup_elem(&former, &only);
	if (!table)
		return 0;
	struct flow *before = bpf_map_lookup_elem(table, key);
	if (!before)
		return 0;
	bpf_map_update_elem(&flows, key, before, BPF_NOEXIST);
	return bpf_map_lookup_elem(&flows, key);
}

/* What finds the other half of a connection. */
static inline_always void other_key(const struct key *key, const struct flow *flow, struct key *other)
{
	other->source = flow->destination;
	other->destination = flow->source;
	other->source_port = flow->destination_port;
	other->destination_port = flow->source_port;
	other->protocol = key->protocol;
	other->zero[0] = 0;
	other->zero[1] = 0;
	other->zero[2] = 0;
}

/* The other half itself. */
static inline_always void other_half(const struct key *key, const struct flow *flow, struct flow *other)
{
	*other = *flow;
	other->source = key->destination;
	other->destination = key->source;
	other->source_port = key->destination_port;
	other->destination_port = key->source_port;
	other->kind = flow->kind ^ REPLY;
}

static inline_always int answers_to(const struct flow *other, const struct key *key)
{
	return same(&other->source, &key->destination) && same(&other->destination, &key->source) &&
	       other->source_port == key->destination_port && other->destination_port == key->source_port;
}

/* What a packet makes of the state of a connection of TCP. One of UDP has none. */
static inline_always __u8 state_after(const struct flow *flow, const struct packet *packet)
{
	__u8 state = flow->state;
	if (packet->key.protocol != IPPROTO_TCP || packet->fragmented == LATER)
		return state;
	if (packet->flags & RST)
		return state | RESET;
	/* Whoever goes on talking has not believed in a reset, which may have been forged. */
	if (!(packet->flags & SYN))
		state &= ~RESET;
	if (flow->kind & REPLY) {
		state |= ANSWERED;
		if (packet->flags & FIN)
			state |= SERVER_ENDED;
		return state;
	}
	/* A client that answers to an answer is where it says it is. */
	if (!(packet->flags & SYN) && (state & ANSWERED || flow->kind == DIRECT))
		state |= ESTABLISHED;
	if (packet->flags & FIN)
		state |= CLIENT_ENDED;
	return state;
}

/* Whether a packet of a client opens a connection although one of the same addresses and ports is remembered: its port is used
 * again, or its server has not answered and others have been named since. */
static inline_always int is_over(const struct flow *flow, const struct packet *packet)
{
	if (packet->key.protocol != IPPROTO_TCP || packet->fragmented == LATER || (packet->flags & (SYN | RST)) != SYN)
		return 0;
	if (flow->kind & REPLY)
		return 0;
	if (flow->state & RESET)
		return 1;
	__u8 ended = flow->kind == DIRECT ? CLIENT_ENDED : CLIENT_ENDED | SERVER_ENDED;
	if ((flow->state & ended) == ended)
		return 1;
	if (flow->state & (ANSWERED | ESTABLISHED))
		return 0;
	struct service_key at = { packet->key.destination, packet->key.destination_port, packet->key.protocol, 0 };
	void *table = bpf_map_lookup_elem(&services, &at);
	__u32 first = 0;
	struct service *service = table ? bpf_map_lookup_elem(table, &first) : 0;
	return service && service->generation != flow->generation;
}

/* Whether datagrams go to a server that takes nothing new and has not answered for long: nothing would ever end such a flow, as long
 * as its client goes on. The server's half was last tended when it last answered. */
static inline_always int is_deserted(const struct packet *packet, const struct flow *flow, const struct flow *reply, __u64 now)
{
	if (packet->key.protocol != IPPROTO_UDP || flow->kind & REPLY || now - reply->tended < UNANSWERED * SECOND)
		return 0;
	__u32 number = flow->backend;
	struct backend *backend = bpf_map_lookup_elem(&backends, &number);
	return backend && backend->standing == LEAVING;
}

/* Notes a packet, and looks after the other half when the state has changed, or else once a second: the table may have
 * forgotten one half, and one half may be silent for long. 0 if the connection is not ours any more. */
static inline_always int tend(const struct packet *packet, struct flow *flow, __u64 now)
{
	__u8 before = flow->state, state = state_after(flow, packet);
	flow->seen = now;
	if (state == before && now - flow->tended < SECOND)
		return 1;
	flow->state = state;
	flow->tended = now;
	if ((flow->kind & ~REPLY) == DIRECT)
		return 1;
	struct key key;
	other_key(&packet->key, flow, &key);
	struct flow *other = bpf_map_lookup_elem(&flows, &key);
	if (other) {
		if (!answers_to(other, &packet->key))
			return !!(flow->kind & REPLY);
		if (packet->fragmented != LATER && is_deserted(packet, flow, other, now))
			return 0;
		other->seen = now;
		if (state != before)
			other->state = state;
		else
			flow->state = other->state |= state;
		return 1;
	}
	struct flow made;
	other_half(&packet->key, flow, &made);
	bpf_map_update_elem(&flows, &key, &made, BPF_NOEXIST);
	return 1;
}

/* 1 if a port may be given to a new connection although an old one is still remembered for it: both sides have ended that, or one has
 * reset it, and nothing has come of it since for longer than what is under way, or sent again, takes; or its client has not shown for longer
 * than one that is there takes that it is where it says it is, as in a flood of SYN. There is no branch in it: the
 * kernel's verifier would follow each through all tries. A packet that came since the clock was read makes a silence below zero. */
static inline_always __u64 is_spent(const struct flow *taken, __u64 now)
{
	__u64 state = taken->state, silence = now - taken->seen;
	__u64 lingered = LINGER * SECOND - silence, unbelieved = UNBELIEVED * SECOND - silence;
	__u64 awaited = UNPROVEN * SECOND - silence, unproven = ~(state / ESTABLISHED) & 1;
	asm volatile("" : "+r"(lingered), "+r"(unbelieved), "+r"(awaited));
	__u64 reset = state / RESET, ended = state / CLIENT_ENDED & state / SERVER_ENDED;
	return (reset & unbelieved >> 63) | (ended & ~reset & lingered >> 63) | (unproven & awaited >> 63);
}

/* The source and the port that a number stands for. */
static inline_always void set_source(const struct service *service, struct flow *flow, __u32 ports, __u32 candidate)
{
	__u32 number = candidate / ports;
	/* The kernel's verifier does not know what a quotient is below. */
	asm volatile("%0 &= %1" : "+r"(number) : "i"(MOST_SOURCES - 1));
	flow->source = service->source[number];
	flow->source_port = swapped16(service->first_port + candidate % ports);
}

/* Takes a port at a source address, or whatever the service's kind of NAT needs, by putting the server's half into the table.
 * The first port to be tried follows from the addresses and ports, so that a table that was lost, or another node's, comes to the
 * same one as long as it is free. If none of those that are tried is free, one at a source address whose connection is over is given
 * to one that begins. */
static inline_always int take_port(const struct packet *packet, const struct service *service, struct flow *flow, __u32 hash,
				   __u64 now, int *known)
{
	__u32 ports = service->ports, sources = service->sources;
	if (!ports)
		return -1;
	__u32 all = flow->kind == FULL ? ports * sources : ports;
	if (!all)
		return -1;
	struct key key;
	struct flow reply;
	__u64 spent = all;
	for (__u32 try = 0; try < TRIES; try++) {
		__u32 candidate = (hash % all + try * STRIDE) % all;
		if (flow->kind == FULL) {
			set_source(service, flow, ports, candidate);
		} else {
			__u16 port = swapped16(service->first_port + candidate);
			flow->source = packet->key.source;
			flow->source_port = try ? port : packet->key.source_port;
		}
		other_key(&packet->key, flow, &key);
		other_half(&packet->key, flow, &reply);
		if (!bpf_map_update_elem(&flows, &key, &reply, BPF_NOEXIST))
			return 0;
		struct flow *taken = bpf_map_lookup_elem(&flows, &key);
		if (!taken)
			continue;
		if (answers_to(taken, &packet->key)) {
			/* Its other half was forgotten, or it is over. */
			if (!(packet->flags & SYN)) {
				flow->state = reply.state = taken->state;
				*known = 1;
			}
			return bpf_map_update_elem(&flows, &key, &reply, BPF_ANY);
		}
		__u64 mask = -is_spent(taken, now);
		asm volatile("" : "+r"(mask));
		spent = (candidate & mask) | (spent & ~mask);
	}
	if (spent == all || flow->kind != FULL || packet->key.protocol != IPPROTO_TCP || (packet->flags & (SYN | RST)) != SYN)
		return -1;
	/* The half of the client that had it finds at its next packet that this is not its own any more. */
	set_source(service, flow, ports, spent);
	other_key(&packet->key, flow, &key);
	other_half(&packet->key, flow, &reply);
	return bpf_map_update_elem(&flows, &key, &reply, BPF_ANY);
}

/* Opens a connection for a packet to a service. What goes wrong is a reason to drop it. */
static inline_always int open(const struct packet *packet, struct flow *flow, __u64 now)
{
	struct service_key at = { packet->key.destination, packet->key.destination_port, packet->key.protocol, 0 };
	void *table = bpf_map_lookup_elem(&services, &at);
	if (!table)
		return -1;
	__u32 first = 0;
	struct service *service = bpf_map_lookup_elem(table, &first);
	if (!service)
		return -1;
	__u64 hash = hash_of(&packet->key);
	__u32 place = ((hash >> 32) * PLACES) >> 32;
	if (place >= PLACES)
		return NO_SERVER;
	__u32 number = service->places[place];
	struct backend *backend = bpf_map_lookup_elem(&backends, &number);
	if (!backend)
		return NO_SERVER;
	flow->seen = now;
	flow->tended = now;
	flow->idle = service->idle;
	flow->generation = service->generation;
	flow->backend = number;
	flow->kind = service->mode;
	flow->state = 0;
	flow->destination = backend->address;
	flow->destination_port = backend->port;
	int known = 0;
	if (flow->kind == DIRECT) {
		flow->source = packet->key.source;
		flow->source_port = packet->key.source_port;
	} else if (take_port(packet, service, flow, (__u32)hash, now, &known)) {
		return NO_PORT;
	}
	if (packet->key.protocol == IPPROTO_TCP)
		flow->state = state_after(flow, packet);
	if (bpf_map_update_elem(&flows, &packet->key, flow, BPF_ANY))
		return NO_PORT;
	if (!known) {
		struct traffic *passed = bpf_map_lookup_elem(&traffic, &number);
		if (passed)
			passed->opened += 1;
	}
	return DROPS;
}

/* Whether a packet without a connection can only be of one that was forgotten: the kernel would answer it with a reset, and the
 * server would believe it. */
static inline_always int is_stray(const struct packet *packet)
{
	struct stray_key key = { packet->key.source, packet->key.destination, packet->key.source_port, packet->key.protocol, 0 };
	struct ports *ports = bpf_map_lookup_elem(&strays, &key);
	return ports && (__u16)(swapped16(packet->key.destination_port) - ports->first) < ports->count;
}
