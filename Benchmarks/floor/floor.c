// What a packet costs in C: decapsulation and encapsulation by the same steps as Sources/Datapath (datapath.h), on the
// same tables (tables.h), over the same frames as vxgw-bench. It checks, counts, learns and prefetches as much; it leaves
// out what no packet of the benchmark meets (waiting for neighbours, ECN propagation) but not the tests that lead there.
//
//     floor decapsulate|encapsulate|flood MACS PASSES SAMPLES      prints nanoseconds per packet
#include "datapath.h"
#include <stdio.h>
#include <time.h>

// Worker.swift, ReplayPort.swift

COLD void receive(struct gateway *g, struct batch *batch, int port) {
  size_t bytes = 0;
  while (batch->count < BATCH) {
    struct frame frame = g->replay[g->next];
    g->next = g->next + 1 == FRAMES ? 0 : g->next + 1;
    bytes += frame.length;
    batch->frames[batch->count++] = frame;
  }
  count(&g->ports[port][RX_FRAMES], batch->count);
  count(&g->ports[port][RX_BYTES], bytes);
}
COLD void round_of(struct gateway *g, struct batch *batch, int from) {
  receive(g, batch, from);
  if (from == 0) decapsulate(g, batch);
  else encapsulate(g, batch, from);
  for (int port = 0; port < 2; port++) if (g->outgoing[port].count) flush(g, port);
}

// What the benchmark sends: the same as Frames.swift and Gateway.swift.

static uint64_t random_state = 1;
static uint64_t next_random(void) { // SplitMix64
  uint64_t z = random_state += 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}
static void put_mac(uint8_t *at, uint64_t address) { put16(at, address >> 32); put32(at + 2, (uint32_t)address); }

