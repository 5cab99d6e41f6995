// SPDX-License-Identifier: GPL-2.0
// vxgw's own program, and the head put back behind it: BPF_PROG_TEST_RUN gives every run the buffer that the one before left.
// Headers that are stripped stay in memory, and a header in front leaves the frame as it was.
#include "../../../bpf/vxgw.bpf.c"

#define OVERHEAD 50

SEC("xdp")
int decapsulate_again(struct xdp_md *ctx)
{
	int action = steer(ctx);
	return action == XDP_REDIRECT && bpf_xdp_adjust_head(ctx, -OVERHEAD) ? XDP_ABORTED : action;
}

SEC("xdp")
int encapsulate_again(struct xdp_md *ctx)
{
	int action = steer(ctx);
	return action == XDP_REDIRECT && bpf_xdp_adjust_head(ctx, OVERHEAD) ? XDP_ABORTED : action;
}

// Without the fast path: to a socket, which is not there.
SEC("xdp")
int steer_again(struct xdp_md *ctx)
{
	return steer(ctx);
}

// What any program needs that does as much as to move the head and to redirect.
SEC("xdp")
int floor_again(struct xdp_md *ctx)
{
	if (bpf_xdp_adjust_head(ctx, OVERHEAD) || bpf_xdp_adjust_head(ctx, -OVERHEAD))
		return XDP_ABORTED;
	return bpf_redirect_map(&interfaces, 0, XDP_ABORTED);
}
