// The forwarding database in C, as in Sources/Datapath/FDB*.swift: same layout, same memory order, same probing.
#pragma once
#include "atomics.h"

// Buckets of 8 words: how many entries passed by, one to spare, three times key and value.
// Value: tick << 32 | destination << 16 | generation | state.

enum { FDB_REACH = 8, FDB_LEARNED = 1, FDB_PERMANENT = 3, FDB_STATE = 3, FDB_GENERATION = 0xfffc, DESTINATION_VTEP = 0x8000 };
enum verdict { KNOWN, ADDED, MOVED, CONFLICT, OURS, FULL };
// Learned entries are counted per local port and VTEP, and all entries in the last word.
enum { LOCAL_PORTS = 8192, HOLDERS = LOCAL_PORTS + 16384 };

struct fdb {
  uint64_t *words, *holders;
  size_t size, limit;
  uint64_t seed;
  int shift;
};
struct place {
  size_t bucket, slot;
  uint64_t key, word;
};

static inline struct fdb fdb_new(size_t limit) {
  size_t buckets = 16;
  while (buckets * 2 < limit) buckets *= 2;
  size_t size = (buckets + FDB_REACH) * 8;
  return (struct fdb){zeroed_pages(size * 8), zeroed_pages((HOLDERS + 1) * 8), size, limit, 0x5eed, 64 - __builtin_ctzll(buckets)};
}

// The first word of the key's bucket.
HOT size_t fdb_home(const struct fdb *fdb, uint64_t key) {
  uint64_t hash = (key ^ fdb->seed) * 0x9e3779b97f4a7c15;
  hash ^= hash >> 32;
  return ((hash * 0xd6e8feb86659fd93) >> fdb->shift) * 8;
}
HOT uint32_t fdb_prefetch(const struct fdb *fdb, uint64_t key) {
  size_t home = fdb_home(fdb, key);
  __builtin_prefetch(fdb->words + home);
  return (uint32_t)home;
}

// The value in `slot` of a bucket, or 0: the slot's generation tells that it is this key's.
HOT uint64_t fdb_value(const uint64_t *bucket, size_t slot, uint64_t key) {
  uint64_t value = load(bucket + slot + 1);
  if (!(value & FDB_STATE) || load(bucket + slot) != key) return 0;
  return ((load(bucket + slot + 1) ^ value) & FDB_GENERATION) == 0 ? value : 0;
}

// The first place of `key`, or the first behind the slot `last`.
HOT bool fdb_find(const struct fdb *fdb, uint64_t key, size_t last, struct place *place) {
  size_t start = fdb_home(fdb, key);
  for (size_t bucket = start; bucket < start + FDB_REACH * 8; bucket += 8) {
    uint64_t passed_by = load(fdb->words + bucket);
    for (size_t slot = 2; slot < 8; slot += 2) {
      if (bucket + slot <= last || load(fdb->words + bucket + slot) != key) continue;
      uint64_t word = fdb_value(fdb->words + bucket, slot, key);
      if (!word) continue;
      *place = (struct place){bucket, bucket + slot, key, word};
      return true;
    }
    if (passed_by == 0) return false;
  }
  return false;
}

COLD uint64_t fdb_look_up_again(const struct fdb *fdb, uint64_t key) {
  struct place place;
  return fdb_find(fdb, key, 0, &place) ? place.word & ~(uint64_t)FDB_GENERATION : 0;
}
HOT size_t fdb_likely_slot(const uint64_t *bucket, uint64_t key) {
  size_t behind = load(bucket + 4) == key ? 4 : 6;
  return load(bucket + 2) == key ? 2 : behind;
}
// 0: no entry.
HOT uint64_t fdb_look_up(const struct fdb *fdb, uint64_t key, uint32_t home) {
  const uint64_t *bucket = fdb->words + home, *end = bucket + FDB_REACH * 8;
  for (; bucket < end; bucket += 8) {
    uint64_t passed_by = load(bucket);
    size_t slot = fdb_likely_slot(bucket, key);
    if (load(bucket + slot) == key) {
      uint64_t value = fdb_value(bucket, slot, key);
      return value ? value & ~(uint64_t)FDB_GENERATION : fdb_look_up_again(fdb, key);
    }
    if (passed_by == 0) return 0;
  }
  return 0;
}

HOT uint32_t fdb_destination(uint64_t value) { return value >> 16 & 0xffff; }
HOT uint64_t *fdb_holder(const struct fdb *fdb, uint64_t value) {
  uint32_t destination = fdb_destination(value);
  return fdb->holders + (destination & DESTINATION_VTEP ? LOCAL_PORTS + (destination & 0x3fff) : destination & 0x3fff);
}
HOT void fdb_count(const struct fdb *fdb, uint64_t value, uint64_t change) {
  if ((value & FDB_STATE) == FDB_LEARNED) add(fdb_holder(fdb, value), change);
}
HOT void fdb_uncount_passing(const struct fdb *fdb, size_t start, size_t end) {
  for (; start < end; start += 8) add(fdb->words + start, -1ull);
}

