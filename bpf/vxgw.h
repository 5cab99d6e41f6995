/* SPDX-License-Identifier: GPL-2.0 */
/* What the XDP program and its loader agree on: settings, keys, and the order of the counters. */
#pragma once
#include <linux/types.h>

/* What the program did with a frame, and why: index of a counter. `XDPVerdict` in Swift has the operator's sentences. */
enum vxgw_verdict {
	VXGW_REDIRECTED,
	VXGW_PASSED_NOT_IP,
	VXGW_PASSED_NOT_UDP,
	VXGW_PASSED_OTHER_ADDRESS,
	VXGW_PASSED_OTHER_PORT,
	VXGW_PASSED_OTHER_VLAN,
	VXGW_PASSED_FRAGMENT,
	VXGW_PASSED_OPTIONS,
	VXGW_PASSED_EXTENSION_HEADER,
	VXGW_PASSED_TRUNCATED,
	VXGW_PASSED_OWN_MAC,
	VXGW_PASSED_MULTI_BUFFER,
	VXGW_PASSED_NO_SOCKET,
	VXGW_VERDICTS, /* how many there are */
};

/* Constants of one loaded program (its .rodata): the verifier removes what they make unreachable. A NIC may be underlay
 * and LAN at once. */
struct vxgw_settings {
	__u32 is_underlay;  /* not 0: UDP to the VTEP's port and one of its addresses is ours */
	__u32 is_lan;       /* not 0: so is everything in some VLANs but what is addressed to the NIC itself */
	__u32 multi_buffer; /* not 0: loaded with BPF_F_XDP_HAS_FRAGS */
	__u32 super_frames; /* not 0: the sockets take frames of several buffers (XDP_USE_SG) */
	__be16 port;        /* underlay: the VTEP's UDP port */
	__u16 vlan;         /* underlay: VID of the tag that its packets carry, 0: none; host order */
	__u8 mac[6];        /* LAN: the NIC's own address */
};

/* Key of the local addresses: IPv6, or IPv4-mapped IPv6 (RFC 4291 section 2.5.5.2). */
struct vxgw_address {
	__be32 words[4];
};

/* A set of VLANs: bit V % 64 of word V / 64 for VID V. VID 0 stands for frames without a tag. */
#define VXGW_VLAN_WORDS 64
