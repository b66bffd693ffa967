/* XXH64 of a key, with seed 0: what `base::xxh64` says of the same bytes. It chooses a connection's place in the table and the
 * first of its ports, so every node chooses alike. */
#pragma once

#include "layout.h"

#define PRIME_1 0x9E3779B185EBCA87ULL
#define PRIME_2 0xC2B2AE3D27D4EB4FULL
#define PRIME_3 0x165667B19E3779F9ULL
#define PRIME_4 0x85EBCA77C2B2AE63ULL

static inline_always __u64 rotated(__u64 word, int by)
{
	return word << by | word >> (64 - by);
}

static inline_always __u64 mixed(__u64 lane, __u64 word)
{
	return rotated(lane + word * PRIME_2, 31) * PRIME_1;
}

static inline_always __u64 merged(__u64 hash, __u64 lane)
{
	return (hash ^ mixed(0, lane)) * PRIME_1 + PRIME_4;
}

static inline_always __u64 hash_of(const struct key *key)
{
	const __u32 *words = (const __u32 *)key;
#define WORD(n) ((__u64)words[2 * (n)] | (__u64)words[2 * (n) + 1] << 32)
	__u64 one = mixed(PRIME_1 + PRIME_2, WORD(0)), two = mixed(PRIME_2, WORD(1));
	__u64 three = mixed(0, WORD(2)), four = mixed(0 - PRIME_1, WORD(3));
	__u64 hash = rotated(one, 1) + rotated(two, 7) + rotated(three, 12) + rotated(four, 18);
	hash = merged(merged(merged(merged(hash, one), two), three), four);
	hash += sizeof *key;
	hash = rotated(hash ^ mixed(0, WORD(4)), 27) * PRIME_1 + PRIME_4;
#undef WORD
	hash = (hash ^ hash >> 33) * PRIME_2;
	hash = (hash ^ hash >> 29) * PRIME_3;
	return hash ^ hash >> 32;
}
