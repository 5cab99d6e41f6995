// The data path's tables in C, as in Sources/Datapath: same layout, same memory order, same probing. What the compiler
// makes of them is the floor that the Swift code is measured against.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define HOT static inline __attribute__((always_inline))
#define COLD static __attribute__((noinline))

HOT uint64_t load(const uint64_t *at) { return __atomic_load_n(at, __ATOMIC_ACQUIRE); }
HOT uint64_t load_relaxed(const uint64_t *at) { return __atomic_load_n(at, __ATOMIC_RELAXED); }
HOT void store(uint64_t *at, uint64_t value) { __atomic_store_n(at, value, __ATOMIC_RELEASE); }
HOT void count(uint64_t *at, uint64_t amount) { __atomic_store_n(at, load_relaxed(at) + amount, __ATOMIC_RELAXED); }

static inline void *zeroed_pages(size_t size) {
  void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) abort();
  return memory;
}

// FDB (FDB.swift): buckets of 8 words: how many entries passed by, one to spare, three times key and value.
// Value: tick << 32 | destination << 16 | generation | state.

enum { FDB_REACH = 8, FDB_LEARNED = 1, FDB_PERMANENT = 3, FDB_STATE = 3, FDB_GENERATION = 0xfffc, DESTINATION_VTEP = 0x8000 };
enum verdict { KNOWN, ADDED, MOVED, CONFLICT, OURS, FULL };

struct fdb {
  uint64_t *words;
  uint64_t seed;
  int shift;
};

static inline struct fdb fdb_new(size_t limit) {
  size_t buckets = 16;
  while (buckets * 2 < limit) buckets *= 2;
  return (struct fdb){zeroed_pages((buckets + FDB_REACH) * 64), 0x5eed, 64 - __builtin_ctzll(buckets)};
}

HOT size_t fdb_home(const struct fdb *fdb, uint64_t key) {
  uint64_t hash = (key ^ fdb->seed) * 0x9e3779b97f4a7c15;
  hash ^= hash >> 32;
  return (hash * 0xd6e8feb86659fd93) >> fdb->shift;
}

HOT void fdb_prefetch(const struct fdb *fdb, uint64_t key) { __builtin_prefetch(fdb->words + fdb_home(fdb, key) * 8); }

// 0: no entry.
HOT uint64_t fdb_look_up(const struct fdb *fdb, uint64_t key) {
  const uint64_t *bucket = fdb->words + fdb_home(fdb, key) * 8, *end = bucket + FDB_REACH * 8;
  for (; bucket < end; bucket += 8) {
    uint64_t passed_by = load(bucket);
    for (int slot = 2; slot < 8; slot += 2) {
      if (load(bucket + slot) != key) continue;
      // The slot's generation tells that the value is this key's.
      uint64_t value = load(bucket + slot + 1);
      if (!(value & FDB_STATE) || load(bucket + slot) != key) continue;
      if (((load(bucket + slot + 1) ^ value) & FDB_GENERATION) == 0) return value & ~(uint64_t)FDB_GENERATION;
    }
    if (passed_by == 0) return 0;
  }
  return 0;
}

// One thread, no eviction: in what is measured every source is known, so this only fills the table.
COLD enum verdict fdb_update(const struct fdb *fdb, uint64_t key, uint64_t value) {
  uint64_t *bucket = fdb->words + fdb_home(fdb, key) * 8;
  for (int step = 0; step < FDB_REACH; step++, bucket += 8) {
    for (int slot = 2; slot < 8; slot += 2) {
      uint64_t found = load(bucket + slot), old = load(bucket + slot + 1);
      if (found != 0 && found != key) continue;
      if (found == key && (old & FDB_STATE) != FDB_LEARNED) return (old & FDB_STATE) == FDB_PERMANENT ? OURS : CONFLICT;
      store(bucket + slot, key);
      store(bucket + slot + 1, value);
      return found == 0 ? ADDED : (old ^ value) << 32 ? MOVED : KNOWN;
    }
    __atomic_fetch_add(bucket, 1, __ATOMIC_SEQ_CST);
  }
  return FULL;
}

HOT enum verdict fdb_learn(const struct fdb *fdb, uint64_t key, uint32_t destination, uint32_t tick) {
  uint64_t value = (uint64_t)tick << 32 | (uint64_t)destination << 16 | FDB_LEARNED;
  return fdb_look_up(fdb, key) == value ? KNOWN : fdb_update(fdb, key, value);
}

// VTEPs (VTEPTable.swift): slots of 16 words: state, address, version of the header, its length, MTU and sum, its bytes.

enum { VTEP_CAPACITY = 16384, VTEP_WORDS = 16, VTEP_LISTED = 0x100 };

static inline size_t vtep_home(uint32_t address) {
  uint64_t low = 0xffff00000000 | address;
  return (((0x9e3779b97f4a7c15 * 0xd6e8feb86659fd93) ^ low) * 0x9e3779b97f4a7c15) >> 40 & (VTEP_CAPACITY - 1);
}

static inline int vtep_index(const uint64_t *vteps, uint32_t address) {
  for (size_t slot = vtep_home(address);; slot = (slot + 1) & (VTEP_CAPACITY - 1)) {
    uint64_t state = load(vteps + slot * VTEP_WORDS) & 0xff;
    if (state == 0) return -1;
    if (state == 2 && load_relaxed(vteps + slot * VTEP_WORDS + 2) == (0xffff00000000 | address)) return (int)slot;
  }
}

static inline int vtep_add(uint64_t *vteps, uint32_t address) {
  size_t slot = vtep_home(address);
  while (load(vteps + slot * VTEP_WORDS)) slot = (slot + 1) & (VTEP_CAPACITY - 1);
  store(vteps + slot * VTEP_WORDS + 2, 0xffff00000000 | address);
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

// Segments by VNI (Topology.swift): VNI << 32 | segment; all ones is empty.

struct segment {
  uint32_t vni;
  bool keeps_inner_tags;
  uint64_t ports;
  int32_t first_remote, remote_count;
};

HOT size_t vni_hash(uint32_t vni) { return (vni * 0x9e3779b9) >> 12; }

HOT int vni_segment(const uint64_t *table, size_t size, uint32_t vni) {
  for (size_t slot = vni_hash(vni) & (size - 1);; slot = (slot + 1) & (size - 1)) {
    if (table[slot] == UINT64_MAX) return -1;
    if (table[slot] >> 32 == vni) return (int)(uint32_t)table[slot];
  }
}
