/* SPDX-License-Identifier: GPL-2.0 */
/* The fast path: the program forwards what the workers have decided, where that takes no more than moving headers.
 *
 *     decapsulate   outer headers right, VTEP known as the inner source's, destination on a NIC:  strip, redirect
 *     encapsulate   source known on this local port, destination behind a VTEP with a header:     template, redirect
 *
 * It looks into the workers' own FDB and VTEP table, so what they learn, move and age, and what the operator changes, holds
 * here from the next packet on. It adds nothing to them; of the FDB it refreshes the tick of sources, by compare-and-swap, as
 * the workers do. Whatever else a frame needs (flooding, learning, a partial checksum, an answer, a drop) a worker does.
 *
 * Every check here is one of `Decapsulator.swift` or `Encapsulator.swift`, and the bytes that come out are theirs. Loads are in
 * program order on x86-64, which is all that the tables' readers need; the loader leaves the fast path off elsewhere.
 */
#pragma once
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

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

// VNI, host order, to the index of its segment: those that the fast path may serve.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, VXGW_SEGMENTS);
	__type(key, __u32);
	__type(value, __u32);
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

#define fast settings.fast

// What a worker has to do; no action of the kernel's has this number.
#define TO_WORKER (-1)

#define VLAN_LENGTH 4
#define UDP_LENGTH 8
#define TCP_LENGTH 20
#define TCP_SYN 0x02
#define VXLAN_LENGTH 8
#define VALID_VNI 0x08000000u // the I flag (RFC 7348 section 5)

// Loads and stores of words that others change, or that stand at any address of a packet.
#define READ(word) (*(const volatile typeof(word) *)&(word))
struct unaligned16 { __u16 value; } __attribute__((packed));
struct unaligned32 { __u32 value; } __attribute__((packed));
struct unaligned64 { __u64 value; } __attribute__((packed));
#define LOAD16(address) bpf_ntohs(((const struct unaligned16 *)(address))->value)
#define LOAD32(address) bpf_ntohl(((const struct unaligned32 *)(address))->value)
#define LOAD64(address) bpf_be64_to_cpu(((const struct unaligned64 *)(address))->value)
#define STORE16(address, number) (((struct unaligned16 *)(address))->value = bpf_htons(number))
#define STORE32(address, number) (((struct unaligned32 *)(address))->value = bpf_htonl(number))

static __always_inline __u64 load_mac(const void *address)
{
	return (__u64)LOAD16(address) << 32 | LOAD32(address + 2);
}

static __always_inline int is_group(__u64 mac)
{
	return mac >> 40 & 1;
}

static __always_inline int is_tag(__u16 type)
{
	return type == ETH_P_8021Q || type == ETH_P_8021AD;
}

// The sum of 16-bit words, folded (RFC 1071). Works on words in network order, too: the result is in theirs.
static __always_inline __u16 fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

// The sum of `count` words of 32 bits as they stand.
static __always_inline __u64 sum32(const void *address, int count)
{
	__u64 sum = 0;
	for (int word = 0; word < count; word++)
		sum += ((const struct unaligned32 *)address)[word].value;
	return sum;
}

/* FDB: see FDB.swift for the words, and for why the value is read twice. */

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

// The place of the key's value, and the value; NULL when there is no entry.
static __always_inline __u64 *fdb_look_up(__u64 key, __u64 *value)
{
	__u32 index = fdb_home(key);
	for (int step = 0; step < VXGW_FDB_REACH; step++, index++) {
		struct vxgw_bucket *bucket = bpf_map_lookup_elem(&fdb, &index);
		if (!bucket)
			return NULL;
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
			return &bucket->words[slot + 1];
		}
		if (!passed_by)
			return NULL;
	}
	return NULL;
}

// Notes that a source was seen, once a second. Somebody else's newer tick stays.
static __always_inline void refresh(__u64 *place, __u64 value, __u32 tick)
{
	if ((value & FDB_STATE) == FDB_LEARNED && (__s32)(tick - (__u32)(value >> 32)) > 0)
		__sync_val_compare_and_swap(place, value, (__u64)tick << 32 | (value & 0xffffffff));
}

/* The inner frame. */

// What an outer header follows from (FrameHeaders.swift).
struct inner {
	__u32 flow_hash;
	__u8 ds;
	__u8 dont_fragment;
};

// MurmurHash3's finaliser, halved (FrameHeaders.mix).
static __always_inline __u64 mix(__u64 value)
{
	__u64 product = (value ^ fast.hash_key) * 0x9e3779b97f4a7c15ull;
	return product ^ product >> 29;
}

