// The C side of vxgw: kernel and library headers, and inline shims for what Swift can't import (macros, prefetch,
// variadic calls, flexible array members). No logic.
//
// Not with _GNU_SOURCE: Swift's own Glibc and Dispatch modules are built without it, and clang refuses two definitions
// of fd_set or __rusage_who in one program. GNU functions that are needed are declared below.
#pragma once
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/filter.h>
#include <linux/genetlink.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/if_xdp.h>
#include <linux/neighbour.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include <xdp/xsk.h>

#include "../../../bpf/vxgw.h"

// Newer than Debian 12's headers (Linux 6.1).
#ifndef XDP_MAX_TX_SKB_BUDGET
#define XDP_MAX_TX_SKB_BUDGET 9 // getsockopt/setsockopt level SOL_XDP, Linux 6.17
#endif
#ifndef XDP_USE_SG
#define XDP_USE_SG (1 << 4) // sockaddr_xdp.sxdp_flags, Linux 6.6
#define XDP_PKT_CONTD (1 << 0) // xdp_desc.options
#endif

const char *strerrorname_np(int number); // string.h
int accept4(int descriptor, struct sockaddr *address, socklen_t *size, int flags); // sys/socket.h
int setns(int descriptor, int type);     // sched.h
int memfd_create(const char *name, unsigned int flags); // sys/mman.h
#ifndef MFD_CLOEXEC
#define MFD_CLOEXEC 1U // linux/memfd.h
#endif
#ifndef CLONE_NEWNET
#define CLONE_NEWNET 0x40000000 // linux/sched.h
#endif
#ifndef __USE_GNU // sys/socket.h
struct mmsghdr {
  struct msghdr msg_hdr;
  unsigned int msg_len;
};
int sendmmsg(int descriptor, struct mmsghdr *messages, unsigned int count, int flags);
#endif

static inline int vxgw_errno(void) { return errno; }
static inline const char *vxgw_errno_name(int number) { return strerrorname_np(number); }
// For words that the kernel and we take turns at.
static inline __u32 vxgw_load_acquire(const __u32 *word) { return __atomic_load_n(word, __ATOMIC_ACQUIRE); }
static inline void vxgw_store_release(__u32 *word, __u32 value) { __atomic_store_n(word, value, __ATOMIC_RELEASE); }
static inline void vxgw_prefetch(const void *address) { __builtin_prefetch(address); }

// The four rings of an AF_XDP socket, in one allocation.
struct vxgw_xsk_rings {
  struct xsk_ring_cons rx;
  struct xsk_ring_prod tx;
  struct xsk_ring_prod fill;
  struct xsk_ring_cons completion;
};

// sendto(2) and recvfrom(2) without data: "send what is in the TX ring", "look at the fill ring again".
static inline ssize_t vxgw_xsk_send(int fd) { return sendto(fd, NULL, 0, MSG_DONTWAIT, NULL, 0); }
static inline ssize_t vxgw_xsk_receive(int fd) { return recvfrom(fd, NULL, 0, MSG_DONTWAIT, NULL, NULL); }
// bind(2) to no interface: fails, with EINVAL if the kernel does not know one of the flags, else with ENODEV.
static inline int vxgw_xsk_try_flags(int fd, unsigned flags) {
  struct sockaddr_xdp address = {.sxdp_family = AF_XDP, .sxdp_flags = (__u16)flags};
  return bind(fd, (struct sockaddr *)&address, sizeof(address));
}

// open(2) and ioctl(2) are variadic, and the request numbers of linux/if_tun.h are macros with a type in them.
static inline int vxgw_tun_open(void) { return open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC); }
static inline int vxgw_tun_set_interface(int fd, struct ifreq *request) { return ioctl(fd, TUNSETIFF, request); }
static inline int vxgw_tun_set_offload(int fd, unsigned int flags) { return ioctl(fd, TUNSETOFFLOAD, (unsigned long)flags); }

// Binds a thread to one processor. Returns 0 or an errno.
int vxgw_bind_thread(pthread_t thread, int cpu);
// The thread's name, at most 15 characters.
int vxgw_name_thread(pthread_t thread, const char *name);

// fcntl(2) is variadic.
static inline int vxgw_duplicate(int descriptor) { return fcntl(descriptor, F_DUPFD_CLOEXEC, 0); }

// Hands libbpf's warnings to `handler` instead of printing them on standard error. (Swift sees va_list differently on
// each architecture.)
void vxgw_libbpf_on_warning(void (*handler)(const char *text));

// bind(2) and connect(2) for netlink: to the groups of a bit set, and to the kernel.
static inline int vxgw_bind_netlink(int fd, unsigned groups) {
  struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = groups};
  return bind(fd, (struct sockaddr *)&address, sizeof(address));
}
static inline int vxgw_connect_netlink(int fd) {
  struct sockaddr_nl address = {.nl_family = AF_NETLINK};
  return connect(fd, (struct sockaddr *)&address, sizeof(address));
}

// ioctl(2) SIOCETHTOOL, by interface index because names change. `command` points to a struct that begins with an
// ETHTOOL_ number, and receives the answer.
static inline int vxgw_ethtool(int fd, unsigned interface, void *command) {
  struct ifreq request = {.ifr_ifindex = (int)interface};
  if (ioctl(fd, SIOCGIFNAME, &request) < 0) return -1;
  request.ifr_data = command;
  return ioctl(fd, SIOCETHTOOL, &request);
}
