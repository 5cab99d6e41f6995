// What the data path costs in C: decapsulation and encapsulation by the same steps as Sources/Datapath, on the same tables,
// over the same frames as vxgw-bench; the FDB alone; and, as "memory", what no code can do without: reading a line of each
// frame and writing 64 bytes in front of it. It checks, counts, learns and prefetches as much as the Swift code; it leaves out
// what no packet of the benchmark meets (waiting for neighbours, ECN propagation) but not the tests that lead there.
//
//     floor CASE [macs=N] [vteps=N] [vnis=N] [batch=N] [frames=N] [passes=N] [samples=N]
//
// Prints nanoseconds per operation, and how many were done.
#include "table.h"
#include <stdio.h>
#include <time.h>

struct run {
  struct gateway *gateway; // of a case with frames
  struct table *table;     // of the others
  bool only_memory;
  int from;
  uint64_t sum;
  struct batch batch;
};

static void touch_memory(struct run *run, const struct gateway *g) {
  for (size_t first = 0; first < g->frame_count; first += g->batch) {
    for (size_t index = first; index < first + g->batch; index++) __builtin_prefetch(g->umem + g->replay[index].start);
    for (size_t index = first; index < first + g->batch; index++) {
      uint8_t *frame = g->umem + g->replay[index].start;
      uint64_t word = big64(frame);
      run->sum += word;
      for (size_t offset = 0; offset < 64; offset += 8) memcpy(frame - 64 + offset, &word, 8);
    }
  }
}

// One pass over all frames or keys: what is timed, and what callgrind counts (it finds the function by its name).
__attribute__((noinline)) void measured(struct run *run) {
  struct gateway *g = run->gateway;
  if (run->table) table_pass(run->table);
  else if (run->only_memory) touch_memory(run, g);
  else for (size_t round = 0; round < g->frame_count / g->batch; round++) round_of(g, &run->batch, run->from);
}

static double nanoseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1e9 + now.tv_nsec;
}
static double timed_pass(struct run *run) {
  double start = nanoseconds();
  measured(run);
  double end = nanoseconds();
  if (run->table) table_reset(run->table);
  return end - start;
}
static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static bool parse(struct setup *setup, int argc, char **argv) {
  static const char *const names[] = {"macs=", "vteps=", "vnis=", "batch=", "frames=", "passes=", "samples="};
  size_t *const values[] = {&setup->macs, &setup->vteps, &setup->vnis, &setup->batch, &setup->frames, &setup->passes, &setup->samples};
  for (int argument = 2; argument < argc; argument++) {
    size_t name = 0;
    while (name < 7 && strncmp(argv[argument], names[name], strlen(names[name]))) name++;
    if (name == 7) return false;
    *values[name] = strtoul(argv[argument] + strlen(names[name]), NULL, 10);
    if (*values[name] == 0) return false;
  }
  return argc > 1 && setup->macs / 2 >= setup->vnis && setup->batch <= BATCH_LIMIT && setup->frames % setup->batch == 0;
}
static bool prepare(struct run *run, const struct setup *setup) {
  for (int operation = 0; operation < OPERATIONS; operation++) {
    if (!strcmp(setup->name, operation_names[operation])) run->table = table_new(setup, (enum operation)operation);
  }
  bool inwards = !strcmp(setup->name, "decapsulate"), outwards = !strcmp(setup->name, "encapsulate") || !strcmp(setup->name, "flood");
  run->only_memory = !strcmp(setup->name, "memory");
  run->from = inwards ? 0 : 1;
  if (inwards || outwards || run->only_memory) run->gateway = gateway_new(setup);
  return run->table || run->gateway;
}
// Whether every operation came to what it should.
static bool is_right(const struct run *run, const struct setup *setup, size_t operations) {
  if (run->table) return run->table->done == operations;
  if (run->only_memory) return true;
  return run->gateway->ports[1 - run->from][TX_FRAMES] == operations * (!strcmp(setup->name, "flood") ? setup->vteps : 1);
}

int main(int argc, char **argv) {
  struct setup setup = {argc > 1 ? argv[1] : "", 1000, 1, 1, 64, 4096, 64, 5};
  struct run run = {.from = 0};
  if (!parse(&setup, argc, argv) || !prepare(&run, &setup)) return fprintf(stderr, "floor: no such case; see floor.c\n"), 64;
  size_t operations = run.table ? run.table->count : setup.frames, passes = setup.samples * setup.passes + 1;
  double times[setup.samples];
  timed_pass(&run); // warms up
  for (size_t sample = 0; sample < setup.samples; sample++) {
    times[sample] = 0;
    for (size_t pass = 0; pass < setup.passes; pass++) times[sample] += timed_pass(&run) / (double)(operations * setup.passes);
  }
  if (!is_right(&run, &setup, passes * operations)) return fprintf(stderr, "floor: operations went wrong\n"), 1;
  qsort(times, setup.samples, sizeof *times, ascending);
  printf("%.3f %zu\n", times[setup.samples / 2], passes * operations);
}
