/* SPDX-License-Identifier: GPL-2.0 */
/* The fast path from the underlay. */
#pragma once
#include "tables.h"

// Whether the outer IP header is right, ends with the frame, and says nothing that the inner packet has to be told (ECN).
// `low` and `high` become its source address as `IPAddress` has it.
static __always_inline int read_outer(const void *data, struct outer outer, __u64 length, __u64 *high, __u64 *low)
{
	const void *ip = data + outer.network;
	const __u8 *octets = ip;
	if (outer.is_ipv6) {
		__u16 first = LOAD16(ip);
		*high = LOAD64(ip + 8);
		*low = LOAD64(ip + 16);
		return LOAD16(ip - 2) == ETH_P_IPV6 && first >> 12 == 6 && !(first >> 4 & 3) && octets[6] == IPPROTO_UDP &&
		       LOAD16(ip + 4) == length - outer.network - 40;
	}
	*high = 0;
	*low = 0xffffull << 32 | LOAD32(ip + 12);
	return LOAD16(ip - 2) == ETH_P_IP && octets[0] == 0x45 && !(octets[1] & 3) && octets[9] == IPPROTO_UDP &&
	       LOAD16(ip + 2) == length - outer.network && !(LOAD16(ip + 6) & 0x3fff) && fold(sum32(ip, 5)) == 0xffff;
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

static __always_inline int decapsulate(struct xdp_md *ctx, struct outer outer)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u64 length = end - data, high, low;
	__u64 now = time_if_alive();
	if (!now || data + outer.length + ETH_HLEN > end || !read_outer(data, outer, length, &high, &low))
		return TO_WORKER;
	const void *udp = data + outer.udp, *ethernet = data + outer.length;
	__u16 checksum = LOAD16(udp + 6);
	__u64 vxlan = LOAD64(udp + UDP_LENGTH);
	if (LOAD16(udp + 4) != length - outer.udp || (checksum ? fast.verifies_checksum : !fast.accepts_zero) ||
	    !(vxlan >> 32 & VALID_VNI) || vxlan & fast.reserved_bits)
		return TO_WORKER;

	__u32 vni = (__u32)vxlan >> 8;
	__s32 segment = segment_of(vni);
	__u64 destination = load_mac(ethernet), source = load_mac(ethernet + ETH_ALEN);
	if (segment < 0 || is_group(destination) || is_group(source) || !source)
		return TO_WORKER;
	__u64 key = (__u64)segment << 48, from = 0, to = 0;
	__s64 place = fdb_look_up(key | source, &from);
	if (place <= 0 || !is_from(from, high, low) || fdb_look_up(key | destination, &to) <= 0 || !IS_PORT(FDB_DESTINATION(to)))
		return TO_WORKER;
	__u32 number = INDEX(FDB_DESTINATION(to));
	const struct vxgw_local_port *local = bpf_map_lookup_elem(&local_ports, &number);
	if (!local || !local->is_fast || local->segment != segment)
		return TO_WORKER;
	__u32 device = local->device, tag = local->tag;
	__u64 inner_length = length - outer.length, sent = inner_length + (tag ? VLAN_LENGTH : 0);
	struct inner inner;
	struct vxgw_forwarded *count = bpf_map_lookup_elem(&forwarded, &device);
	if (!count || inner_length < ETH_ZLEN || !takes(device, sent) ||
	    read_inner(ethernet + 2 * ETH_ALEN, end, destination, source, &inner))
		return TO_WORKER;

	refresh(place, from, now);
	if (bpf_xdp_adjust_head(ctx, tag ? outer.length - VLAN_LENGTH : outer.length))
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
