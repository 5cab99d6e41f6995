// What all tables in C are made of: words that several threads may read and write.
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
HOT void add(uint64_t *at, uint64_t amount) { __atomic_fetch_add(at, amount, __ATOMIC_ACQ_REL); }
HOT bool exchange(uint64_t *at, uint64_t old, uint64_t new) {
  return __atomic_compare_exchange_n(at, &old, new, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}
// A counter that one thread writes.
HOT void count(uint64_t *at, uint64_t amount) { __atomic_store_n(at, load_relaxed(at) + amount, __ATOMIC_RELAXED); }

static inline void *zeroed_pages(size_t size) {
  void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) abort();
  return memory;
}
