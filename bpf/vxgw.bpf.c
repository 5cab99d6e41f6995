// SPDX-License-Identifier: GPL-2.0
// Steers the frames that are ours into AF_XDP sockets and leaves every other frame to the kernel.
//
// One object is loaded per NIC, so settings and maps belong to one NIC. Only headers up to UDP are looked at: what is
// wrong behind them is for the data path to drop and to name; so is the first fragment of a packet to our port. A packet
// whose headers can't be read here without effort (later fragments, IPv4 options, IPv6 extension headers) goes to the
// kernel, which reassembles it and answers.
//
// SEC("xdp"), not "xdp.frags": the loader sets BPF_F_XDP_HAS_FRAGS where the kernel knows it (5.18). It lets a NIC take
// the program in native mode whatever its MTU (a veth's peer is limited to 3506 bytes without), and spares generic mode
// the linearising of super-frames. It costs nothing else: drivers build multi-buffer frames only from what doesn't fit
// into one buffer, and what a veth turns off at its peer (TSO) is the same with and without.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "vxgw.h"

const volatile struct vxgw_settings settings = {};

#include "fastpath.h"

// The sockets by RX queue. The loader sets max_entries to the NIC's number of RX queues.
struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} xsks SEC(".maps");

// The addresses that are ours; changed while the program runs. The value means nothing.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct vxgw_address);
	__type(value, __u8);
} addresses SEC(".maps");

// Not 0: `settings.address` is one of them now. Comparing with a constant spares most packets the look-up.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} has_address SEC(".maps");

// The LAN's VLANs; changed while the program runs.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, VXGW_VLAN_WORDS);
	__type(key, __u32);
	__type(value, __u64);
} vlans SEC(".maps");

// Frames by enum vxgw_verdict.
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, VXGW_VERDICTS);
	__type(key, __u32);
	__type(value, __u64);
} counts SEC(".maps");

// What follows the EtherType of a tagged frame (linux/if_vlan.h doesn't export it).
struct vlan_header {
	__be16 tci;
	__be16 type;
};

// The offset of a fragment (RFC 791 section 3.1, RFC 8200 section 4.5). MF is not looked at.
#define IPV4_OFFSET_BITS 0x1fff
#define IPV6_OFFSET_BITS 0xfff8

// linux/ipv6.h doesn't export it.
struct fragment_header {
	__u8 next;
	__u8 reserved;
	__be16 offset;
	__be32 identification;
};

#define VID_BITS 0x0fff // IEEE 802.1Q-2018, 9.6

static __always_inline int is_local(const struct vxgw_address *address)
{
	__u32 zero = 0;
	const __u32 *usual = bpf_map_lookup_elem(&has_address, &zero);
	int differs = 0;
	for (int word = 0; word < 4; word++)
		differs |= address->words[word] ^ settings.address.words[word];
	if (!differs && usual && *usual)
		return 1;
	return bpf_map_lookup_elem(&addresses, address) != NULL;
}

static __always_inline enum vxgw_verdict classify_udp(const struct udphdr *udp, const void *end)
{
	if ((const void *)(udp + 1) > end)
		return VXGW_PASSED_TRUNCATED;
	return udp->dest == settings.port ? VXGW_REDIRECTED : VXGW_PASSED_OTHER_PORT;
}

static __always_inline enum vxgw_verdict classify_ipv4(const struct iphdr *ip, const void *end)
{
	if ((const void *)(ip + 1) > end)
		return VXGW_PASSED_TRUNCATED;
	if (ip->version != 4)
		return VXGW_PASSED_NOT_IP;
	if (ip->protocol != IPPROTO_UDP)
		return VXGW_PASSED_NOT_UDP;
	struct vxgw_address destination = {{0, 0, bpf_htonl(0xffff), ip->daddr}};
	if (!is_local(&destination))
		return VXGW_PASSED_OTHER_ADDRESS;
	if (ip->ihl != 5)
		return VXGW_PASSED_OPTIONS;
	if (ip->frag_off & bpf_htons(IPV4_OFFSET_BITS))
		return VXGW_PASSED_FRAGMENT;
	return classify_udp((const void *)(ip + 1), end);
}

// The "IPv6 Extension Header Types" of IANA, without the fragment header and the experimental ones.
static __always_inline int is_extension_header(__u8 type)
{
	switch (type) {
	case IPPROTO_HOPOPTS:
	case IPPROTO_ROUTING:
	case IPPROTO_ESP:
	case IPPROTO_AH:
	case IPPROTO_DSTOPTS:
	case IPPROTO_MH:
	case 139: // Host Identity Protocol
	case 140: // Shim6
		return 1;
	default:
		return 0;
	}
}

static __always_inline enum vxgw_verdict classify_fragment(const struct fragment_header *fragment, const void *end)
{
	if ((const void *)(fragment + 1) > end)
		return VXGW_PASSED_TRUNCATED;
	if (fragment->offset & bpf_htons(IPV6_OFFSET_BITS))
		return VXGW_PASSED_FRAGMENT;
	if (is_extension_header(fragment->next))
		return VXGW_PASSED_EXTENSION_HEADER;
	if (fragment->next != IPPROTO_UDP)
		return VXGW_PASSED_NOT_UDP;
	return classify_udp((const void *)(fragment + 1), end);
}

