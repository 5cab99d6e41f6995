// A worker between two replayed ports, as Gateway.swift, Worker.swift and ReplayPort.swift have it.
#pragma once
#include "decapsulator.h"
#include "encapsulator.h"
#include "frames.h"

// What is measured, as said on the command line.
struct setup {
  const char *name;
  size_t macs, vteps, vnis, batch, frames, passes, samples;
};

COLD void receive(struct gateway *g, struct batch *batch, int port) {
  size_t bytes = 0;
  while (batch->count < g->batch) {
    struct frame frame = g->replay[g->next];
    g->next = g->next + 1 == g->frame_count ? 0 : g->next + 1;
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

// Every segment has one local port, on port 1, and all VTEPs.
static void add_segments(struct gateway *g, size_t vnis, size_t vteps) {
  g->remotes = malloc(sizeof *g->remotes * vteps);
  g->vteps = zeroed_pages(VTEP_CAPACITY * VTEP_WORDS * 8);
  for (size_t number = 0; number < vteps; number++) {
    uint8_t header[OVERHEAD];
    put_header(header, REMOTE + (uint32_t)number);
    g->remotes[number] = vtep_add(g->vteps, REMOTE + (uint32_t)number);
    vtep_publish(g->vteps, g->remotes[number], header, OVERHEAD, 1500);
  }
  g->segments = malloc(sizeof *g->segments * vnis);
  g->members = malloc(sizeof *g->members * vnis);
  g->locals = malloc(sizeof *g->locals * (vnis + 1));
  g->locals[0] = (struct local_port){-1, 0, false};
  for (g->vni_size = 16; g->vni_size < 2 * vnis;) g->vni_size *= 2;
  g->vnis = malloc(g->vni_size * 8);
  memset(g->vnis, 0xff, g->vni_size * 8);
  for (size_t index = 0; index < vnis; index++) {
    uint32_t vni = VNI + (uint32_t)index;
    g->segments[index] = (struct segment){vni, false, 0, (int32_t)vteps, (int32_t)index, 1};
    g->members[index] = (int32_t)index + 1;
    g->locals[index + 1] = (struct local_port){(int32_t)index, 1, true};
    size_t slot = vni_hash(vni) & (g->vni_size - 1);
    while (g->vnis[slot] != UINT64_MAX) slot = (slot + 1) & (g->vni_size - 1);
    g->vnis[slot] = (uint64_t)vni << 32 | index;
  }
  g->untagged[0] = -1;
  g->untagged[1] = (int32_t)vnis;
}

// Pairs of MAC addresses, the even one on a local port, the odd one behind a VTEP, go round the segments and the VTEPs. Of as
// many addresses as the FDB may hold, one in some hundreds finds no place: others are taken.
static uint64_t *learn_addresses(struct gateway *g, const struct setup *setup) {
  uint64_t *addresses = malloc(setup->macs * sizeof *addresses);
  for (size_t index = 0; index < setup->macs; index++) {
    size_t segment = index / 2 % setup->vnis;
    uint32_t vtep = DESTINATION_VTEP | (uint32_t)g->remotes[index / 2 % setup->vteps];
    uint64_t key;
    do key = fdb_key((int)segment, addresses[index] = next_address(KNOWN_BLOCK, index));
    while (fdb_learn(&g->fdb, key, (uint32_t)fdb_home(&g->fdb, key), index & 1 ? vtep : (uint32_t)segment + 1, TICK) != ADDED);
  }
  return addresses;
}

static struct gateway *gateway_new(const struct setup *setup) {
  bool inwards = !strcmp(setup->name, "decapsulate"), floods = !strcmp(setup->name, "flood");
  struct gateway *g = zeroed_pages(sizeof *g);
  size_t chunks = 2 * setup->frames;
  g->batch = setup->batch;
  g->frame_count = setup->frames;
  g->umem = zeroed_pages(CHUNK * chunks);
  memset(g->umem, 0, CHUNK * chunks);
  g->pool = malloc(sizeof *g->pool * chunks);
  for (size_t chunk = chunks; chunk-- > setup->frames;) g->pool[g->free++] = (uint32_t)(chunk * CHUNK);
  g->fdb = fdb_new(setup->macs > 1024 ? setup->macs : 1024);
  add_segments(g, setup->vnis, setup->vteps);
  g->learning = true;
  g->local = LOCAL;
  g->last_vni = UINT32_MAX;
  g->last_vtep = g->last_segment = -1;
  g->port = PORT;
  g->segment_size_limit = UINT16_MAX;
  g->source_low = 49152;
  g->source_high = 65535;
  g->hash_key = 0x5eed;
  uint64_t *addresses = learn_addresses(g, setup);
  size_t pairs = setup->macs / 2;
  g->replay = malloc(sizeof *g->replay * setup->frames);
  for (size_t index = 0; index < setup->frames; index++) {
    uint32_t start = (uint32_t)index * CHUNK + HEADROOM;
    size_t near = next_random() % pairs, segment = near % setup->vnis;
    size_t far = next_random() % (pairs / setup->vnis) * setup->vnis + segment;
    uint64_t inside = addresses[2 * near], outside = addresses[2 * far + 1];
    if (inwards) {
      put_encapsulated(g->umem + start, inside, outside, REMOTE + (uint32_t)(far % setup->vteps), VNI + (uint32_t)segment);
    } else {
      put_inner(g->umem + start, floods ? 0xffffffffffff : outside, inside);
    }
    g->replay[index] = (struct frame){start, INNER + (inwards ? OVERHEAD : 0), false};
  }
  free(addresses);
  return g;
}