static __always_inline __u32 flow_hash(__u64 a, __u64 b, __u64 kind)
{
	return mix(mix(a) + mix(b) + kind) >> 32;
}

// TCP, UDP, SCTP, UDP-Lite and DCCP start with two ports.
static __always_inline int has_ports(__u8 protocol)
{
	return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_SCTP || protocol == IPPROTO_UDPLITE ||
	       protocol == IPPROTO_DCCP;
}

// Not 0: a worker has to look at the transport header. `room`: what the IP header says is behind it; `pseudo`: the sum of the
// pseudo-header's addresses.
static __always_inline int needs_worker(const void *transport, const void *end, __u8 protocol, __u16 room, __u64 pseudo)
{
	// CHECKSUM_PARTIAL: the field holds the pseudo-header's sum (PartialChecksum.swift). Behind the IP packet is padding.
	__u16 partial = fold(pseudo + bpf_htons(protocol) + bpf_htons(room));
	if (protocol == IPPROTO_TCP) {
		if (room < TCP_LENGTH || transport + TCP_LENGTH > end || transport + room > end)
			return 1;
		return LOAD16(transport + 16) == bpf_ntohs(partial) || (fast.clamps && ((const __u8 *)transport)[13] & TCP_SYN);
	}
	if (protocol == IPPROTO_UDP) {
		if (room < UDP_LENGTH || transport + UDP_LENGTH > end || transport + room > end)
			return 1;
		return LOAD16(transport + 6) == bpf_ntohs(partial);
	}
	return has_ports(protocol);
}

