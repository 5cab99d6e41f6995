/* SPDX-License-Identifier: GPL-2.0 */
/* What the XDP program and its loader agree on: settings, keys, and the order of the counters. */
#pragma once
#include <linux/types.h>

/* What the program did with a frame, and why: index of a counter. `XDPVerdict` in Swift has the operator's sentences. */
enum vxgw_verdict {
	VXGW_REDIRECTED,
	VXGW_FORWARDED,
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

/* What the fast path needs to know besides its tables: `TunnelSettings` and `FDB` in Swift. Host order. */
struct vxgw_fast_settings {
	__u32 is_on;
	__u32 is_ipv6;             /* the underlay */
	__u32 device;              /* index of the NIC among `devices` */
	__u32 encapsulates;        /* not 0: outer headers follow from template and inner frame alone */
	__u64 seed;                /* of the FDB's hash */
	__u32 shift;               /* that leaves a bucket's index of it */
	__u32 identification;      /* random: where each CPU starts to number outer IPv4 packets */
	__u64 hash_key;            /* of the flow hash */
	__u64 first_port;          /* outer UDP source ports */
	__u64 port_count;
	__u64 reserved_bits;       /* of the received VXLAN header, that must be zero */
	__u16 df;                  /* of the outer IPv4 header, in place */
	__u16 inherited_df;
	__u8 inherited_ds;         /* bits of the inner DS field that go outside */
	__u8 ds;
	__u8 only_listed;          /* not 0: packets only from VTEPs that the operator named */
	__u8 verifies_checksum;    /* not 0: received UDP checksums other than zero */
	__u8 accepts_zero;         /* not 0: received UDP checksums of zero are right */
	__u8 clamps;               /* not 0: workers look at TCP SYNs */
	__u8 padding[2];
};

/* A local address: IPv6, or IPv4-mapped IPv6 (RFC 4291 section 2.5.5.2). */
struct vxgw_address {
	__be32 words[4];
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
	struct vxgw_address address; /* underlay: the address that most packets are to */
	struct vxgw_fast_settings fast;
};

/* A set of VLANs: bit V % 64 of word V / 64 for VID V. VID 0 stands for frames without a tag. */
#define VXGW_VLAN_WORDS 64

/* The fast path's tables. Swift decides and fills them, the program looks up; of the FDB it refreshes the ticks. */

#define VXGW_DEVICES 64        /* `Topology.portLimit` */
#define VXGW_LOCAL_PORTS 8192  /* `LocalPort.limit` */
#define VXGW_VTEPS 16384       /* `VTEPTable.capacity` */

/* Where a VNI's segment is among `segments`: in one of VXGW_SEGMENT_REACH slots from its home on. Twice as many homes as there are
 * segments (`Topology`), and the slots that the last ones reach. */
#define VXGW_SEGMENT_REACH 8
#define VXGW_SEGMENT_SLOTS 131079
static inline __u32 vxgw_segment_home(__u32 vni)
{
	return vni * 0x9e3779b1u >> 15;
}

/* A bucket of the FDB and a slot of the VTEP table: the workers' own memory. `FDB.swift` and `VTEPTable.swift` say what the
 * words are. */
struct vxgw_bucket {
	__u64 words[8];
};
#define VXGW_FDB_REACH 8 /* buckets that a key may live in */

struct vxgw_vtep {
	__u64 words[16];
};

/* A local port, by its number. */
struct vxgw_local_port {
	__s32 segment; /* -1: none */
	__u32 vni;
	__u32 tag;     /* TPID and VID, host order; 0: none */
	__u8 device;
	__u8 is_wire;  /* not 0: frames have at least 60 bytes */
	__u8 is_fast;  /* 0: workers alone may forward from and to it */
	__u8 padding;
};

/* What a NIC can take, by its device index. */
struct vxgw_device {
	__u32 largest; /* bytes of the largest frame; 0: it takes none from other NICs */
};

/* Key of a NIC for what the kernel says of it: indexes are unique in their network namespace. */
struct vxgw_interface {
	__u32 namespace; /* inode of /proc/PID/ns/net */
	__u32 index;
};

/* Index of the local port of a NIC's frames: untagged ones, or those with a tag. */
#define VXGW_PLACE_UNTAGGED 0
#define VXGW_PLACE_TAGGED(vid, service) (1 + ((service) ? 4096 : 0) + (vid))
#define VXGW_PLACES (1 + 2 * 4096)

/* What was forwarded from the underlay to a device (index: the device), or from a device to the underlay (VXGW_DEVICES +
 * device): received and sent in one, so that sums hold whenever it is read. */
struct vxgw_forwarded {
	__u64 frames;
	__u64 rx_bytes;
	__u64 tx_bytes;
	__u64 dropped; /* of the frames, refused by the device that they went to */
};