// Writes an Ethernet and an IPv4 header. Returns where the next one starts.
static uint8_t *put_ip(uint8_t *at, uint64_t to, uint64_t from, uint8_t number, uint16_t total, uint32_t source, uint32_t destination) {
  uint8_t *ip = at + 14;
  put_mac(at, to);
  put_mac(at + 6, from);
  put16(at + 12, IPV4);
  put32(ip, 0x45000000 | total);
  put32(ip + 4, 0);
  put32(ip + 8, 64u << 24 | number << 16);
  put32(ip + 12, source);
  put32(ip + 16, destination);
  uint64_t sum = 0;
  for (int offset = 0; offset < 20; offset += 2) sum += big16(ip + offset);
  put16(ip + 10, ~fold(sum));
  return ip + 20;
}
static void put_inner(uint8_t *at, uint64_t to, uint64_t from) {
  uint64_t random = next_random();
  bool tcp = random & 1;
  uint32_t source = 0xc6120000 | (random >> 8 & 0xffff), destination = 0xc6130000 | (random >> 24 & 0xffff); // 198.18.0.0/15
  uint8_t *transport = put_ip(at, to, from, tcp ? TCP : UDP, INNER - 14, source, destination);
  memset(transport, 0, INNER - 34);
  put32(transport, (uint32_t)(random >> 32));
  if (!tcp) put16(transport + 4, INNER - 34);
  put16(transport + (tcp ? 16 : 6), 1); // not the pseudo-header's sum, so "complete"
}
static struct gateway *gateway_new(bool inwards, bool floods, size_t macs) {
  struct gateway *g = zeroed_pages(sizeof *g);
  g->umem = zeroed_pages((size_t)CHUNK * CHUNKS);
  memset(g->umem, 0, (size_t)CHUNK * CHUNKS);
  for (int chunk = CHUNKS - 1; chunk >= FRAMES; chunk--) g->pool[g->free++] = (uint32_t)chunk * CHUNK;
  g->fdb = fdb_new(macs > 1024 ? macs : 1024);
  g->vteps = zeroed_pages(VTEP_CAPACITY * VTEP_WORDS * 8);
  int remotes = floods ? 16 : 1;
  g->remotes = malloc(sizeof(int32_t) * 16);
  for (int remote = 0; remote < remotes; remote++) {
    uint8_t header[OVERHEAD];
    uint8_t *udp = put_ip(header, 0x020000000002, 0x020000000001, UDP, 0, LOCAL, REMOTE + remote);
    put16(header + 24, 0);
    put32(udp, PORT);
    put32(udp + 4, 0);
    put32(udp + 8, 0x08000000);
    put32(udp + 12, 0);
    g->remotes[remote] = vtep_add(g->vteps, REMOTE + remote);
    vtep_publish(g->vteps, g->remotes[remote], header, OVERHEAD, 1500);
  }
  g->segments = malloc(sizeof *g->segments);
  *g->segments = (struct segment){VNI, false, 2, 0, remotes};
  g->vni_size = 16;
  g->vnis = malloc(g->vni_size * 8);
  memset(g->vnis, 0xff, g->vni_size * 8);
  g->vnis[vni_hash(VNI) & (g->vni_size - 1)] = (uint64_t)VNI << 32;
  g->is_wire[0] = g->is_wire[1] = true;
  g->learning = true;
  g->local = LOCAL;
  g->last_vni = UINT32_MAX;
  g->last_vtep = g->last_segment = -1;
  g->port = PORT;
  g->source_low = 49152;
  g->source_high = 65535;
  g->hash_key = 0x5eed;
  uint64_t *addresses = malloc(macs * sizeof *addresses); // even: local, odd: behind the VTEP
  for (size_t index = 0; index < macs; index++) {
    addresses[index] = 0x020000000000 | (next_random() & 0xfffffffffe) | (index & 1);
    fdb_learn(&g->fdb, addresses[index], index & 1 ? DESTINATION_VTEP | (uint32_t)g->remotes[0] : 1, TICK);
  }
  for (uint32_t index = 0; index < FRAMES; index++) {
    uint32_t start = index * CHUNK + HEADROOM;
    uint64_t near = addresses[next_random() % (macs / 2) * 2], far = addresses[next_random() % (macs / 2) * 2 + 1];
    if (inwards) {
      uint8_t *udp = put_ip(g->umem + start, 0x020000000001, 0x020000000002, UDP, INNER + 36, REMOTE, LOCAL);
      put32(udp, 50000u << 16 | PORT);
      put32(udp + 4, (INNER + 16u) << 16);
      put32(udp + 8, 0x08000000);
      put32(udp + 12, VNI << 8);
      put_inner(udp + 16, near, far);
    } else {
      put_inner(g->umem + start, floods ? 0xffffffffffff : far, near);
    }
    g->replay[index] = (struct frame){start, INNER + (inwards ? OVERHEAD : 0), false};
  }
  free(addresses);
  return g;
}

static double nanoseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1e9 + now.tv_nsec;
}
static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

int main(int argc, char **argv) {
  if (argc != 5) return fprintf(stderr, "usage: floor decapsulate|encapsulate|flood MACS PASSES SAMPLES\n"), 64;
  bool inwards = !strcmp(argv[1], "decapsulate"), floods = !strcmp(argv[1], "flood");
  size_t passes = strtoul(argv[3], NULL, 10), samples = strtoul(argv[4], NULL, 10);
  struct gateway *g = gateway_new(inwards, floods, strtoul(argv[2], NULL, 10));
  struct batch batch = {.count = 0};
  double times[samples];
  for (size_t sample = 0; sample <= samples; sample++) { // the first warms up
    size_t rounds = (sample ? passes : 1) * FRAMES / BATCH;
    double start = nanoseconds();
    for (size_t round = 0; round < rounds; round++) round_of(g, &batch, inwards ? 0 : 1);
    if (sample) times[sample - 1] = (nanoseconds() - start) / (double)(rounds * BATCH);
  }
  uint64_t expected = (samples * passes + 1) * FRAMES * (floods ? 16 : 1);
  if (g->ports[inwards ? 1 : 0][TX_FRAMES] != expected) return fprintf(stderr, "floor: frames were lost\n"), 1;
  qsort(times, samples, sizeof *times, ascending);
  printf("%.2f\n", times[samples / 2]);
}
