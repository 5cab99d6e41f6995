// The steps of Sources/Datapath in C, function by function.
#pragma once
#include "tables.h"

enum { FRAMES = 4096, CHUNK = 2048, CHUNKS = 8192, BATCH = 64, HEADROOM = 256, OVERHEAD = 50, INNER = 64, VNI = 4100, TICK = 5 };
enum { LOCAL = 0xc0000201, REMOTE = 0xc0000202, PORT = 4789, TCP = 6, UDP = 17, IPV4 = 0x0800, IPV6 = 0x86dd };
enum { TOO_SMALL, IP_HEADER, IP_CHECKSUM, FRAGMENT, IP_DESTINATION, IP_SOURCE, UDP_LENGTH, VXLAN_HEADER, NO_VNI, NOT_LISTED,
       MAC_SOURCE, LOCAL_MAC, EXISTS, LINK_LOCAL, INNER_VLAN, ECN, NO_LOCAL_PORT, SPLIT_HORIZON, SAME_PORT, NO_REMOTE, TOO_BIG,
       NO_HEADER, NO_MEMORY, REPLICATED, LEARNED, RELEARNED, TABLE_FULL, COMPLETED, COUNTERS };
enum { ACCEPTED = -1 };
enum { RX_FRAMES, RX_BYTES, TX_FRAMES, TX_BYTES };

struct frame {
  uint32_t start;
  uint16_t length;
  bool complete; // the transport checksum is
};
struct batch {
  struct frame frames[BATCH];
  size_t count;
};
struct packet {
  struct frame frame;
  int32_t segment, vtep;
  uint64_t source, destination;
  uint8_t outer_ds;
};
struct gateway {
  uint8_t *umem;
  uint32_t pool[CHUNKS];
  size_t free;
  struct batch outgoing[2];
  uint64_t counters[COUNTERS], ports[2][4];
  struct fdb fdb;
  uint64_t *vteps, *vnis;
  size_t vni_size;
  struct segment *segments;
  int32_t *remotes, segment_of_port[2];
  bool is_wire[2], learning, only_listed;
  uint32_t local, last_source, last_vni;
  int last_vtep, last_segment;
  uint16_t port, source_low, source_high, identification;
  int tos; // -1: inherit
  uint16_t df;
  bool df_inherit;
  uint64_t hash_key;
  struct packet packets[BATCH];
  size_t count;
  struct frame replay[FRAMES];
  size_t next;
};

HOT uint16_t big16(const uint8_t *at) { uint16_t value; memcpy(&value, at, 2); return __builtin_bswap16(value); }
HOT uint32_t big32(const uint8_t *at) { uint32_t value; memcpy(&value, at, 4); return __builtin_bswap32(value); }
HOT uint64_t big64(const uint8_t *at) { uint64_t value; memcpy(&value, at, 8); return __builtin_bswap64(value); }
HOT uint64_t mac(const uint8_t *at) { return (uint64_t)big32(at) << 16 | big16(at + 4); }
HOT void put16(uint8_t *at, uint16_t value) { value = __builtin_bswap16(value); memcpy(at, &value, 2); }
HOT void put32(uint8_t *at, uint32_t value) { value = __builtin_bswap32(value); memcpy(at, &value, 4); }
HOT bool is_tag(uint16_t type) { return type == 0x8100 || type == 0x88a8; }
HOT uint16_t fold(uint64_t sum) {
  sum = (sum >> 32) + (sum & 0xffffffff);
  sum = (sum >> 16) + (sum & 0xffff);
  sum = (sum >> 16) + (sum & 0xffff);
  return (uint16_t)((sum >> 16) + (sum & 0xffff));
}
HOT uint64_t fdb_key(int segment, uint64_t address) { return (uint64_t)segment << 48 | address; }
HOT bool is_group(uint64_t address) { return address & 0x010000000000; }

// Egress.swift

HOT void release(struct gateway *g, struct frame frame) { g->pool[g->free++] = frame.start & ~(CHUNK - 1); }
HOT void drop(struct gateway *g, struct frame frame, int reason) {
  count(&g->counters[reason], 1);
  release(g, frame);
}