// Reads the headers of the frame whose type is at `type_at`. Not 0: a worker has to.
static __always_inline int read_inner(const void *type_at, const void *end, __u64 destination, __u64 source, struct inner *inner)
{
	const void *ip = type_at + 2;
	__u16 type = LOAD16(type_at);
	if (is_tag(type))
		return 1;
	if (type == ETH_P_IP) {
		if (ip + 20 > end)
			return 1;
		const __u8 *octets = ip;
		if (octets[0] != 0x45 || LOAD16(ip + 6) & 0x3fff || LOAD16(ip + 2) < 20)
			return 1;
		__u8 protocol = octets[9];
		if (needs_worker(ip + 20, end, protocol, LOAD16(ip + 2) - 20, sum32(ip + 12, 2)))
			return 1;
		__u64 a = LOAD32(ip + 12), b = LOAD32(ip + 16);
		if (has_ports(protocol)) {
			if (ip + 24 > end)
				return 1;
			a |= (__u64)LOAD16(ip + 20) << 32;
			b |= (__u64)LOAD16(ip + 22) << 32;
		}
		inner->flow_hash = flow_hash(a, b, protocol);
		inner->ds = octets[1];
		inner->dont_fragment = octets[6] >> 6 & 1;
	} else if (type == ETH_P_IPV6) {
		if (ip + 40 > end)
			return 1;
		__u16 first = LOAD16(ip);
		if (first >> 12 != 6)
			return 1;
		__u8 protocol = ((const __u8 *)ip)[6];
		if (needs_worker(ip + 40, end, protocol, LOAD16(ip + 4), sum32(ip + 8, 8)))
			return 1;
		__u64 a = mix(LOAD64(ip + 8)) ^ LOAD64(ip + 16), b = mix(LOAD64(ip + 24)) ^ LOAD64(ip + 32);
		if (has_ports(protocol)) {
			if (ip + 44 > end)
				return 1;
			a ^= (__u64)LOAD16(ip + 40) << 32;
			b ^= (__u64)LOAD16(ip + 42) << 32;
		}
		inner->flow_hash = flow_hash(a, b, protocol);
		inner->ds = first >> 4;
		inner->dont_fragment = 1;
	} else {
		inner->flow_hash = flow_hash(destination, source, type);
		inner->ds = 0;
		inner->dont_fragment = 0;
	}
	return 0;
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

// Seconds of the monotonic clock, as the workers read it (Clock.swift); 0 when nobody knows whether they are alive.
static __always_inline __u32 tick(void)
{
	__u32 zero = 0;
	const __u64 *alive = bpf_map_lookup_elem(&pulse, &zero);
	__u64 now = bpf_ktime_get_coarse_ns();
	return alive && now < READ(*alive) ? now / 1000000000 : 0;
}

/* From the underlay. */

#define OUTER_NETWORK (ETH_HLEN + (settings.vlan ? VLAN_LENGTH : 0))
#define OUTER_UDP (OUTER_NETWORK + (fast.is_ipv6 ? 40 : 20))
#define OUTER_LENGTH (OUTER_UDP + UDP_LENGTH + VXLAN_LENGTH)

// Whether the outer IP header is right, ends with the frame, and says nothing that the inner packet has to be told (ECN).
// `low` and `high` become its source address as `IPAddress` has it.
static __always_inline int read_outer(const void *data, __u64 length, __u64 *high, __u64 *low)
{
	const void *ip = data + OUTER_NETWORK;
	const __u8 *octets = ip;
	if (fast.is_ipv6) {
		__u16 first = LOAD16(ip);
		*high = LOAD64(ip + 8);
		*low = LOAD64(ip + 16);
		return LOAD16(ip - 2) == ETH_P_IPV6 && first >> 12 == 6 && !(first >> 4 & 3) && octets[6] == IPPROTO_UDP &&
		       LOAD16(ip + 4) == length - OUTER_NETWORK - 40;
	}
	*high = 0;
	*low = 0xffffull << 32 | LOAD32(ip + 12);
	return LOAD16(ip - 2) == ETH_P_IP && octets[0] == 0x45 && !(octets[1] & 3) && octets[9] == IPPROTO_UDP &&
	       LOAD16(ip + 2) == length - OUTER_NETWORK && !(LOAD16(ip + 6) & 0x3fff) && fold(sum32(ip, 5)) == 0xffff;
}

// Whether the source is where the packet comes from: learned there, or kept by hand (Decapsulator.learn).
static __always_inline int is_from(__u64 value, __u64 high, __u64 low)
{
	__u32 destination = FDB_DESTINATION(value), index = INDEX(destination);
	if (!IS_VTEP(destination))
		return 0;
	const struct vxgw_vtep *vtep = bpf_map_lookup_elem(&vteps, &index);
	if (!vtep)
		return 0;
	__u64 state = READ(vtep->words[0]);
	return (state & 0xff) == 2 && (!fast.only_listed || state & 0x100) && READ(vtep->words[1]) == high &&
	       READ(vtep->words[2]) == low;
}

static __always_inline int decapsulate(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u64 length = end - data, high, low;
	__u32 now = tick();
	if (!now || data + OUTER_LENGTH + ETH_HLEN > end || !read_outer(data, length, &high, &low))
		return TO_WORKER;
	const void *udp = data + OUTER_UDP, *ethernet = data + OUTER_LENGTH;
	__u16 checksum = LOAD16(udp + 6);
	__u64 vxlan = LOAD64(udp + UDP_LENGTH);
	if (LOAD16(udp + 4) != length - OUTER_UDP || (checksum ? fast.verifies_checksum : !fast.accepts_zero) ||
	    !(vxlan >> 32 & VALID_VNI) || vxlan & fast.reserved_bits)
		return TO_WORKER;

	__u32 vni = (__u32)vxlan >> 8;
	const __u32 *segment = bpf_map_lookup_elem(&segments, &vni);
	__u64 destination = load_mac(ethernet), source = load_mac(ethernet + ETH_ALEN);
	if (!segment || is_group(destination) || is_group(source) || !source)
		return TO_WORKER;
	__u64 key = (__u64)*segment << 48, from, to;
	__u64 *place = fdb_look_up(key | source, &from);
	if (!place || !is_from(from, high, low) || !fdb_look_up(key | destination, &to) || !IS_PORT(FDB_DESTINATION(to)))
		return TO_WORKER;
	__u32 number = INDEX(FDB_DESTINATION(to));
	const struct vxgw_local_port *local = bpf_map_lookup_elem(&local_ports, &number);
	if (!local || !local->is_fast || local->segment != (__s32)*segment)
		return TO_WORKER;
	__u32 device = local->device, tag = local->tag;
	__u64 inner_length = length - OUTER_LENGTH, sent = inner_length + (tag ? VLAN_LENGTH : 0);
	struct inner inner;
	struct vxgw_forwarded *count = bpf_map_lookup_elem(&forwarded, &device);
	if (!count || inner_length < ETH_ZLEN || !takes(device, sent) ||
	    read_inner(ethernet + 2 * ETH_ALEN, end, destination, source, &inner))
		return TO_WORKER;

	refresh(place, from, now);
	if (bpf_xdp_adjust_head(ctx, tag ? OUTER_LENGTH - VLAN_LENGTH : OUTER_LENGTH))
		return TO_WORKER;
	if (tag) {
		data = (void *)(long)ctx->data;
		end = (void *)(long)ctx->data_end;
		if (data + ETH_HLEN + VLAN_LENGTH > end)
			return XDP_ABORTED;
		STORE16(data, destination >> 32);
		STORE32(data + 2, destination);
		STORE16(data + ETH_ALEN, source >> 32);
		STORE32(data + ETH_ALEN + 2, source);
		STORE32(data + 2 * ETH_ALEN, tag);
	}
	return forward(count, device, length, sent);
}

/* To the underlay. */

// The template (VTEPTable.swift): the last word ends with the header, and overlaps the one before.
#define TEMPLATE_WORDS ((OUTER_LENGTH + 7) / 8)

struct header {
	__u64 words[10];
	__u64 info;
	__u32 vni; /* the remote's own, or the segment's */
};

// Copies the VTEP's header. Not 0: it has none, or another one than the settings make, or it changes just now.
static __always_inline int read_header(__u32 index, __u32 vni, struct header *header)
{
	const struct vxgw_vtep *vtep = bpf_map_lookup_elem(&vteps, &index);
	if (!vtep)
		return 1;
	__u64 version = READ(vtep->words[3]);
	__u64 info = READ(vtep->words[4]);
	// Length, IPv6, UDP checksum.
	if (version & 1 || (info & 0x3ff) != (OUTER_LENGTH | (fast.is_ipv6 ? 0x100 : 0)))
		return 1;
	for (int word = 0; word < TEMPLATE_WORDS; word++)
		header->words[word] = READ(vtep->words[5 + word]);
	if (READ(vtep->words[3]) != version)
		return 1;
	header->info = info;
	header->vni = info & 0x400 ? READ(vtep->words[15]) >> 16 & 0xffffff : vni;
	return 0;
}

static __always_inline void write_header(void *data, const struct header *header, const struct inner *inner, __u16 total, __u16 id)
{
	for (int word = 0; word < TEMPLATE_WORDS; word++) {
		int offset = word == TEMPLATE_WORDS - 1 ? OUTER_LENGTH - 8 : 8 * word;
		((struct unaligned64 *)(data + offset))->value = header->words[word];
	}
	void *ip = data + OUTER_NETWORK, *udp = data + OUTER_UDP;
	__u8 ds = (inner->ds & fast.inherited_ds) | fast.ds;
	if (fast.is_ipv6) {
		// Version, traffic class and flow label (RFC 8200 section 3).
		STORE32(ip, (LOAD32(ip) & 0xfffff) | (__u32)ds << 20 | 6u << 28);
		STORE16(ip + 4, total - 40);
	} else {
		__u16 fragment = fast.df | (inner->dont_fragment ? fast.inherited_df : 0);
		__u64 sum = (header->info >> 32 & 0xffff) + ds + total + id + fragment;
		((__u8 *)ip)[1] = ds;
		STORE16(ip + 2, total);
		STORE16(ip + 4, id);
		STORE16(ip + 6, fragment);
		STORE16(ip + 10, (__u16)~fold(sum));
	}
	STORE16(udp, (__u16)(fast.first_port + (inner->flow_hash * fast.port_count >> 32)));
	STORE16(udp + 4, (__u16)(total - (OUTER_UDP - OUTER_NETWORK)));
	STORE32(udp + UDP_LENGTH + 4, header->vni << 8);
}

static __always_inline int encapsulate(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u64 length = end - data;
	__u32 now = tick();
	if (!now || !fast.encapsulates || !takes(0, length) || data + ETH_HLEN + VLAN_LENGTH > end)
		return TO_WORKER;
	__u64 destination = load_mac(data), source = load_mac(data + ETH_ALEN);
	__u16 type = LOAD16(data + 2 * ETH_ALEN), tci = LOAD16(data + ETH_HLEN);
	// VID 0 is no VLAN, and such a tag goes: a worker's work.
	__u32 where = VXGW_PLACE_UNTAGGED;
	if (is_tag(type)) {
		where = VXGW_PLACE_TAGGED(tci & 0xfff, type == ETH_P_8021AD);
		if (!(tci & 0xfff))
			return TO_WORKER;
	}
	__u32 tag_length = where == VXGW_PLACE_UNTAGGED ? 0 : VLAN_LENGTH;
	const __u32 *found = bpf_map_lookup_elem(&places, &where);
	if (!found || !*found || is_group(destination) || is_group(source) || !source)
		return TO_WORKER;
	__u32 number = *found - 1;
	const struct vxgw_local_port *local = bpf_map_lookup_elem(&local_ports, &number);
	if (!local || !local->is_fast || local->segment < 0)
		return TO_WORKER;
	__u64 key = (__u64)local->segment << 48, from, to;
	__u64 *place = fdb_look_up(key | source, &from);
	if (!place || FDB_DESTINATION(from) != number || !fdb_look_up(key | destination, &to) || !IS_VTEP(FDB_DESTINATION(to)))
		return TO_WORKER;

	struct header header;
	struct inner inner;
	if (read_header(INDEX(FDB_DESTINATION(to)), local->vni, &header))
		return TO_WORKER;
	__u64 inner_length = length - tag_length, sent = inner_length + OUTER_LENGTH, total = sent - OUTER_NETWORK;
	__u32 device = fast.device, index = VXGW_DEVICES + device;
	struct vxgw_forwarded *count = bpf_map_lookup_elem(&forwarded, &index);
	if (!count || total > (header.info >> 16 & 0xffff) || !takes(0, sent) ||
	    read_inner(data + 2 * ETH_ALEN + tag_length, end, destination, source, &inner))
		return TO_WORKER;

	refresh(place, from, now);
	if (bpf_xdp_adjust_head(ctx, (int)tag_length - OUTER_LENGTH))
		return TO_WORKER;
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	if (data + OUTER_LENGTH + ETH_HLEN > end)
		return XDP_ABORTED;
	write_header(data, &header, &inner, total, count->frames + fast.identification * (bpf_get_smp_processor_id() + 1));
	if (tag_length) {
		STORE16(data + OUTER_LENGTH, destination >> 32);
		STORE32(data + OUTER_LENGTH + 2, destination);
		STORE16(data + OUTER_LENGTH + ETH_ALEN, source >> 32);
		STORE32(data + OUTER_LENGTH + ETH_ALEN + 2, source);
	}
	return forward(count, 0, length, sent);
}

/* What a device refused. The kernel drops such frames after the program has ended, and tells nobody but its tracepoints
 * (include/trace/events/xdp.h). */

// The kernel's structs, as far as they are read; the loader finds the members' places (CO-RE).
struct ns_common {
	unsigned int inum;
} __attribute__((preserve_access_index));
struct net {
	struct ns_common ns;
} __attribute__((preserve_access_index));
typedef struct {
	struct net *net;
} possible_net_t;
struct net_device {
	int ifindex;
	possible_net_t nd_net;
} __attribute__((preserve_access_index));

// Device indexes of our NICs.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, VXGW_DEVICES);
	__type(key, struct vxgw_interface);
	__type(value, __u32);
} nics SEC(".maps");

