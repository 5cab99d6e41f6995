// SPDX-License-Identifier: GPL-2.0
// The least that can be done in the kernel: every frame goes out of the other NIC as it came in. And, for the forwarder in
// user space, every frame to the AF_XDP socket of its queue.
#include <linux/bpf.h>
#include <linux/types.h>

#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} other SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} sockets SEC(".maps");

SEC("xdp")
int redirect(void)
{
	return bpf_redirect_map(&other, 0, 0);
}

SEC("xdp")
int to_socket(struct xdp_md *ctx)
{
	return bpf_redirect_map(&sockets, ctx->rx_queue_index, 0);
}

char LICENSE[] SEC("license") = "GPL";
