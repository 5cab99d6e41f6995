// SPDX-License-Identifier: Apache-2.0
// 802.1Q and 802.1ad tags for the tests, where the kernel may have no VLAN devices: see vlan.py, which compiles this with
// VLAN (the VLAN id), PROTOCOL (0x8100 or 0x88a8), PORT (VXLAN's) and TARGET (an interface's index).
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/udp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

static int is_tagged(struct __sk_buff *skb)
{
	return skb->vlan_present && (skb->vlan_tci & 0xfff) == VLAN && skb->vlan_proto == bpf_htons(PROTOCOL);
}

// Frames of the VLAN go to TARGET, without their tag.
SEC("classifier/untag") int untag_and_redirect(struct __sk_buff *skb)
{
	if (!is_tagged(skb))
		return TC_ACT_UNSPEC;
	bpf_skb_vlan_pop(skb);
	return bpf_redirect(TARGET, 0);
}

// Every frame goes to TARGET, with the tag.
SEC("classifier/tag") int tag_and_redirect(struct __sk_buff *skb)
{
	bpf_skb_vlan_push(skb, bpf_htons(PROTOCOL), VLAN);
	return bpf_redirect(TARGET, 0);
}

SEC("classifier/untag_here") int untag_here(struct __sk_buff *skb)
{
	if (is_tagged(skb))
		bpf_skb_vlan_pop(skb);
	return TC_ACT_OK;
}

// VXLAN packets alone get the tag: ARP and ND of the stack, which knows of no VLAN, stay as they are.
SEC("classifier/tag_vxlan") int tag_vxlan(struct __sk_buff *skb)
{
	__u32 offset = ETH_HLEN + (skb->protocol == bpf_htons(ETH_P_IP) ? sizeof(struct iphdr) : sizeof(struct ipv6hdr));
	struct udphdr udp;

	if (skb->protocol != bpf_htons(ETH_P_IP) && skb->protocol != bpf_htons(ETH_P_IPV6))
		return TC_ACT_OK;
	if (!bpf_skb_load_bytes(skb, offset, &udp, sizeof(udp)) && udp.dest == bpf_htons(PORT))
		bpf_skb_vlan_push(skb, bpf_htons(PROTOCOL), VLAN);
	return TC_ACT_OK;
}

char LICENSE[] SEC("license") = "GPL";