static __always_inline const __u32 *nic(const struct net_device *device)
{
	struct vxgw_interface key = {device->nd_net.net->ns.inum, device->ifindex};
	return bpf_map_lookup_elem(&nics, &key);
}

// A NIC of ours runs no other program, so what it redirects to a device is ours.
static __always_inline void count_refused(__u32 from, __u32 to, __u32 frames)
{
	__u32 index = from == 0 ? to : VXGW_DEVICES + from;
	struct vxgw_forwarded *count = bpf_map_lookup_elem(&forwarded, &index);
	if (count)
		count->dropped += frames;
}

SEC("?tp_btf/xdp_devmap_xmit")
int vxgw_refused(__u64 *arguments)
{
	const struct net_device *from = (const void *)arguments[0], *to = (const void *)arguments[1];
	int drops = arguments[3], error = arguments[4];
	if (drops <= 0)
		return 0;
	const __u32 *source = nic(from), *target = nic(to);
	if (!source || !target)
		return 0;
	count_refused(*source, *target, drops);
	// It takes none at all (a full ring is no error): workers send the next ones, until the control plane has looked at it.
	if (error < 0) {
		struct vxgw_device *device = bpf_map_lookup_elem(&devices, target);
		if (device)
			device->largest = 0;
	}
	return 0;
}

SEC("?tp_btf/xdp_redirect_err")
int vxgw_not_redirected(__u64 *arguments)
{
	const struct net_device *from = (const void *)arguments[0];
	__u32 type = arguments[4], target = arguments[6];
	if (type != BPF_MAP_TYPE_DEVMAP)
		return 0;
	const __u32 *source = nic(from);
	if (source)
		count_refused(*source, target, 1);
	return 0;
}
