// Operations of the FDB alone, as Table.swift has them.
#pragma once
#include "gateway.h"

enum operation { LOOK_UP, MISS, LEARN, REFRESH, MOVE, AGE, OPERATIONS };
static const char *const operation_names[] = {"look-up", "miss", "learn", "refresh", "move", "age"};
enum { AGEING = 300 };

struct table {
  enum operation operation;
  struct fdb fdb;
  size_t count, batch, done; // keys; keys at a time; operations that came to what they should
  uint64_t *keys;
  uint32_t homes[BATCH_LIMIT];
  uint32_t tick, vtep;
};

static void learn_all(struct table *t, enum verdict expected) {
  uint32_t destination = DESTINATION_VTEP | t->vtep;
  for (size_t first = 0; first < t->count; first += t->batch) {
    size_t last = first + t->batch < t->count ? first + t->batch : t->count;
    for (size_t index = first; index < last; index++) t->homes[index - first] = fdb_prefetch(&t->fdb, t->keys[index]);
    for (size_t index = first; index < last; index++) {
      t->done += fdb_learn(&t->fdb, t->keys[index], t->homes[index - first], destination, t->tick) == expected;
    }
  }
}
static void look_up_all(struct table *t, bool hit) {
  for (size_t first = 0; first < t->count; first += t->batch) {
    size_t last = first + t->batch < t->count ? first + t->batch : t->count;
    for (size_t index = first; index < last; index++) t->homes[index - first] = fdb_prefetch(&t->fdb, t->keys[index]);
    for (size_t index = first; index < last; index++) {
      t->done += (fdb_look_up(&t->fdb, t->keys[index], t->homes[index - first]) != 0) == hit;
    }
  }
}
static void table_pass(struct table *t) {
  uint32_t earliest;
  switch (t->operation) {
  case LOOK_UP: look_up_all(t, true); break;
  case MISS: look_up_all(t, false); break;
  case LEARN: learn_all(t, ADDED); break;
  case REFRESH: t->tick++; learn_all(t, KNOWN); break;
  case MOVE: t->vtep ^= 1; learn_all(t, MOVED); break;
  case AGE: t->done += fdb_age(&t->fdb, t->tick + AGEING + 1, AGEING, &earliest); break;
  case OPERATIONS: break;
  }
}
// What has to be done before the next pass.
static void table_reset(struct table *t) {
  size_t done = t->done;
  if (t->operation == LEARN) for (size_t index = 0; index < t->count; index++) fdb_remove(&t->fdb, t->keys[index]);
  if (t->operation == AGE) learn_all(t, ADDED);
  t->done = done;
}

// The keys are those that find a place: of as many as the table may hold, one in some hundreds does not. At least 4096
// look-ups a pass.
static struct table *table_new(const struct setup *setup, enum operation operation) {
  struct table *t = zeroed_pages(sizeof *t);
  t->operation = operation;
  t->batch = setup->batch;
  t->fdb = fdb_new(setup->macs > 1024 ? setup->macs : 1024);
  bool looks_up = operation == LOOK_UP || operation == MISS;
  t->keys = malloc(sizeof *t->keys * (setup->macs > 4096 ? setup->macs : 4096));
  for (size_t index = 0; index < setup->macs; index++) {
    uint64_t key = next_address(KNOWN_BLOCK, index);
    if (fdb_learn(&t->fdb, key, (uint32_t)fdb_home(&t->fdb, key), DESTINATION_VTEP, 0) == ADDED) t->keys[t->count++] = key;
  }
  if (operation == MISS) for (size_t index = 0; index < t->count; index++) t->keys[index] = next_address(UNKNOWN_BLOCK, index);
  for (; looks_up && t->count < 4096; t->count++) t->keys[t->count] = t->keys[t->count - setup->macs];
  if (operation == LEARN) table_reset(t);
  return t;
}