// False: the value has changed since it was found.
COLD bool fdb_take(const struct fdb *fdb, const struct place *place) {
  uint64_t ended = ((place->word | FDB_STATE) + 1) & FDB_GENERATION;
  if (!exchange(fdb->words + place->slot + 1, place->word, ended)) return false;
  store(fdb->words + place->slot, 0);
  fdb_uncount_passing(fdb, fdb_home(fdb, place->key), place->bucket);
  add(fdb->holders + HOLDERS, -1ull);
  fdb_count(fdb, place->word, -1ull);
  return true;
}
HOT void fdb_remove_twins(const struct fdb *fdb, uint64_t key) {
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
  struct place first, second;
  while (fdb_find(fdb, key, 0, &first) && fdb_find(fdb, key, first.slot, &second)) {
    if (load(fdb->words + first.slot + 1) != first.word) continue;
    bool yields = (first.word & FDB_STATE) == FDB_LEARNED && (second.word & FDB_STATE) != FDB_LEARNED;
    fdb_take(fdb, yields ? &first : &second);
  }
}
HOT bool fdb_insert(const struct fdb *fdb, uint64_t key, uint64_t value) {
  size_t start = fdb_home(fdb, key), bucket = start;
  for (; bucket < start + FDB_REACH * 8; bucket += 8) {
    for (size_t slot = bucket + 2; slot < bucket + 8; slot += 2) {
      if (load(fdb->words + slot) != 0 || !exchange(fdb->words + slot, 0, key)) continue;
      store(fdb->words + slot + 1, value | load(fdb->words + slot + 1));
      add(fdb->holders + HOLDERS, 1);
      fdb_count(fdb, value, 1);
      fdb_remove_twins(fdb, key);
      return true;
    }
    add(fdb->words + bucket, 1);
  }
  fdb_uncount_passing(fdb, start, bucket);
  return false;
}

// No eviction: nothing that is measured fills the table beyond its limit.
COLD enum verdict fdb_update(const struct fdb *fdb, uint64_t key, uint32_t destination, uint32_t tick) {
  uint64_t value = (uint64_t)tick << 32 | (uint64_t)destination << 16 | FDB_LEARNED;
  struct place place;
  while (fdb_find(fdb, key, 0, &place)) {
    uint64_t old = place.word;
    bool same = fdb_destination(old) == destination;
    if ((old & FDB_STATE) != FDB_LEARNED) return same ? KNOWN : (old & FDB_STATE) == FDB_PERMANENT ? OURS : CONFLICT;
    if (same && (int32_t)((uint32_t)(old >> 32) - tick) >= 0) return KNOWN;
    if (!exchange(fdb->words + place.slot + 1, old, value | (old & FDB_GENERATION))) continue;
    if (same) return KNOWN;
    fdb_count(fdb, old, -1ull);
    fdb_count(fdb, value, 1);
    return MOVED;
  }
  if (load_relaxed(fdb->holders + HOLDERS) >= fdb->limit) return FULL;
  return fdb_insert(fdb, key, value) ? ADDED : FULL;
}
HOT enum verdict fdb_learn(const struct fdb *fdb, uint64_t key, uint32_t home, uint32_t destination, uint32_t tick) {
  uint64_t value = (uint64_t)tick << 32 | (uint64_t)destination << 16 | FDB_LEARNED;
  return fdb_look_up(fdb, key, home) == value ? KNOWN : fdb_update(fdb, key, destination, tick);
}

static inline bool fdb_remove(const struct fdb *fdb, uint64_t key) {
  struct place place;
  while (fdb_find(fdb, key, 0, &place)) if (fdb_take(fdb, &place)) return true;
  return false;
}

// How many were taken out.
static inline size_t fdb_age(const struct fdb *fdb, uint32_t tick, uint32_t ageing, uint32_t *earliest) {
  size_t aged = 0;
  bool ages = false;
  for (size_t bucket = 0; bucket < fdb->size; bucket += 8) {
    for (size_t slot = 2; slot < 8; slot += 2) {
      uint64_t key = load(fdb->words + bucket + slot), word = key ? fdb_value(fdb->words + bucket, slot, key) : 0;
      if ((word & FDB_STATE) != FDB_LEARNED) continue;
      uint32_t seen = (uint32_t)(word >> 32), due = seen + ageing + 1;
      if ((int64_t)(int32_t)(tick - seen) > (int64_t)ageing) {
        struct place place = {bucket, bucket + slot, key, word};
        aged += fdb_take(fdb, &place);
      } else if (!ages || (int32_t)(due - *earliest) < 0) {
        *earliest = due;
        ages = true;
      }
    }
  }
  return aged;
}
