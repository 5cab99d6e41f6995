/* SPDX-License-Identifier: GPL-2.0 */
/* Reading and writing headers as the workers do. */
#pragma once
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "vxgw.h"

#define fast settings.fast

// What a worker has to do; no action of the kernel's has this number.
#define TO_WORKER (-1)

#define VLAN_LENGTH 4
#define UDP_LENGTH 8
#define TCP_LENGTH 20
#define TCP_SYN 0x02
#define VXLAN_LENGTH 8
#define VALID_VNI 0x08000000u // the I flag (RFC 7348 section 5)

// Loads and stores of words that others change, or that stand at any address of a packet. Not of packed structs: the compiler
// would take those apart into bytes, since it does not know that the fast path's machines do without alignment.
#define READ(word) (*(const volatile typeof(word) *)&(word))
#define LOAD16(address) bpf_ntohs(*(const __u16 *)(address))
#define LOAD32(address) bpf_ntohl(*(const __u32 *)(address))
#define LOAD64(address) bpf_be64_to_cpu(*(const __u64 *)(address))
#define STORE16(address, number) (*(__u16 *)(address) = bpf_htons(number))
#define STORE32(address, number) (*(__u32 *)(address) = bpf_htonl(number))

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
	// A number and itself with its halves exchanged have the halves' sum in the upper one, carry included (Checksum.fold).
	__u32 half = (sum + (sum << 32 | sum >> 32)) >> 32;
	return (half + (half << 16 | half >> 16)) >> 16;
}

// The sum of `count` words of 32 bits as they stand.
static __always_inline __u64 sum32(const void *address, int count)
{
	__u64 sum = 0;
	for (int word = 0; word < count; word++)
		sum += ((const __u32 *)address)[word];
	return sum;
}

/* The underlay's packets. */

// Where what is in one. Settings are constants to the verifier, which takes out the code for others, but to the compiler each mention
// of one is a load: so they are mentioned once, and loops have bounds of their own that can be unrolled.
struct outer {
	int is_ipv6;
	int network; // offset of the IP header
	int udp;
	int length;  // of all outer headers
};

static __always_inline struct outer outer(void)
{
	int is_ipv6 = fast.is_ipv6, network = ETH_HLEN + (settings.vlan ? VLAN_LENGTH : 0), udp = network + (is_ipv6 ? 40 : 20);
	return (struct outer){is_ipv6, network, udp, udp + UDP_LENGTH + VXLAN_LENGTH};
}

/* The inner frame. */

// What an outer header follows from (FrameHeaders.swift).
struct inner {
	__u32 flow_hash;
	__u8 ds;
	__u8 dont_fragment;
	__u8 is_summed; /* the transport checksum covers all behind the IP header, and the addresses */
	__u8 protocol;
	__u16 room;     /* bytes behind the IP header, as that says; padding may follow */
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

// Not 0: a worker has to look at the transport header. `pseudo`: the sum of the pseudo-header's addresses.
static __always_inline int read_transport(const void *transport, const void *end, __u64 pseudo, struct inner *inner)
{
	__u8 protocol = inner->protocol;
	__u16 room = inner->room;
	inner->is_summed = 0;
	// CHECKSUM_PARTIAL: the field holds the pseudo-header's sum (PartialChecksum.swift). Behind the IP packet is padding.
	__u16 partial = fold(pseudo + bpf_htons(protocol) + bpf_htons(room));
	if (protocol == IPPROTO_TCP) {
		if (room < TCP_LENGTH || transport + TCP_LENGTH > end || transport + room > end)
			return 1;
		inner->is_summed = 1;
		return LOAD16(transport + 16) == bpf_ntohs(partial) || (fast.clamps && ((const __u8 *)transport)[13] & TCP_SYN);
	}
	if (protocol == IPPROTO_UDP) {
		if (room < UDP_LENGTH || transport + UDP_LENGTH > end || transport + room > end)
			return 1;
		inner->is_summed = LOAD16(transport + 6) != 0 && LOAD16(transport + 4) == room;
		return LOAD16(transport + 6) == bpf_ntohs(partial);
	}
	return has_ports(protocol);
}

// Reads the headers of the frame whose type is at `type_at`. Not 0: a worker has to.
static __always_inline int read_inner(const void *type_at, const void *end, __u64 destination, __u64 source, struct inner *inner)
{
	const void *ip = type_at + 2;
	__u16 type = LOAD16(type_at);
	inner->is_summed = 0;
	if (is_tag(type))
		return 1;
	if (type == ETH_P_IP) {
		if (ip + 20 > end)
			return 1;
		const __u8 *octets = ip;
		if (octets[0] != 0x45 || LOAD16(ip + 6) & 0x3fff || LOAD16(ip + 2) < 20)
			return 1;
		__u8 protocol = inner->protocol = octets[9];
		inner->room = LOAD16(ip + 2) - 20;
		if (read_transport(ip + 20, end, sum32(ip + 12, 2), inner))
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
		__u8 protocol = inner->protocol = ((const __u8 *)ip)[6];
		inner->room = LOAD16(ip + 4);
		if (read_transport(ip + 40, end, sum32(ip + 8, 8), inner))
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

// Ethernet's padding behind an empty UDP datagram over IPv4, the shortest that has a checksum: 60 bytes less 14, 20 and 8.
#define MOST_PADDING 18

// The sum of the frame whose type is at `type_at` and whose MAC addresses are at `addresses`, words as they stand: from the
// headers alone, as the transport checksum is complete (OuterChecksum.swift). Not 0: a worker has to read it.
static __always_inline int sum_inner(const void *addresses, const void *type_at, const void *end, const struct inner *inner, __u64 *sum)
{
	const void *ip = type_at + 2;
	int is_ipv6 = LOAD16(type_at) == ETH_P_IPV6;
	__u64 room = inner->room;
	// The verifier follows no offset near 64 KiB; frames of one buffer are shorter. It has to see that of this very register.
	asm volatile("" : "+r"(room));
	if (!inner->is_summed || room > 0x7fff)
		return 1;
	// The addresses are in the IP header and in the pseudo-header, and cancel out.
	*sum = sum32(addresses, 3) + *(const __u16 *)type_at + sum32(ip, is_ipv6 ? 2 : 3) +
	       (__u16)~fold(bpf_htons(inner->protocol) + bpf_htons((__u16)room));
	const void *padding = ip + (is_ipv6 ? 40 : 20) + room;
	__u64 rest = 0;
	for (int word = 0; word < MOST_PADDING / 2 && padding + 2 <= end; word++, padding += 2)
		rest += *(const __u16 *)padding;
	if (padding + 1 <= end)
		rest += *(const __u8 *)padding++;
	if (padding != end)
		return 1;
	*sum += room & 1 ? __builtin_bswap16(fold(rest)) : rest;
	return 0;
}
