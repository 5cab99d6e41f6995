// What both directions share, in C: Egress.swift, TransportHeader.swift, PartialChecksum.swift.
#pragma once
#include "tables.h"

enum { CHUNK = 2048, BATCH_LIMIT = 256, HEADROOM = 256, OVERHEAD = 50, INNER = 64, VNI = 4100, TICK = 5 };
enum { LOCAL = 0xc0000201, REMOTE = 0xc6120001, TCP = 6, UDP = 17, IPV4 = 0x0800, IPV6 = 0x86dd };
enum { TOO_SMALL, IP_HEADER, IP_CHECKSUM, FRAGMENT, IP_DESTINATION, IP_SOURCE, UDP_LENGTH, VXLAN_HEADER, NO_VNI, NOT_LISTED,
       MAC_SOURCE, LOCAL_MAC, EXISTS, LINK_LOCAL, INNER_VLAN, ECN, NO_LOCAL_PORT, SPLIT_HORIZON, SAME_PORT, NO_REMOTE, TOO_BIG,
       NO_HEADER, NO_MEMORY, UNEXPECTED, REPLICATED, LEARNED, RELEARNED, TABLE_FULL, COMPLETED, COUNTERS };
enum { ACCEPTED = -1 };
enum { RX_FRAMES, RX_BYTES, TX_FRAMES, TX_BYTES };

struct frame {
  uint32_t start;
  uint16_t length;
  bool complete; // the transport checksum is
};
struct batch {
  struct frame frames[BATCH_LIMIT];
  size_t count;
};
struct packet {
  struct frame frame;
  int32_t segment, vtep, local; // a VTEP, or a local port
  uint64_t source, destination;
  uint32_t source_home, destination_home;
  uint8_t outer_ds;
};
struct gateway {
  uint8_t *umem;
  uint32_t *pool;
  size_t free, frame_count, batch;
  struct batch outgoing[2];
  uint64_t counters[COUNTERS], ports[2][4];
  struct fdb fdb;
  uint64_t *vteps, *vnis;
  size_t vni_size;
  struct segment *segments;
  struct local_port *locals;
  int32_t *remotes, *members, untagged[2];
  bool learning, only_listed;
  uint32_t local, last_source, last_vni;
  int last_vtep, last_segment;
  uint16_t port, segment_size_limit, source_low, source_high, identification;
  int tos; // -1: inherit
  uint16_t df;
  bool df_inherit;
  uint64_t hash_key;
  struct packet packets[BATCH_LIMIT];
  size_t count;
  struct frame *replay;
  size_t next;
};

