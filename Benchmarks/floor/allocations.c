// Counts what the program it is preloaded into takes from the C library's heap, and says so on standard error at the end.
#include <stddef.h>
#include <stdio.h>

// The C library's own, under the names that stay when these are replaced.
extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t), *__libc_memalign(size_t, size_t);

static unsigned long calls;
static void count(void) { __atomic_fetch_add(&calls, 1, __ATOMIC_RELAXED); }

void *malloc(size_t size) { count(); return __libc_malloc(size); }
void *calloc(size_t number, size_t size) { count(); return __libc_calloc(number, size); }
void *realloc(void *old, size_t size) { count(); return __libc_realloc(old, size); }
void *memalign(size_t alignment, size_t size) { count(); return __libc_memalign(alignment, size); }
void *aligned_alloc(size_t alignment, size_t size) { count(); return __libc_memalign(alignment, size); }
int posix_memalign(void **result, size_t alignment, size_t size) {
  count();
  *result = __libc_memalign(alignment, size);
  return *result ? 0 : 12; // ENOMEM
}

__attribute__((destructor)) static void report(void) {
  unsigned long total = __atomic_load_n(&calls, __ATOMIC_RELAXED);
  fprintf(stderr, "allocations: %lu\n", total);
}