// A sink: chunks that are replayed stay where they are, copies go back into the pool.
COLD void flush(struct gateway *g, int port) {
  struct batch *batch = &g->outgoing[port];
  size_t bytes = 0;
  for (size_t index = 0; index < batch->count; index++) {
    bytes += batch->frames[index].length;
    if (batch->frames[index].start >= FRAMES * CHUNK) release(g, batch->frames[index]);
  }
  count(&g->ports[port][TX_FRAMES], batch->count);
  count(&g->ports[port][TX_BYTES], bytes);
  batch->count = 0;
}
HOT void send_frame(struct gateway *g, struct frame frame, int port) {
  if (g->outgoing[port].count == BATCH) flush(g, port);
  g->outgoing[port].frames[g->outgoing[port].count++] = frame;
}
HOT void deliver(struct gateway *g, struct frame frame, int port) {
  if (g->is_wire[port] && frame.length < 60 && (frame.start & (CHUNK - 1)) + 60 <= CHUNK) {
    memset(g->umem + frame.start + frame.length, 0, 60 - frame.length);
    frame.length = 60;
  }
  send_frame(g, frame, port);
}
COLD bool replicate(struct gateway *g, struct frame frame, struct frame *copy) {
  count(&g->counters[REPLICATED], 1);
  if (g->free == 0) { count(&g->counters[NO_MEMORY], 1); return false; }
  *copy = (struct frame){g->pool[--g->free] + HEADROOM, frame.length, frame.complete};
  memcpy(g->umem + copy->start, g->umem + frame.start, frame.length);
  return true;
}

COLD void complete(uint8_t *bytes, size_t start, size_t end, size_t field) {
  uint64_t sum = 0;
  for (; start + 1 < end; start += 2) sum += big16(bytes + start);
  if (start < end) sum += bytes[start] << 8;
  uint16_t checksum = ~fold(sum);
  put16(bytes + field, checksum ? checksum : 0xffff);
}
// PartialChecksum.swift: the field equals the pseudo-header's sum when the kernel left it to a NIC.
HOT void complete_checksum(struct gateway *g, struct frame *frame) {
  if (frame->complete) return;
  frame->complete = true;
  uint8_t *bytes = g->umem + frame->start;
  size_t ip = 14, start, end;
  if (ip + 20 > frame->length) return;
  uint16_t type = big16(bytes + 12);
  for (int tags = 0; is_tag(type); type = big16(bytes + ip - 2)) {
    ip += 4;
    if (++tags > 2 || ip + 20 > frame->length) return;
  }
  uint8_t number;
  if (type == IPV4) {
    size_t header = (bytes[ip] & 0xf) * 4;
    if (bytes[ip] >> 4 != 4 || header < 20 || (big16(bytes + ip + 6) & 0x3fff)) return;
    start = ip + header;
    end = ip + big16(bytes + ip + 2);
    number = bytes[ip + 9];
  } else if (type == IPV6) {
    if (bytes[ip] >> 4 != 6) return;
    start = ip + 40;
    end = start + big16(bytes + ip + 4);
    number = bytes[ip + 6];
  } else {
    return;
  }
  if ((number != TCP && number != UDP) || start + (number == TCP ? 20 : 8) > end || end > frame->length) return;
  uint64_t sum = number + (end - start);
  if (type == IPV4) sum += (uint64_t)big32(bytes + ip + 12) + big32(bytes + ip + 16);
  else for (size_t at = ip + 8; at < ip + 40; at += 4) sum += big32(bytes + at);
  size_t field = start + (number == TCP ? 16 : 6);
  if (big16(bytes + field) != fold(sum)) return;
  complete(bytes, start, end, field);
  count(&g->counters[COMPLETED], 1);
}

// Decapsulator.swift

