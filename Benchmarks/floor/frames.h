// What the benchmark sends: the same addresses and frames as Frames.swift.
#pragma once
#include "egress.h"

static uint64_t random_state = 1;
static uint64_t next_random(void) { // SplitMix64
  uint64_t z = random_state += 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}
// Each of its own, for up to 2^20; even ones and odd ones by `index`.
static uint64_t next_address(uint64_t block, size_t index) { return block | (next_random() & 0xfffff) << 20 | index; }
enum { KNOWN_BLOCK = 0x020000000000, UNKNOWN_BLOCK = 0x060000000000 };

static void put_mac(uint8_t *at, uint64_t address) { put16(at, address >> 32); put32(at + 2, (uint32_t)address); }

// Writes an Ethernet and an IPv4 header. Returns where the next one starts.
static uint8_t *put_ip(uint8_t *at, uint64_t to, uint64_t from, uint8_t number, uint16_t total, uint32_t source, uint32_t destination) {
  uint8_t *ip = at + 14;
  put_mac(at, to);
  put_mac(at + 6, from);
  put16(at + 12, IPV4);
  put32(ip, 0x45000000 | total);
  put32(ip + 4, 0);
  put32(ip + 8, 64u << 24 | number << 16);
  put32(ip + 12, source);
  put32(ip + 16, destination);
  uint64_t sum = 0;
  for (int offset = 0; offset < 20; offset += 2) sum += big16(ip + offset);
  put16(ip + 10, ~fold(sum));
  return ip + 20;
}
static void put_inner(uint8_t *at, uint64_t to, uint64_t from) {
  uint64_t random = next_random();
  bool tcp = random & 1;
  uint32_t source = 0xc6120000 | (random >> 8 & 0xffff), destination = 0xc6130000 | (random >> 24 & 0xffff); // 198.18.0.0/15
  uint8_t *transport = put_ip(at, to, from, tcp ? TCP : UDP, INNER - 14, source, destination);
  memset(transport, 0, INNER - 34);
  put32(transport, (uint32_t)(random >> 32));
  if (!tcp) put16(transport + 4, INNER - 34);
  put16(transport + (tcp ? 16 : 6), 1); // not the pseudo-header's sum, so "complete"
}
static void put_encapsulated(uint8_t *at, uint64_t to, uint64_t from, uint32_t vtep, uint32_t vni) {
  uint8_t *udp = put_ip(at, 0x020000000001, 0x020000000002, UDP, INNER + 36, vtep, LOCAL);
  put32(udp, 50000u << 16 | PORT);
  put32(udp + 4, (INNER + 16u) << 16);
  put32(udp + 8, 0x08000000);
  put32(udp + 12, vni << 8);
  put_inner(udp + 16, to, from);
}
// The outer header as the control plane publishes it.
static void put_header(uint8_t *at, uint32_t vtep) {
  uint8_t *udp = put_ip(at, 0x020000000002, 0x020000000001, UDP, 0, LOCAL, vtep);
  put16(at + 24, 0);
  put32(udp, PORT);
  put32(udp + 4, 0);
  put32(udp + 8, 0x08000000);
  put32(udp + 12, 0);
}
