/* SPDX-License-Identifier: GPL-2.0 */
/* The frames that the generator makes and the sink knows again. */
#pragma once
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/types.h>
#include <linux/udp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define VXLAN_PORT 4789
#define VNI 100
#define BENCH_PORT 9 /* discard: the inner UDP destination */
#define INNER_NET 0xc6120000 /* 198.18.0.0/15, RFC 2544 */
#define INNER_MASK 0xfffe0000

struct vxlan {
	__be32 flags, vni;
};

struct outer {
	struct ethhdr eth;
	struct iphdr ip;
	struct udphdr udp;
	struct vxlan vxlan;
} __attribute__((packed, aligned(2)));

struct inner {
	struct ethhdr eth;
	struct iphdr ip;
	struct udphdr udp;
	__u64 sent_at; /* CLOCK_MONOTONIC, ns; host order */
} __attribute__((packed, aligned(2)));
