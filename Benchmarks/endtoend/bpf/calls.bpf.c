// SPDX-License-Identifier: GPL-2.0
// Counts the system calls of one process.
#include <linux/bpf.h>
#include <linux/types.h>

#include <bpf/bpf_helpers.h>

const volatile __u32 process = 0;

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} calls SEC(".maps");

SEC("raw_tracepoint/sys_enter")
int entered(void)
{
	__u64 *count;

	if (bpf_get_current_pid_tgid() >> 32 == process && (count = bpf_map_lookup_elem(&calls, &(__u32){ 0 })))
		++*count;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
