// SPDX-License-Identifier: GPL-2.0
// At the far ends: counts the generator's frames, measures how old they are, and drops them. Others (ARP) go to the stack.
#include "frames.h"

#define SAMPLE_SIZE 2048

struct sample {
	__u32 length;
	__u8 bytes[SAMPLE_SIZE];
};

struct count {
	__u64 frames, bytes, others;
};

// Log-linear: 64 buckets to each power of two of nanoseconds, so at most 1.6 % off. `latency.py` has the same layout.
#define BUCKETS 4096

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct count);
} counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, BUCKETS);
	__type(key, __u32);
	__type(value, __u64);
} ages SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct sample);
} samples SEC(".maps");

const volatile __u32 stamped = 0;
__u32 wants_sample = 0; // the next frame is kept for a look at its bytes

static __always_inline const struct inner *bench_frame(const void *data, const void *end)
{
	const struct outer *outer = data;
	const struct inner *inner = data;

	if (data + sizeof(*outer) + sizeof(*inner) <= end && outer->udp.dest == bpf_htons(VXLAN_PORT))
		inner = data + sizeof(*outer);
	else if (data + sizeof(*inner) > end)
		return 0;
	if (inner->eth.h_proto != bpf_htons(ETH_P_IP) || inner->udp.dest != bpf_htons(BENCH_PORT))
		return 0;
	return (inner->ip.daddr & bpf_htonl(INNER_MASK)) == bpf_htonl(INNER_NET) ? inner : 0;
}

static __always_inline __u32 bucket(__u64 nanoseconds)
{
	__u32 octave;

	if (nanoseconds < 64)
		return nanoseconds;
	octave = 63 - __builtin_clzll(nanoseconds); // 6 or more
	return (octave - 5) << 6 | ((nanoseconds >> (octave - 6)) & 63);
}

static __always_inline void take_sample(struct xdp_md *ctx, __u32 length)
{
	struct sample *sample = bpf_map_lookup_elem(&samples, &(__u32){ 0 });

	wants_sample = 0;
	if (!sample)
		return;
	length = ((length - 1) & (SAMPLE_SIZE - 1)) + 1; // so that the verifier knows it is 1 to 2048
	bpf_xdp_load_bytes(ctx, 0, sample->bytes, length);
	sample->length = length;
}

SEC("xdp")
int sink(struct xdp_md *ctx)
{
	const void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	const struct inner *frame = bench_frame(data, end);
	struct count *count = bpf_map_lookup_elem(&counts, &(__u32){ 0 });

	if (!count)
		return XDP_ABORTED;
	if (!frame) {
		count->others++;
		return XDP_PASS;
	}
	count->frames++;
	count->bytes += end - data;
	if (stamped) {
		__u32 key = bucket(bpf_ktime_get_ns() - frame->sent_at) & (BUCKETS - 1);
		__u64 *age = bpf_map_lookup_elem(&ages, &key);

		if (age)
			++*age;
	}
	if (wants_sample)
		take_sample(ctx, end - data);
	return XDP_DROP;
}

char LICENSE[] SEC("license") = "GPL";
