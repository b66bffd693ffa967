/* What the program and the process share: keys and values of maps. `crates/kernel/src/layout.rs` has the other side, and the
 * folder of the pins carries the number of this layout: change it there when anything here changes. */
#pragma once

#include "kernel.h"

enum {
	/* Places of a service's table (Maglev), a prime. */
	PLACES = 65537,
	/* Addresses that a service's connections may come from under full NAT. */
	MOST_SOURCES = 16,
	MOST_SERVICES = 1024,
	/* Servers, counted once for each service that uses them, those that leave included. */
	MOST_BACKENDS = 4096,
	MOST_STRAYS = 16384,
	MOST_FRAGMENTS = 4096,
	FLOWS = 262144,
	/* Ports that are tried for a connection before it is dropped. */
	TRIES = 16,
	STRIDE = 257,
};

/* An address of IPv4 stands as ::ffff:a.b.c.d. */
struct address {
	__u32 words[4];
};

/* A packet's addresses and ports as they came, in network order. Forty bytes without a hole: it is hashed as it stands. */
struct key {
	struct address source, destination;
	__u16 source_port, destination_port;
	__u8 protocol, zero[3];
};

/* What becomes of the packets with this key; one cache line. The connection's other half has the key that answers to what this
 * one becomes, so that either can be made from the other. */
struct flow {
	/* Nanoseconds of the monotonic clock: its last packet, and when the other half was last looked after. */
	__u64 seen, tended;
	/* Under direct return the destination is the server whose Ethernet address the packet gets. */
	struct address source, destination;
	__u16 source_port, destination_port;
	/* Seconds of silence. */
	__u32 idle;
	__u32 generation;
	__u16 backend;
	__u8 state, kind;
};

enum state {
	ANSWERED = 1,
	ESTABLISHED = 2,
	CLIENT_ENDED = 4,
	SERVER_ENDED = 8,
	RESET = 16,
};

enum kind {
	FULL = 0,
	DNAT = 1,
	DIRECT = 2,
	/* Or'ed to one of these: packets of the server. */
	REPLY = 128,
};

struct service_key {
	struct address address;
	__u16 port;
	__u8 protocol, zero;
};

/* Everything about a service but its servers' addresses, swapped whole. */
struct service {
	__u32 generation;
	__u32 idle;
	__u32 mode;
	__u32 sources;
	__u16 first_port, ports;
	__u32 zero;
	struct address source[MOST_SOURCES];
	/* Numbers of servers: nobody's place has one that no server can have. */
	__u16 places[PLACES];
	__u16 tail[3];
};

/* A server of a service. Its number means the same server as long as any flow has it. */
struct backend {
	struct address address;
	struct service_key service;
	__u16 port;
	__u8 standing, zero;
};

enum standing {
	NOBODY = 0,
	TAKES_NEW = 1,
	/* It keeps its connections: it has no weight, or is no longer named. */
	LEAVING = 2,
};

/* Servers whose packets to a source address belong to connections of ours, or to nobody. */
struct stray_key {
	struct address server, source;
	__u16 port;
	__u8 protocol, zero;
};

struct ports {
	__u16 first, count;
};

struct fragment_key {
	struct address source, destination;
	__u32 id;
	__u8 protocol, zero[3];
};

struct fragment {
	__u64 seen;
	__u16 source_port, destination_port;
	__u32 zero;
};

struct traffic {
	__u64 packets_in, bytes_in, packets_out, bytes_out, opened;
};

enum drop {
	/* No server of the service takes new connections. */
	NO_SERVER,
	/* All ports that were tried are taken. */
	NO_PORT,
	/* A fragment whose first one was not seen before. */
	FRAGMENT,
	/* Larger than the way to the next hop takes. */
	TOO_BIG,
	/* Its time to live is over. */
	TTL,
	/* No route to where it must go. */
	UNROUTABLE,
	/* From a server to a source address, of a connection that nobody remembers. */
	STRAY,
	/* The kernel refused to change the packet. */
	REFUSED,
	DROPS,
};