static __always_inline enum vxgw_verdict classify_ipv6(const struct ipv6hdr *ip, const void *end)
{
	if ((const void *)(ip + 1) > end)
		return VXGW_PASSED_TRUNCATED;
	if (ip->version != 6)
		return VXGW_PASSED_NOT_IP;
	int extended = is_extension_header(ip->nexthdr);
	if (!extended && ip->nexthdr != IPPROTO_FRAGMENT && ip->nexthdr != IPPROTO_UDP)
		return VXGW_PASSED_NOT_UDP;
	struct vxgw_address destination;
	__builtin_memcpy(&destination, &ip->daddr, sizeof(destination));
	if (!is_local(&destination))
		return VXGW_PASSED_OTHER_ADDRESS;
	if (extended)
		return VXGW_PASSED_EXTENSION_HEADER;
	if (ip->nexthdr == IPPROTO_FRAGMENT)
		return classify_fragment((const void *)(ip + 1), end);
	return classify_udp((const void *)(ip + 1), end);
}

static __always_inline enum vxgw_verdict classify_underlay(__be16 type, const void *ip, const void *end)
{
	if (type == bpf_htons(ETH_P_IP))
		return classify_ipv4(ip, end);
	if (type == bpf_htons(ETH_P_IPV6))
		return classify_ipv6(ip, end);
	return VXGW_PASSED_NOT_IP;
}

static __always_inline enum vxgw_verdict classify_lan(__u16 vid, const struct ethhdr *ethernet)
{
	__u32 index = vid / 64;
	const __u64 *word = bpf_map_lookup_elem(&vlans, &index);
	if (!word || !(*word >> (vid % 64) & 1))
		return VXGW_PASSED_OTHER_VLAN;
	for (int octet = 0; octet < ETH_ALEN; octet++)
		if (ethernet->h_dest[octet] != settings.mac[octet])
			return VXGW_REDIRECTED;
	return VXGW_PASSED_OWN_MAC;
}

// VXGW_REDIRECTED: the frame is ours, as the underlay's or, with `is_lan`, as the LAN's.
static __always_inline enum vxgw_verdict classify(const void *data, const void *end, int *is_lan)
{
	const struct ethhdr *ethernet = data;
	if ((const void *)(ethernet + 1) > end)
		return VXGW_PASSED_TRUNCATED;
	const void *next = ethernet + 1;
	__be16 type = *(const __be16 *)(data + 2 * ETH_ALEN); // not of the struct: see packet.h, LOAD16
	// The outermost tag tells. VLAN 0 is none: such a tag only has a priority (IEEE 802.1Q-2018, 6.9.1).
	__u16 vid = 0;
	if (type == bpf_htons(ETH_P_8021Q) || type == bpf_htons(ETH_P_8021AD)) {
		const struct vlan_header *tag = next;
		if ((const void *)(tag + 1) > end)
			return VXGW_PASSED_TRUNCATED;
		vid = bpf_ntohs(tag->tci) & VID_BITS;
		type = tag->type;
		next = tag + 1;
	}
	enum vxgw_verdict verdict = VXGW_PASSED_OTHER_VLAN;
	if (settings.is_lan)
		verdict = classify_lan(vid, ethernet);
	*is_lan = verdict == VXGW_REDIRECTED;
	if (settings.is_underlay && verdict != VXGW_REDIRECTED && vid == settings.vlan)
		verdict = classify_underlay(type, next, end);
	return verdict;
}

static __always_inline int steer(struct xdp_md *ctx)
{
	const void *data = (const void *)(long)ctx->data;
	const void *end = (const void *)(long)ctx->data_end;
	int is_lan, action = XDP_PASS;
	enum vxgw_verdict verdict = classify(data, end, &is_lan);

	if (verdict == VXGW_REDIRECTED) {
		int is_whole = !settings.multi_buffer || bpf_xdp_get_buff_len(ctx) <= (__u64)(end - data);
		// A socket without XDP_USE_SG drops a frame of several buffers, and nobody sees it: the kernel gets it instead.
		if (!is_whole && !settings.super_frames) {
			verdict = VXGW_PASSED_MULTI_BUFFER;
		} else if (is_whole && fast.is_on && (action = is_lan ? encapsulate(ctx, outer()) : decapsulate(ctx, outer())) != TO_WORKER) {
			verdict = VXGW_FORWARDED;
		} else {
			action = bpf_redirect_map(&xsks, ctx->rx_queue_index, XDP_PASS);
			if (action != XDP_REDIRECT)
				verdict = VXGW_PASSED_NO_SOCKET;
		}
	}

	__u32 index = verdict;
	__u64 *count = bpf_map_lookup_elem(&counts, &index);
	if (count)
		(*count)++;
	return action;
}

SEC("xdp")
int vxgw(struct xdp_md *ctx)
{
	return steer(ctx);
}

char _license[] SEC("license") = "GPL";
