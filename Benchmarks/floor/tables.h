// VTEPs and segments in C, as in Sources/Datapath: same layout, same memory order, same probing.
#pragma once
#include "fdb.h"

// VTEPs (VTEPTable.swift): slots of 16 words: state, address, version of the header, its length, MTU and sum, its bytes,
// port and VNI.

enum { VTEP_CAPACITY = 16384, VTEP_WORDS = 16, VTEP_LISTED = 0x100, PORT = 4789 };

static inline size_t vtep_home(uint32_t address) {
  uint64_t low = 0xffff00000000 | address;
  uint64_t hash = ((0x9e3779b97f4a7c15 * 0xd6e8feb86659fd93) ^ low ^ (uint64_t)PORT << 32) * 0x9e3779b97f4a7c15;
  return hash >> 40 & (VTEP_CAPACITY - 1);
}

static inline int vtep_index(const uint64_t *vteps, uint32_t address) {
  for (size_t slot = vtep_home(address);; slot = (slot + 1) & (VTEP_CAPACITY - 1)) {
    const uint64_t *words = vteps + slot * VTEP_WORDS;
    uint64_t state = load(words) & 0xff;
    if (state == 0) return -1;
    if (state != 2 || load_relaxed(words + 1) != 0 || load_relaxed(words + 2) != (0xffff00000000 | address)) continue;
    if (load_relaxed(words + 15) == PORT) return (int)slot;
  }
}

static inline int vtep_add(uint64_t *vteps, uint32_t address) {
  size_t slot = vtep_home(address);
  while (load(vteps + slot * VTEP_WORDS)) slot = (slot + 1) & (VTEP_CAPACITY - 1);
  store(vteps + slot * VTEP_WORDS + 2, 0xffff00000000 | address);
  store(vteps + slot * VTEP_WORDS + 15, PORT);
  store(vteps + slot * VTEP_WORDS, 2);
  return (int)slot;
}

// `length` is no multiple of 8: the last word overlaps.
static inline void vtep_publish(uint64_t *vteps, int index, const uint8_t *header, size_t length, uint16_t mtu) {
  uint64_t *slot = vteps + index * VTEP_WORDS, sum = 0;
  for (int offset = 14; offset < 34; offset += 2) sum += header[offset] << 8 | header[offset + 1];
  sum = (sum & 0xffff) + (sum >> 16);
  for (size_t offset = 0; offset + 8 <= length; offset += 8) memcpy(slot + 5 + offset / 8, header + offset, 8);
  memcpy(slot + 5 + length / 8, header + length - 8, 8);
  store(slot + 4, length | (uint64_t)mtu << 16 | sum << 32);
  store(slot + 3, 2);
}

struct header_info {
  uint64_t word, version;
};
HOT size_t info_length(struct header_info info) { return info.word & 0xff; }
HOT size_t info_mtu(struct header_info info) { return info.word >> 16 & 0xffff; }

HOT bool vtep_header_info(const uint64_t *vteps, int index, struct header_info *info) {
  const uint64_t *slot = vteps + (size_t)index * VTEP_WORDS;
  info->version = load(slot + 3);
  info->word = load_relaxed(slot + 4);
  return (info->version & 1) == 0 && info_length(*info) != 0;
}

// False: the header changed while it was copied.
HOT bool vtep_write_header(const uint64_t *vteps, int index, struct header_info info, uint8_t *packet) {
  const uint64_t *slot = vteps + (size_t)index * VTEP_WORDS, *word = slot + 5;
  size_t length = info_length(info);
  for (size_t offset = 0; offset + 8 <= length; offset += 8) {
    uint64_t value = load_relaxed(word++);
    memcpy(packet + offset, &value, 8);
  }
  uint64_t value = load_relaxed(word);
  memcpy(packet + length - 8, &value, 8);
  __atomic_thread_fence(__ATOMIC_ACQUIRE);
  return load_relaxed(slot + 3) == info.version;
}

// Local ports, which FDB entries name by number, and segments (Topology.swift).

struct local_port {
  int32_t segment;
  uint8_t port;
  bool is_wire;
};

struct segment {
  uint32_t vni;
  bool keeps_inner_tags;
  int32_t first_remote, remote_count, first_local, local_count;
};

// By VNI: VNI << 32 | segment; all ones is empty.
HOT size_t vni_hash(uint32_t vni) { return (vni * 0x9e3779b9) >> 12; }

HOT int vni_segment(const uint64_t *table, size_t size, uint32_t vni) {
  for (size_t slot = vni_hash(vni) & (size - 1);; slot = (slot + 1) & (size - 1)) {
    if (table[slot] == UINT64_MAX) return -1;
    if (table[slot] >> 32 == vni) return (int)(uint32_t)table[slot];
  }
}
