/* SPDX-License-Identifier: GPL-2.0 */
/* The fast path to the underlay. */
#pragma once
#include "tables.h"

// The template (VTEPTable.swift): the last word ends with the header, and overlaps the one before. The longest header, IPv6's with a
// tag, has 74 bytes.
#define MOST_TEMPLATE_WORDS 10

#define HAS_UDP_CHECKSUM 0x200

struct header {
	__u64 words[MOST_TEMPLATE_WORDS];
	__u64 info;
	__u64 inner_sum; /* where the UDP checksum is wanted */
	__u32 vni;       /* the remote's own, or the segment's */
};

// Copies the VTEP's header. Not 0: it has none, or another one than the settings make, or it changes just now.
static __always_inline int read_header(__u32 index, struct outer outer, __u32 vni, struct header *header)
{
	const struct vxgw_vtep *vtep = bpf_map_lookup_elem(&vteps, &index);
	if (!vtep)
		return 1;
	__u64 version = READ(vtep->words[3]);
	__u64 info = READ(vtep->words[4]);
	// Length, IPv6.
	if (version & 1 || (info & 0x1ff) != (outer.length | (outer.is_ipv6 ? 0x100 : 0)))
		return 1;
	for (int word = 0; word < MOST_TEMPLATE_WORDS; word++)
		if (8 * word < outer.length)
			header->words[word] = READ(vtep->words[5 + word]);
	if (READ(vtep->words[3]) != version)
		return 1;
	header->info = info;
	header->vni = info & 0x400 ? READ(vtep->words[15]) >> 16 & 0xffffff : vni;
	return 0;
}

static __always_inline void write_header(void *data, struct outer outer, const struct header *header, const struct inner *inner,
					 __u16 total, __u16 id)
{
	for (int word = 0; word < MOST_TEMPLATE_WORDS; word++)
		if (8 * word + 8 <= outer.length)
			*(__u64 *)(data + 8 * word) = header->words[word];
		else if (8 * word < outer.length)
			*(__u64 *)(data + outer.length - 8) = header->words[word];
	void *ip = data + outer.network, *udp = data + outer.udp;
	__u8 ds = (inner->ds & fast.inherited_ds) | fast.ds;
	if (outer.is_ipv6) {
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
	__u16 port = fast.first_port + (inner->flow_hash * fast.port_count >> 32), length = total - (outer.udp - outer.network);
	STORE16(udp, port);
	STORE16(udp + 4, length);
	STORE32(udp + UDP_LENGTH + 4, header->vni << 8);
	if (header->info & HAS_UDP_CHECKSUM) {
		// The length counts twice: in the pseudo-header and in the header. Zero would say that there is none (RFC 768).
		__u16 sum = ~fold(bpf_ntohs(fold(header->inner_sum)) + (header->info >> 48) + port + 2 * (__u32)length +
				  (header->vni >> 8) + ((header->vni & 0xff) << 8));
		STORE16(udp + 6, sum ? sum : (__u16)0xffff);
	}
}

static __always_inline int encapsulate(struct xdp_md *ctx, struct outer outer)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u64 length = end - data;
	__u64 now = time_if_alive();
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
	__u64 key = (__u64)local->segment << 48, from = 0, to = 0;
	__s64 place = fdb_look_up(key | source, &from);
	if (place <= 0 || FDB_DESTINATION(from) != number || fdb_look_up(key | destination, &to) <= 0 || !IS_VTEP(FDB_DESTINATION(to)))
		return TO_WORKER;

	struct header header;
	struct inner inner;
	if (read_header(INDEX(FDB_DESTINATION(to)), outer, local->vni, &header))
		return TO_WORKER;
	__u64 inner_length = length - tag_length, sent = inner_length + outer.length, total = sent - outer.network;
	__u32 device = fast.device, index = VXGW_DEVICES + device;
	struct vxgw_forwarded *count = bpf_map_lookup_elem(&forwarded, &index);
	if (!count || total > (header.info >> 16 & 0xffff) || !takes(0, sent) ||
	    read_inner(data + 2 * ETH_ALEN + tag_length, end, destination, source, &inner))
		return TO_WORKER;
	if (header.info & HAS_UDP_CHECKSUM && sum_inner(data, data + 2 * ETH_ALEN + tag_length, end, &inner, &header.inner_sum))
		return TO_WORKER;

	refresh(place, from, now);
	if (bpf_xdp_adjust_head(ctx, (int)tag_length - outer.length))
		return TO_WORKER;
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	if (data + outer.length + ETH_HLEN > end)
		return XDP_ABORTED;
	write_header(data, outer, &header, &inner, total, count->frames + fast.identification * (bpf_get_smp_processor_id() + 1));
	if (tag_length) {
		STORE16(data + outer.length, destination >> 32);
		STORE32(data + outer.length + 2, destination);
		STORE16(data + outer.length + ETH_ALEN, source >> 32);
		STORE32(data + outer.length + ETH_ALEN + 2, source);
	}
	return forward(count, 0, length, sent);
}
