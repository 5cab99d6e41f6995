// Decapsulator.swift in C, function by function.
#pragma once
#include "egress.h"

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
HOT void forward_inwards(struct gateway *g, const struct packet *packet) {
  struct frame frame = packet->frame;
  if (packet->outer_ds & 3) return drop(g, frame, ECN);
  struct transport transport;
  if (read_transport(g->umem + frame.start, frame.length, &transport)) {
    bool syn = complete_checksum(g, &frame, transport);
    if (syn && g->segment_size_limit) return drop(g, frame, UNEXPECTED);
  }
  uint64_t entry = is_group(packet->destination) ? 0 : fdb_look_up(&g->fdb, packet->destination, packet->destination_home);
  if (entry) {
    uint32_t destination = fdb_destination(entry);
    if (destination & DESTINATION_VTEP) return drop(g, frame, SPLIT_HORIZON);
    struct local_port local = g->locals[destination];
    if (local.segment != packet->segment) return drop(g, frame, NO_LOCAL_PORT);
    return deliver(g, frame, local);
  }
  struct segment segment = g->segments[packet->segment];
  if (segment.local_count == 0) return drop(g, frame, NO_LOCAL_PORT);
  deliver_to_all(g, frame, segment, -1);
}
COLD void decapsulate(struct gateway *g, struct batch *batch) {
  for (size_t index = 0; index < batch->count; index++) {
    __builtin_prefetch(g->umem + batch->frames[index].start);
    __builtin_prefetch(g->umem + batch->frames[index].start + 64);
  }
  g->count = 0;
  for (size_t index = 0; index < batch->count; index++) {
    struct packet packet = {.frame = batch->frames[index]};
    int reason = read_headers(g, &packet);
    if (reason != ACCEPTED) { drop(g, batch->frames[index], reason); continue; }
    prefetch(g, &packet);
    g->packets[g->count++] = packet;
  }
  batch->count = 0;
  size_t kept = 0;
  for (size_t index = 0; index < g->count; index++) {
    const struct packet packet = g->packets[index];
    enum verdict verdict;
    if (g->learning && packet.vtep >= 0) {
      verdict = fdb_learn(&g->fdb, packet.source, packet.source_home, DESTINATION_VTEP | (uint32_t)packet.vtep, TICK);
    } else {
      verdict = (fdb_look_up(&g->fdb, packet.source, packet.source_home) & FDB_STATE) == FDB_PERMANENT ? OURS : KNOWN;
    }
    if (!judge(g, packet.frame, verdict)) continue;
    if (kept != index) g->packets[kept] = packet;
    kept++;
  }
  g->count = kept;
  for (size_t index = 0; index < g->count; index++) forward_inwards(g, &g->packets[index]);
}
