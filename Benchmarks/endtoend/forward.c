// A bare AF_XDP forwarder, the floor for what user space can do: every frame that one NIC receives goes out of the other,
// untouched. Both sockets (queue 0, copy mode) share one UMEM, so a received frame's address is what is sent.
//
//   forward OBJECT NIC NIC      OBJECT: redirect.bpf.o; it polls until it is killed, and says "ready" on standard output
#include <errno.h>
#include <error.h>
#include <linux/if_xdp.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <xdp/xsk.h>

#ifndef SOL_XDP
#define SOL_XDP 283
#endif
#ifndef XDP_MAX_TX_SKB_BUDGET
#define XDP_MAX_TX_SKB_BUDGET 9 // Linux 6.17
#endif

enum { RING = 2048, BATCH = 64, FRAME = 2048, FRAMES = 4 * RING, SEND_BUFFER = 16 << 20 };

struct port {
	struct xsk_socket *socket;
	int fd;
	struct xsk_ring_cons rx, completed;
	struct xsk_ring_prod tx, fill;
};

static struct port ports[2];
static unsigned long free_frames[FRAMES];
static unsigned free_count;

static void check(int result, const char *what)
{
	if (result < 0)
		error(1, -result, "%s", what);
}

static void open_port(struct port *port, struct xsk_umem *umem, const char *nic, const char *object_path)
{
	struct xsk_socket_config config = { .rx_size = RING, .tx_size = RING, .bind_flags = XDP_COPY,
	                                    .libxdp_flags = XSK_LIBXDP_FLAGS__INHIBIT_PROG_LOAD };
	struct bpf_object *object = bpf_object__open_file(object_path, NULL);
	int key = 0, budget = RING, buffer = SEND_BUFFER;

	check(xsk_socket__create_shared(&port->socket, nic, 0, umem, &port->rx, &port->tx, &port->fill, &port->completed, &config), nic);
	port->fd = xsk_socket__fd(port->socket);
	// Both limit how many frames one system call sends. Kernels before 6.17 have no such budget: then it is 32.
	setsockopt(port->fd, SOL_XDP, XDP_MAX_TX_SKB_BUDGET, &budget, sizeof(budget));
	check(setsockopt(port->fd, SOL_SOCKET, SO_SNDBUFFORCE, &buffer, sizeof(buffer)) ? -errno : 0, "SO_SNDBUFFORCE");
	if (!object)
		error(1, errno, "%s", object_path);
	check(bpf_object__load(object), object_path);
	check(bpf_map_update_elem(bpf_object__find_map_fd_by_name(object, "sockets"), &key, &port->fd, BPF_ANY), "sockets");
	if (!bpf_program__attach_xdp(bpf_object__find_program_by_name(object, "to_socket"), if_nametoindex(nic)))
		error(1, errno, "XDP on %s", nic);
}

static void refill(struct port *port)
{
	unsigned first, count = free_count < BATCH ? free_count : BATCH;

	if (xsk_prod_nb_free(&port->fill, count) < count || !xsk_ring_prod__reserve(&port->fill, count, &first))
		return;
	for (unsigned i = 0; i < count; i++)
		*xsk_ring_prod__fill_addr(&port->fill, first + i) = free_frames[--free_count];
	xsk_ring_prod__submit(&port->fill, count);
}

static void reclaim(struct port *port)
{
	unsigned first, count = xsk_ring_cons__peek(&port->completed, RING, &first);

	for (unsigned i = 0; i < count; i++)
		free_frames[free_count++] = *xsk_ring_cons__comp_addr(&port->completed, first + i) & ~(FRAME - 1ul);
	xsk_ring_cons__release(&port->completed, count);
}

static void forward(struct port *from, struct port *to)
{
	unsigned in, out, count = xsk_ring_cons__peek(&from->rx, BATCH, &in);

	refill(from);
	if (!count)
		return;
	reclaim(to);
	if (!xsk_ring_prod__reserve(&to->tx, count, &out)) { // full: the next system call will make room
		xsk_ring_cons__cancel(&from->rx, count);
	} else {
		for (unsigned i = 0; i < count; i++) {
			const struct xdp_desc *received = xsk_ring_cons__rx_desc(&from->rx, in + i);

			*xsk_ring_prod__tx_desc(&to->tx, out + i) = (struct xdp_desc){ .addr = received->addr, .len = received->len };
		}
		xsk_ring_cons__release(&from->rx, count);
		xsk_ring_prod__submit(&to->tx, count);
	}
	if (sendto(to->fd, NULL, 0, MSG_DONTWAIT, NULL, 0) < 0 && errno != EAGAIN && errno != EBUSY && errno != ENOBUFS)
		error(1, errno, "sendto");
	reclaim(to);
}

int main(int count, char **words)
{
	struct xsk_umem_config config = { .fill_size = RING, .comp_size = RING, .frame_size = FRAME,
	                                  .frame_headroom = XSK_UMEM__DEFAULT_FRAME_HEADROOM };
	void *memory = mmap(NULL, FRAMES * FRAME, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	struct xsk_ring_prod fill;
	struct xsk_ring_cons completed;
	struct xsk_umem *umem;

	if (count != 4)
		error(64, 0, "usage: forward OBJECT NIC NIC");
	if (memory == MAP_FAILED)
		error(1, errno, "mmap");
	check(xsk_umem__create(&umem, memory, FRAMES * FRAME, &fill, &completed, &config), "UMEM");
	for (unsigned frame = 0; frame < FRAMES; frame++)
		free_frames[free_count++] = frame * FRAME;
	for (int i = 0; i < 2; i++) {
		open_port(&ports[i], umem, words[2 + i], words[1]);
		for (unsigned batch = 0; batch < RING / BATCH; batch++)
			refill(&ports[i]);
	}
	puts("ready");
	fflush(stdout);
	for (;;) {
		forward(&ports[0], &ports[1]);
		forward(&ports[1], &ports[0]);
	}
}
