// SPDX-License-Identifier: GPL-2.0
// Run by BPF_PROG_TEST_RUN with live frames: writes the headers of one frame and sends it into the veth of the far VTEP's or
// the host's namespace. All headers are written each time: the kernel hands the same pages out again, with whatever the
// gateway left in them.
#include "frames.h"

#pragma clang diagnostic ignored "-Waddress-of-packed-member"

// Set before the program is loaded: the verifier removes what is not used. `traffic.py` has the same layout.
struct settings {
	__u64 interval; // ns between frames; 0: as fast as possible
	__u64 limit; // frames, then none any more
	__u32 decapsulate, encapsulate; // which sides send; by turns if both
	__u32 flows, pairs, vteps; // powers of two
	__u32 stamp;
	__u32 sizes, size[12]; // inner frames' sizes, by turns
	__u16 far_mac[3], gateway_mac[3]; // outer addresses, as they are sent
};
const volatile struct settings settings = {};

// Frames sent from the far VTEP and from the host. The only writer is the one CPU that runs the program.
struct {
	__u64 sent[2], next;
	__u32 turn; // of the sizes
} state;

struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u32);
} sides SEC(".maps");

static __always_inline __u16 checksum(const void *header)
{
	const __u16 *words = header;
	__u32 sum = 0;

#pragma unroll
	for (int i = 0; i < 10; i++)
		sum += words[i];
	sum = (sum & 0xffff) + (sum >> 16);
	return ~(sum + (sum >> 16));
}

static __always_inline void write_ip(struct iphdr *ip, __u32 source, __u32 destination, __u32 length)
{
	*(__be32 *)ip = bpf_htonl(0x45000000 | length);
	*((__be32 *)ip + 1) = 0;
	*((__be32 *)ip + 2) = bpf_htonl(64 << 24 | IPPROTO_UDP << 16);
	ip->saddr = bpf_htonl(source);
	ip->daddr = bpf_htonl(destination);
	ip->check = checksum(ip);
}

static __always_inline void write_udp(struct udphdr *udp, __u32 source, __u32 destination, __u32 length)
{
	*(__be32 *)udp = bpf_htonl(source << 16 | destination);
	*((__be32 *)udp + 1) = bpf_htonl(length << 16); // no checksum
}

// 02:SIDE:5e and the number of the pair: locally administered.
static __always_inline void write_mac(__u8 *mac, __u8 side, __u32 pair)
{
	*(__be16 *)mac = bpf_htons(0x0200 | side);
	*(__be32 *)(mac + 2) = bpf_htonl(0x5e000000 | pair);
}

static __always_inline void write_inner(struct inner *frame, __u32 from_host, __u32 flow, __u32 size)
{
	__u32 pair = flow & (settings.pairs - 1);
	__u32 source = INNER_NET | (from_host << 16) | (flow & 0xffff);
	__u32 destination = INNER_NET | (!from_host << 16) | (~flow & 0xffff);

	write_mac(frame->eth.h_dest, 1 + !from_host, pair);
	write_mac(frame->eth.h_source, 1 + from_host, pair);
	frame->eth.h_proto = bpf_htons(ETH_P_IP);
	write_ip(&frame->ip, source, destination, size - ETH_HLEN);
	write_udp(&frame->udp, 1024 + (flow & 0x7fff), BENCH_PORT, size - ETH_HLEN - sizeof(struct iphdr));
	if (settings.stamp)
		frame->sent_at = bpf_ktime_get_ns();
}

static __always_inline void write_outer(struct outer *packet, __u32 flow, __u32 size)
{
	__u32 vtep = flow & (settings.pairs - 1) & (settings.vteps - 1);
	__u32 length = sizeof(*packet) - ETH_HLEN + size;

#pragma unroll
	for (int i = 0; i < 3; i++) {
		((__u16 *)packet->eth.h_dest)[i] = settings.gateway_mac[i];
		((__u16 *)packet->eth.h_source)[i] = settings.far_mac[i];
	}
	packet->eth.h_proto = bpf_htons(ETH_P_IP);
	write_ip(&packet->ip, 0xc0000240 + vtep, 0xc0000201, length); // 192.0.2.64 and on to 192.0.2.1
	write_udp(&packet->udp, 49152 + (flow & 0x3fff), VXLAN_PORT, length - sizeof(struct iphdr));
	packet->vxlan.flags = bpf_htonl(0x08000000);
	packet->vxlan.vni = bpf_htonl(VNI << 8);
}

static __always_inline int is_due(void)
{
	__u64 now;

	if (settings.limit && state.sent[0] + state.sent[1] >= settings.limit)
		return 0;
	if (!settings.interval)
		return 1;
	now = bpf_ktime_get_ns();
	if (now < state.next)
		return 0;
	// Up to 100 us of delay are made up for, in a burst: the machine may have taken the CPU away.
	state.next = (state.next + 100000 < now ? now : state.next) + settings.interval;
	return 1;
}

static __always_inline __u32 next_size(void)
{
	__u32 turn = settings.sizes > 1 ? state.turn : 0;

	if (turn >= settings.sizes || turn >= 12)
		turn = 0;
	state.turn = turn + 1;
	return settings.size[turn];
}

SEC("xdp")
int generate(struct xdp_md *ctx)
{
	__u32 from_host = settings.encapsulate, size, length, flow;
	__u64 number;

	if (!is_due())
		return XDP_DROP;
	if (settings.decapsulate && settings.encapsulate)
		from_host = state.sent[0] > state.sent[1];
	from_host &= 1;
	number = state.sent[from_host]++;
	size = next_size();
	// An odd factor makes it a permutation: every flow has its turn, and neighbours are far apart.
	flow = (__u32)number * 2654435761u & (settings.flows - 1);

	length = from_host ? size : size + sizeof(struct outer);
	if (length != ctx->data_end - ctx->data && bpf_xdp_adjust_tail(ctx, (int)(length - (ctx->data_end - ctx->data))))
		return XDP_ABORTED;
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	if (from_host) {
		if (data + sizeof(struct inner) > end)
			return XDP_ABORTED;
		write_inner(data, 1, flow, size);
	} else {
		if (data + sizeof(struct outer) + sizeof(struct inner) > end)
			return XDP_ABORTED;
		write_outer(data, flow, size);
		write_inner(data + sizeof(struct outer), 0, flow, size);
	}
	return bpf_redirect_map(&sides, from_host, 0);
}

char LICENSE[] SEC("license") = "GPL";