COLD int look_up_source(struct gateway *g, uint32_t source) {
  uint8_t first = source >> 24;
  g->last_vtep = -1;
  if (first == 0 || first == 127 || first >= 224 || source == g->local) return IP_SOURCE;
  int index = vtep_index(g->vteps, source);
  if (g->only_listed && (index < 0 || !(g->vteps[index * VTEP_WORDS] & VTEP_LISTED))) return NOT_LISTED;
  g->last_vtep = index;
  g->last_source = source;
  return ACCEPTED;
}
HOT int read_headers(struct gateway *g, struct packet *packet) {
  const uint8_t *bytes = g->umem + packet->frame.start;
  size_t length = packet->frame.length, network = 14;
  if (length < OVERHEAD + 14) return TOO_SMALL;
  if (is_tag(big16(bytes + 12))) {
    network = is_tag(big16(bytes + 16)) ? 22 : 18;
    if (length < network + 36 + 14) return TOO_SMALL;
  }
  const uint8_t *ip = bytes + network, *udp = ip + 20, *inner = udp + 16;
  if (big16(ip - 2) != IPV4 || ip[0] >> 4 != 4) return IP_HEADER;
  if (ip[0] != 0x45 || (big16(ip + 6) & 0x3fff)) return FRAGMENT;
  size_t total = big16(ip + 2), udp_length = big16(udp + 4);
  if (total < 36 + 14 || total > length - network) return IP_HEADER;
  uint64_t sum = (uint64_t)big32(ip) + big32(ip + 4) + big32(ip + 8) + big32(ip + 12) + big32(ip + 16);
  if (fold(sum) != 0xffff) return IP_CHECKSUM;
  if (big32(ip + 16) != g->local || ip[9] != UDP || big16(udp + 2) != g->port) return IP_DESTINATION;
  if (udp_length < 16 + 14 || udp_length > total - 20) return UDP_LENGTH;
  if (!(big32(udp + 8) & 0x08000000)) return VXLAN_HEADER;
  uint32_t vni = big32(udp + 12) >> 8;
  if (vni != g->last_vni) {
    g->last_segment = vni_segment(g->vnis, g->vni_size, vni);
    g->last_vni = vni;
  }
  if (g->last_segment < 0) return NO_VNI;
  packet->segment = g->last_segment;
  uint32_t source = big32(ip + 12);
  if (source != g->last_source || g->last_vtep < 0) {
    int reason = look_up_source(g, source);
    if (reason != ACCEPTED) return reason;
  }
  packet->vtep = g->last_vtep;
  uint64_t to = mac(inner), from = mac(inner + 6);
  if (is_group(from) || from == 0) return MAC_SOURCE;
  if ((to & ~0xfull) == 0x0180c2000000) return LINK_LOCAL;
  if (is_tag(big16(inner + 12)) && !g->segments[packet->segment].keeps_inner_tags) return INNER_VLAN;
  packet->destination = fdb_key(packet->segment, to);
  packet->source = fdb_key(packet->segment, from);
  packet->outer_ds = ip[1];
  packet->frame.start += (uint32_t)(inner - bytes);
  packet->frame.length = (uint16_t)(udp_length - 16);
  return ACCEPTED;
}
// True: the packet may pass.
HOT bool judge(struct gateway *g, struct frame frame, enum verdict verdict) {
  switch (verdict) {
  case KNOWN: break;
  case ADDED: count(&g->counters[LEARNED], 1); break;
  case MOVED: count(&g->counters[RELEARNED], 1); break;
  case FULL: count(&g->counters[TABLE_FULL], 1); break;
  case CONFLICT: drop(g, frame, EXISTS); return false;
  case OURS: drop(g, frame, LOCAL_MAC); return false;
  }
  return true;
}
HOT void forward_inwards(struct gateway *g, const struct packet *packet) {
  struct frame frame = packet->frame;
  if (packet->outer_ds & 3) return drop(g, frame, ECN);
  complete_checksum(g, &frame);
  uint64_t entry = is_group(packet->destination) ? 0 : fdb_look_up(&g->fdb, packet->destination);
  if (entry) {
    uint32_t destination = entry >> 16 & 0xffff;
    if (destination & DESTINATION_VTEP) return drop(g, frame, SPLIT_HORIZON);
    return deliver(g, frame, (int)destination);
  }
  uint64_t ports = g->segments[packet->segment].ports;
  if (!ports) return drop(g, frame, NO_LOCAL_PORT);
  for (; ports & (ports - 1); ports &= ports - 1) {
    struct frame copy;
    if (replicate(g, frame, &copy)) deliver(g, copy, __builtin_ctzll(ports));
  }
  deliver(g, frame, __builtin_ctzll(ports));
}
COLD void decapsulate(struct gateway *g, struct batch *batch) {
  for (size_t index = 0; index < batch->count; index++) __builtin_prefetch(g->umem + batch->frames[index].start);
  g->count = 0;
  for (size_t index = 0; index < batch->count; index++) {
    struct packet packet = {.frame = batch->frames[index]};
    int reason = read_headers(g, &packet);
    if (reason != ACCEPTED) { drop(g, batch->frames[index], reason); continue; }
    fdb_prefetch(&g->fdb, packet.source);
    fdb_prefetch(&g->fdb, packet.destination);
    g->packets[g->count++] = packet;
  }
  batch->count = 0;
  size_t kept = 0;
  for (size_t index = 0; index < g->count; index++) {
    const struct packet packet = g->packets[index];
    enum verdict verdict;
    if (g->learning && packet.vtep >= 0) verdict = fdb_learn(&g->fdb, packet.source, DESTINATION_VTEP | (uint32_t)packet.vtep, TICK);
    else verdict = (fdb_look_up(&g->fdb, packet.source) & FDB_STATE) == FDB_PERMANENT ? OURS : KNOWN;
    if (judge(g, packet.frame, verdict)) g->packets[kept++] = packet;
  }
  g->count = kept;
  for (size_t index = 0; index < g->count; index++) forward_inwards(g, &g->packets[index]);
}

