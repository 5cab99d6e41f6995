// Encapsulator.swift and FrameHeaders.swift in C, function by function.
#pragma once
#include "egress.h"

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
HOT struct inner inner_of(const uint8_t *bytes, struct transport transport, uint64_t key) {
  const uint8_t *ip = bytes + transport.ip;
  uint32_t ports = big32(bytes + transport.start);
  uint64_t from, to;
  struct inner inner;
  if (transport.ipv6) {
    inner = (struct inner){(uint8_t)(big16(ip) >> 4), true, 0};
    from = mix(big64(ip + 8), key) ^ big64(ip + 16);
    to = mix(big64(ip + 24), key) ^ big64(ip + 32);
  } else {
    inner = (struct inner){ip[1], ip[6] & 0x40, 0};
    from = big32(ip + 12);
    to = big32(ip + 16);
  }
  from ^= (uint64_t)(ports >> 16) << 32;
  to ^= (uint64_t)(ports & 0xffff) << 32;
  inner.hash = flow_hash(from, to, transport.tcp ? TCP : UDP, key);
  return inner;
}
HOT void put_outer_header(struct gateway *g, struct frame frame, struct inner inner, int vtep, uint32_t vni) {
  struct header_info info;
  if (!vtep_header_info(g->vteps, vtep, &info)) return drop(g, frame, NO_HEADER);
  size_t total = frame.length + 36, length = info_length(info);
  if (total > info_mtu(info)) return drop(g, frame, TOO_BIG);
  struct frame packet = {frame.start - (uint32_t)length, (uint16_t)(frame.length + length), frame.complete};
  uint8_t *bytes = g->umem + packet.start, *ip = bytes + length - 36, *udp = ip + 20;
  if (!vtep_write_header(g->vteps, vtep, info, bytes)) return drop(g, frame, NO_HEADER);
  uint16_t identification = ++g->identification, fragment = g->df_inherit ? (inner.dont_fragment ? 0x4000 : 0) : g->df;
  uint8_t ds = g->tos < 0 ? inner.ds : (uint8_t)((g->tos & ~3) | (inner.ds & 3));
  uint32_t sum = (uint32_t)(info.word >> 32 & 0xffff) + ds + (uint32_t)total + identification + fragment;
  ip[1] = ds;
  put16(ip + 2, (uint16_t)total);
  put16(ip + 4, identification);
  put16(ip + 6, fragment);
  put16(ip + 10, (uint16_t)~fold_word(sum));
  put16(udp, (uint16_t)(g->source_low + ((uint64_t)inner.hash * (g->source_high - g->source_low + 1ull) >> 32)));
  put16(udp + 4, (uint16_t)(total - 20));
  put32(udp + 12, vni << 8);
  send_frame(g, packet, 0);
}
COLD void flood(struct gateway *g, struct frame frame, struct inner inner, const struct packet *packet) {
  const struct segment segment = g->segments[packet->segment];
  bool alone = segment.local_count <= 1;
  if (segment.remote_count == 0 && alone) return drop(g, frame, NO_REMOTE);
  int last = segment.first_remote + segment.remote_count;
  for (int index = segment.first_remote; index < (alone ? last - 1 : last); index++) {
    struct frame copy;
    if (replicate(g, frame, &copy)) put_outer_header(g, copy, inner, g->remotes[index], segment.vni);
  }
  if (alone) put_outer_header(g, frame, inner, g->remotes[last - 1], segment.vni);
  else deliver_to_all(g, frame, segment, packet->local);
}
HOT int read_addresses(struct gateway *g, struct packet *packet) {
  const uint8_t *bytes = g->umem + packet->frame.start;
  if (packet->frame.length < 14) return TOO_SMALL;
  uint64_t to = mac(bytes), from = mac(bytes + 6);
  if (is_group(from) || from == 0) return MAC_SOURCE;
  if ((to & ~0xfull) == 0x0180c2000000) return LINK_LOCAL;
  packet->segment = g->locals[packet->local].segment;
  if (is_tag(big16(bytes + 12)) && !g->segments[packet->segment].keeps_inner_tags) return INNER_VLAN;
  packet->destination = fdb_key(packet->segment, to);
  packet->source = fdb_key(packet->segment, from);
  return ACCEPTED;
}
HOT void forward_outwards(struct gateway *g, const struct packet *packet) {
  struct frame frame = packet->frame;
  struct transport transport;
  if (!read_transport(g->umem + frame.start, frame.length, &transport)) return drop(g, frame, UNEXPECTED);
  bool syn = complete_checksum(g, &frame, transport);
  struct inner inner = inner_of(g->umem + frame.start, transport, g->hash_key);
  uint64_t entry = is_group(packet->destination) ? 0 : fdb_look_up(&g->fdb, packet->destination, packet->destination_home);
  if (!entry) return flood(g, frame, inner, packet);
  uint32_t destination = fdb_destination(entry);
  if (destination & DESTINATION_VTEP) {
    if (syn && g->segment_size_limit) return drop(g, frame, UNEXPECTED);
    return put_outer_header(g, frame, inner, destination & 0x3fff, g->segments[packet->segment].vni);
  }
  struct local_port local = g->locals[destination];
  if ((int)destination == packet->local) drop(g, frame, SAME_PORT);
  else if (local.segment == packet->segment) deliver(g, frame, local);
  else drop(g, frame, NO_LOCAL_PORT);
}
COLD void encapsulate(struct gateway *g, struct batch *batch, int port) {
  for (size_t index = 0; index < batch->count; index++) {
    __builtin_prefetch(g->umem + batch->frames[index].start);
    __builtin_prefetch(g->umem + batch->frames[index].start - 64);
  }
  g->count = 0;
  for (size_t index = 0; index < batch->count; index++) {
    struct packet packet = {.frame = batch->frames[index], .local = g->untagged[port]};
    int reason = read_addresses(g, &packet);
    if (reason != ACCEPTED) { drop(g, batch->frames[index], reason); continue; }
    prefetch(g, &packet);
    g->packets[g->count++] = packet;
  }
  batch->count = 0;
  size_t kept = 0;
  for (size_t index = 0; index < g->count; index++) {
    const struct packet packet = g->packets[index];
    enum verdict verdict = fdb_learn(&g->fdb, packet.source, packet.source_home, (uint32_t)packet.local, TICK);
    if (!judge(g, packet.frame, verdict)) continue;
    if (kept != index) g->packets[kept] = packet;
    kept++;
  }
  g->count = kept;
  for (size_t index = 0; index < g->count; index++) forward_outwards(g, &g->packets[index]);
}
