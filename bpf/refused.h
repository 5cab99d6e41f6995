/* SPDX-License-Identifier: GPL-2.0 */
/* What a device refused. The kernel drops such frames after the program has ended, and tells nobody but its tracepoints
 * (include/trace/events/xdp.h). */

#pragma once
#include "tables.h"

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
