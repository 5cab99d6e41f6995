/* SPDX-License-Identifier: GPL-2.0 */
/* The tables of the fast path: the workers' own FDB and VTEPs, and what the control plane says. */
#pragma once
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "packet.h"
#include "vxgw.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct vxgw_bucket);
} fdb SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct vxgw_vtep);
} vteps SEC(".maps");

// The segments that the fast path may serve: index plus 1 in the upper, VNI in the lower 32 bits; 0: a free slot.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, VXGW_SEGMENT_SLOTS);
	__type(key, __u32);
	__type(value, __u64);
} segments SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, VXGW_LOCAL_PORTS);
	__type(key, __u32);
	__type(value, struct vxgw_local_port);
} local_ports SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, VXGW_DEVICES);
	__type(key, __u32);
	__type(value, struct vxgw_device);
} devices SEC(".maps");

// Device index to the kernel's interface.
struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP);
	__uint(max_entries, VXGW_DEVICES);
	__type(key, __u32);
	__type(value, __u32);
} interfaces SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2 * VXGW_DEVICES);
	__type(key, __u32);
	__type(value, struct vxgw_forwarded);
} forwarded SEC(".maps");

// Until when, in nanoseconds of the monotonic clock, the workers are known to be alive: behind them nobody would learn, age or
// flood, and the fast path must not go on alone.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} pulse SEC(".maps");

// VXGW_PLACE_… to the number of the local port plus 1; 0: none. Of this NIC alone.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, VXGW_PLACES);
	__type(key, __u32);
	__type(value, __u32);
} places SEC(".maps");

// The index of a VNI's segment; -1: none.
static __always_inline __s32 segment_of(__u32 vni)
{
	__u32 index = vxgw_segment_home(vni);
	for (int step = 0; step < VXGW_SEGMENT_REACH; step++, index++) {
		const __u64 *slot = bpf_map_lookup_elem(&segments, &index);
		__u64 word = slot ? READ(*slot) : 0;
		if (word && (__u32)word == vni)
			return (word >> 32) - 1;
	}
	return -1;
}

/* FDB: see FDB.swift for the words, and for why the value is read twice. */

#define SECOND 1000000000ull
#define FDB_STATE 3ull
#define FDB_LEARNED 1
#define FDB_GENERATION 0xfffcull
#define FDB_DESTINATION(word) ((__u32)((word) >> 16) & 0xffff)
#define IS_PORT(destination) (!((destination) & 0x8000))
#define IS_VTEP(destination) (((destination) & 0xc000) == 0x8000)
#define INDEX(destination) ((destination) & 0x3fff)

static __always_inline __u32 fdb_home(__u64 key)
{
	__u64 hash = (key ^ fast.seed) * 0x9e3779b97f4a7c15ull;
	hash ^= hash >> 32;
	return hash * 0xd6e8feb86659fd93ull >> fast.shift;
}

// Looks into one bucket. Where the key's value is: the bucket's index, and in the lowest 3 bits that of the word; 0: not here, but
// perhaps in the next bucket; -1: nowhere.
static __always_inline __s64 fdb_look_into(__u32 index, __u64 key, __u64 *value)
{
	struct vxgw_bucket *bucket = bpf_map_lookup_elem(&fdb, &index);
	if (!bucket)
		return -1;
	__u64 passed_by = READ(bucket->words[0]);
	for (int slot = 2; slot < 8; slot += 2) {
		if (READ(bucket->words[slot]) != key)
			continue;
		__u64 word = READ(bucket->words[slot + 1]);
		if (!(word & FDB_STATE) || READ(bucket->words[slot]) != key)
			continue;
		if ((READ(bucket->words[slot + 1]) ^ word) & FDB_GENERATION)
			continue;
		*value = word;
		return (__u64)index << 3 | (slot + 1);
	}
	return passed_by ? 0 : -1;
}

// The same for all buckets behind the first. A global function: the verifier looks at it once, and not for every way here and on,
// which takes longer than the rest of a start.
__attribute__((noinline)) __s64 fdb_look_further(__u32 index, __u64 key, __u64 *value)
{
	__s64 place = 0;
	if (!value)
		return -1;
	for (int step = 1; step < VXGW_FDB_REACH && !place; step++)
		place = fdb_look_into(index + step, key, value);
	return place;
}

// Where the key's value is, and the value; not above 0: there is no entry.
static __always_inline __s64 fdb_look_up(__u64 key, __u64 *value)
{
	__u32 index = fdb_home(key);
	__s64 place = fdb_look_into(index, key, value);
	return place ? place : fdb_look_further(index, key, value);
}

// Notes that a source was seen, once a second: ticks are seconds, as the workers count them (Clock.swift), and are compared in
// nanoseconds, which spares most packets a division. Somebody else's newer tick stays.
static __always_inline void refresh(__s64 place, __u64 value, __u64 now)
{
	if ((value & FDB_STATE) != FDB_LEARNED || now < ((value >> 32) + 1) * SECOND)
		return;
	__u32 index = place >> 3;
	struct vxgw_bucket *bucket = bpf_map_lookup_elem(&fdb, &index);
	if (bucket)
		__sync_val_compare_and_swap(&bucket->words[place & 7], value, now / SECOND << 32 | (value & 0xffffffff));
}

/* Out. */

// Counts the frame and sends it to the device.
static __always_inline int forward(struct vxgw_forwarded *count, __u32 device, __u64 received, __u64 sent)
{
	count->frames++;
	count->rx_bytes += received;
	count->tx_bytes += sent;
	int action = bpf_redirect_map(&interfaces, device, XDP_ABORTED);
	if (action != XDP_REDIRECT)
		count->dropped++;
	return action;
}

// A device that can take a frame of `length` bytes.
static __always_inline int takes(__u32 device, __u64 length)
{
	const struct vxgw_device *record = bpf_map_lookup_elem(&devices, &device);
	return record && length <= record->largest;
}

// Nanoseconds of the monotonic clock; 0 when nobody knows whether the workers are alive.
static __always_inline __u64 time_if_alive(void)
{
	__u32 zero = 0;
	const __u64 *alive = bpf_map_lookup_elem(&pulse, &zero);
	__u64 now = bpf_ktime_get_coarse_ns();
	return alive && now < READ(*alive) ? now : 0;
}
