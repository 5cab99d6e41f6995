// What can't be an inline function: see include/CLinux.h.
#define _GNU_SOURCE // vasprintf, pthread_setaffinity_np
#include "CLinux.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static void (*warning_handler)(const char *text);

static int print_warning(enum libbpf_print_level level, const char *format, va_list arguments) {
  char *text;
  if (level != LIBBPF_WARN || vasprintf(&text, format, arguments) < 0) return 0;
  warning_handler(text);
  free(text);
  return 0;
}

void vxgw_libbpf_on_warning(void (*handler)(const char *text)) {
  warning_handler = handler;
  libbpf_set_print(print_warning);
}

int vxgw_bind_thread(pthread_t thread, int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  return pthread_setaffinity_np(thread, sizeof(set), &set);
}

int vxgw_name_thread(pthread_t thread, const char *name) { return pthread_setname_np(thread, name); }
