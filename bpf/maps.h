/* The maps. Every one is bounded; the process may give `flows` another size. */
#pragma once

#include "layout.h"

struct {
	map_type(BPF_MAP_TYPE_LRU_HASH);
	map_entries(FLOWS);
	map_key(struct key);
	map_value(struct flow);
} flows SEC(".maps");

struct flow_table {
	map_type(BPF_MAP_TYPE_LRU_HASH);
	map_entries(1);
	/* The compiler describes no structure that is this deep inside of a map: sizes alone. */
	int (*key_size)[sizeof(struct key)];
	int (*value_size)[sizeof(struct flow)];
};

/* The table in the place of which `flows` comes, for as long as it takes to copy what is in it. */
struct {
	map_type(BPF_MAP_TYPE_HASH_OF_MAPS);
	map_entries(1);
	map_key(__u32);
	__u32 *value;
	struct flow_table *values[];
} former SEC(".maps");

struct {
	map_type(BPF_MAP_TYPE_LRU_HASH);
	map_entries(MOST_FRAGMENTS);
	map_key(struct fragment_key);
	map_value(struct fragment);
} fragments SEC(".maps");

struct service_table {
	map_type(BPF_MAP_TYPE_ARRAY);
	map_entries(1);
	/* Sizes alone, as above. */
	int (*key_size)[sizeof(__u32)];
	int (*value_size)[sizeof(struct service)];
};

struct {
	map_type(BPF_MAP_TYPE_HASH_OF_MAPS);
	map_entries(MOST_SERVICES);
	map_key(struct service_key);
	__u32 *value;
	struct service_table *values[];
} services SEC(".maps");

struct {
	map_type(BPF_MAP_TYPE_ARRAY);
	map_entries(MOST_BACKENDS);
	map_key(__u32);
	map_value(struct backend);
} backends SEC(".maps");

struct {
	map_type(BPF_MAP_TYPE_HASH);
	map_entries(MOST_STRAYS);
	map_key(struct stray_key);
	map_value(struct ports);
} strays SEC(".maps");

/* The addresses of services, for fragments that cannot be told apart further. */
struct {
	map_type(BPF_MAP_TYPE_HASH);
	map_entries(MOST_SERVICES);
	map_key(struct address);
	map_value(__u32);
} vips SEC(".maps");

struct {
	map_type(BPF_MAP_TYPE_PERCPU_ARRAY);
	map_entries(MOST_BACKENDS);
	map_key(__u32);
	map_value(struct traffic);
} traffic SEC(".maps");

struct {
	map_type(BPF_MAP_TYPE_PERCPU_ARRAY);
	map_entries(DROPS);
	map_key(__u32);
	map_value(__u64);
} drops SEC(".maps");