// Encapsulator.swift, FrameHeaders.swift

struct inner {
  uint8_t ds;
  bool dont_fragment;
  uint32_t hash;
};
HOT uint64_t mix(uint64_t value, uint64_t key) {
  uint64_t product = (value ^ key) * 0x9e3779b97f4a7c15;
  return product ^ (product >> 29);
}
HOT uint32_t flow_hash(uint64_t a, uint64_t b, uint64_t kind, uint64_t key) { return mix(mix(a, key) + mix(b, key) + kind, key) >> 32; }
HOT bool has_ports(uint8_t number) { return number == TCP || number == UDP || number == 132 || number == 136 || number == 33; }

HOT struct inner read_inner(const uint8_t *bytes, size_t length, uint64_t key) {
  struct inner inner = {0};
  size_t network = 14;
  if (length < 14) return inner;
  uint16_t type = big16(bytes + 12);
  for (; is_tag(type) && network < 22 && length >= network + 4; network += 4) type = big16(bytes + network + 2);
  const uint8_t *ip = bytes + network;
  size_t room = length - network;
  if (type == IPV4 && room >= 20) {
    uint16_t fragment = big16(ip + 6);
    size_t transport = (ip[0] & 0xf) * 4;
    uint64_t from = big32(ip + 12), to = big32(ip + 16);
    if (has_ports(ip[9]) && !(fragment & 0x3fff) && transport >= 20 && room >= transport + 4) {
      from |= (uint64_t)big16(ip + transport) << 32;
      to |= (uint64_t)big16(ip + transport + 2) << 32;
    }
    return (struct inner){ip[1], fragment & 0x4000, flow_hash(from, to, ip[9], key)};
  }
  if (type == IPV6 && room >= 40) {
    uint64_t from = mix(big64(ip + 8), key) ^ big64(ip + 16), to = mix(big64(ip + 24), key) ^ big64(ip + 32);
    if (has_ports(ip[6]) && room >= 44) {
      from ^= (uint64_t)big16(ip + 40) << 32;
      to ^= (uint64_t)big16(ip + 42) << 32;
    }
    return (struct inner){(uint8_t)(big16(ip) >> 4), true, flow_hash(from, to, ip[6], key)};
  }
  inner.hash = flow_hash(mac(bytes), mac(bytes + 6), type, key);
  return inner;
}
HOT void put_outer_header(struct gateway *g, struct frame frame, int vtep, uint32_t vni) {
  struct header_info info;
  if (!vtep_header_info(g->vteps, vtep, &info)) return drop(g, frame, NO_HEADER);
  size_t total = frame.length + 36, length = info_length(info);
  if (total > info_mtu(info)) return drop(g, frame, TOO_BIG);
  struct inner inner = read_inner(g->umem + frame.start, frame.length, g->hash_key);
  struct frame packet = {frame.start - (uint32_t)length, (uint16_t)(frame.length + length), frame.complete};
  uint8_t *bytes = g->umem + packet.start, *ip = bytes + length - 36, *udp = ip + 20;
  if (!vtep_write_header(g->vteps, vtep, info, bytes)) return drop(g, frame, NO_HEADER);
  uint16_t identification = ++g->identification, fragment = g->df_inherit ? (inner.dont_fragment ? 0x4000 : 0) : g->df;
  uint8_t ds = g->tos < 0 ? inner.ds : (uint8_t)((g->tos & ~3) | (inner.ds & 3));
  uint32_t sum = (uint32_t)(info.word >> 32 & 0xffff) + ds + (uint32_t)total + identification + fragment;
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  ip[1] = ds;
  put16(ip + 2, (uint16_t)total);
  put16(ip + 4, identification);
  put16(ip + 6, fragment);
  put16(ip + 10, (uint16_t)~sum);
  put16(udp, (uint16_t)(g->source_low + ((uint64_t)inner.hash * (g->source_high - g->source_low + 1ull) >> 32)));
  put16(udp + 4, (uint16_t)(total - 20));
  put32(udp + 12, vni << 8);
  send_frame(g, packet, 0);
}
COLD void flood(struct gateway *g, struct frame frame, int port, int segment) {
  const struct segment record = g->segments[segment];
  uint64_t ports = record.ports & ~(1ull << port);
  if (record.remote_count == 0 && ports == 0) return drop(g, frame, NO_REMOTE);
  int last = record.first_remote + record.remote_count;
  for (int index = record.first_remote; index < (ports ? last : last - 1); index++) {
    struct frame copy;
    if (replicate(g, frame, &copy)) put_outer_header(g, copy, g->remotes[index], record.vni);
  }
  if (!ports) return put_outer_header(g, frame, g->remotes[last - 1], record.vni);
  for (; ports & (ports - 1); ports &= ports - 1) {
    struct frame copy;
    if (replicate(g, frame, &copy)) deliver(g, copy, __builtin_ctzll(ports));
  }
  deliver(g, frame, __builtin_ctzll(ports));
}
HOT int read_addresses(struct gateway *g, struct packet *packet) {
  const uint8_t *bytes = g->umem + packet->frame.start;
  if (packet->frame.length < 14) return TOO_SMALL;
  uint64_t to = mac(bytes), from = mac(bytes + 6);
  if (is_group(from) || from == 0) return MAC_SOURCE;
  if ((to & ~0xfull) == 0x0180c2000000) return LINK_LOCAL;
  if (is_tag(big16(bytes + 12)) && !g->segments[packet->segment].keeps_inner_tags) return INNER_VLAN;
  packet->destination = fdb_key(packet->segment, to);
  packet->source = fdb_key(packet->segment, from);
  return ACCEPTED;
}
HOT void forward_outwards(struct gateway *g, const struct packet *packet, int port) {
  struct frame frame = packet->frame;
  complete_checksum(g, &frame);
  uint64_t entry = is_group(packet->destination) ? 0 : fdb_look_up(&g->fdb, packet->destination);
  if (!entry) return flood(g, frame, port, packet->segment);
  uint32_t destination = entry >> 16 & 0xffff;
  if (destination & DESTINATION_VTEP) put_outer_header(g, frame, destination & 0x7fff, g->segments[packet->segment].vni);
  else if ((int)destination == port) drop(g, frame, SAME_PORT);
  else deliver(g, frame, (int)destination);
}
COLD void encapsulate(struct gateway *g, struct batch *batch, int port) {
  for (size_t index = 0; index < batch->count; index++) __builtin_prefetch(g->umem + batch->frames[index].start);
  g->count = 0;
  for (size_t index = 0; index < batch->count; index++) {
    struct packet packet = {.frame = batch->frames[index], .segment = g->segment_of_port[port]};
    int reason = read_addresses(g, &packet);
    if (reason != ACCEPTED) { drop(g, batch->frames[index], reason); continue; }
    fdb_prefetch(&g->fdb, packet.source);
    fdb_prefetch(&g->fdb, packet.destination);
    g->packets[g->count++] = packet;
  }
  batch->count = 0;
  size_t kept = 0;
  for (size_t index = 0; index < g->count; index++) {
    const struct packet packet = g->packets[index];
    if (judge(g, packet.frame, fdb_learn(&g->fdb, packet.source, (uint32_t)port, TICK))) g->packets[kept++] = packet;
  }
  g->count = kept;
  for (size_t index = 0; index < g->count; index++) forward_outwards(g, &g->packets[index], port);
}