HOT uint16_t big16(const uint8_t *at) { uint16_t value; memcpy(&value, at, 2); return __builtin_bswap16(value); }
HOT uint32_t big32(const uint8_t *at) { uint32_t value; memcpy(&value, at, 4); return __builtin_bswap32(value); }
HOT uint64_t big64(const uint8_t *at) { uint64_t value; memcpy(&value, at, 8); return __builtin_bswap64(value); }
HOT uint64_t mac(const uint8_t *at) { return (uint64_t)big32(at) << 16 | big16(at + 4); }
HOT void put16(uint8_t *at, uint16_t value) { value = __builtin_bswap16(value); memcpy(at, &value, 2); }
HOT void put32(uint8_t *at, uint32_t value) { value = __builtin_bswap32(value); memcpy(at, &value, 4); }
HOT bool is_tag(uint16_t type) { return type == 0x8100 || type == 0x88a8; }
HOT uint16_t fold_word(uint32_t sum) { return (uint16_t)((sum + (sum << 16 | sum >> 16)) >> 16); }
HOT uint16_t fold(uint64_t sum) {
  return fold_word((uint32_t)((sum + (sum << 32 | sum >> 32)) >> 32));
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
    if (batch->frames[index].start >= g->frame_count * CHUNK) release(g, batch->frames[index]);
  }
  count(&g->ports[port][TX_FRAMES], batch->count);
  count(&g->ports[port][TX_BYTES], bytes);
  batch->count = 0;
}
HOT void send_frame(struct gateway *g, struct frame frame, int port) {
  if (g->outgoing[port].count == g->batch) flush(g, port);
  g->outgoing[port].frames[g->outgoing[port].count++] = frame;
}
HOT void deliver(struct gateway *g, struct frame frame, struct local_port local) {
  if (local.is_wire && frame.length < 60 && (frame.start & (CHUNK - 1)) + 60 <= CHUNK) {
    memset(g->umem + frame.start + frame.length, 0, 60 - frame.length);
    frame.length = 60;
  }
  send_frame(g, frame, local.port);
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

// To every local port of the segment but `ingress`; there is one.
COLD void deliver_to_all(struct gateway *g, struct frame frame, struct segment segment, int ingress) {
  int last = -1;
  for (int index = segment.first_local; index < segment.first_local + segment.local_count; index++) {
    int number = g->members[index];
    if (number == ingress) continue;
    struct frame copy;
    if (last >= 0 && replicate(g, frame, &copy)) deliver(g, copy, g->locals[last]);
    last = number;
  }
  deliver(g, frame, g->locals[last]);
}

// Decapsulator.swift and Encapsulator.swift both

HOT void prefetch(struct gateway *g, struct packet *packet) {
  packet->source_home = fdb_prefetch(&g->fdb, packet->source);
  packet->destination_home = fdb_prefetch(&g->fdb, packet->destination);
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

// TransportHeader.swift: offsets of the IP and the transport header and of the packet's end.
struct transport {
  size_t ip, start, end;
  bool ipv6, tcp;
};
HOT bool read_transport(const uint8_t *bytes, size_t length, struct transport *transport) {
  size_t ip = 14;
  if (ip + 20 > length) return false;
  uint16_t type = big16(bytes + 12);
  for (int tags = 0; is_tag(type); type = big16(bytes + ip - 2)) {
    ip += 4;
    if (++tags > 2 || ip + 20 > length) return false;
  }
  uint8_t number;
  if (type == IPV4) {
    size_t header = (bytes[ip] & 0xf) * 4;
    if (bytes[ip] >> 4 != 4 || header < 20 || (big16(bytes + ip + 6) & 0x3fff)) return false;
    *transport = (struct transport){ip, ip + header, ip + big16(bytes + ip + 2), false, false};
    number = bytes[ip + 9];
  } else if (type == IPV6) {
    if (bytes[ip] >> 4 != 6) return false;
    *transport = (struct transport){ip, ip + 40, ip + 40 + big16(bytes + ip + 4), true, false};
    number = bytes[ip + 6];
  } else {
    return false;
  }
  transport->tcp = number == TCP;
  if (number != TCP && number != UDP) return false;
  return transport->start + (number == TCP ? 20 : 8) <= transport->end && transport->end <= length;
}
// PartialChecksum.swift: the field equals the pseudo-header's sum when the kernel left it to a NIC. True: a TCP SYN.
HOT bool complete_checksum(struct gateway *g, struct frame *frame, struct transport transport) {
  uint8_t *bytes = g->umem + frame->start, *ip = bytes + transport.ip;
  if (!frame->complete) {
    uint64_t sum = (transport.tcp ? TCP : UDP) + (transport.end - transport.start);
    if (!transport.ipv6) sum += (uint64_t)big32(ip + 12) + big32(ip + 16);
    else for (size_t at = 8; at < 40; at += 4) sum += big32(ip + at);
    size_t field = transport.start + (transport.tcp ? 16 : 6);
    if (big16(bytes + field) == fold(sum)) {
      complete(bytes, transport.start, transport.end, field);
      count(&g->counters[COMPLETED], 1);
    }
    frame->complete = true;
  }
  return transport.tcp && (bytes[transport.start + 13] & 0x02);
}
