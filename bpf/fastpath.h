/* SPDX-License-Identifier: GPL-2.0 */
/* The fast path: the program forwards what the workers have decided, where that takes no more than moving headers.
 *
 *     decapsulate   outer headers right, VTEP known as the inner source's, destination on a NIC:  strip, redirect
 *     encapsulate   source known on this local port, destination behind a VTEP with a header:     template, redirect
 *
 * It looks into the workers' own FDB and VTEP table, so what they learn, move and age, and what the operator changes, holds
 * here from the next packet on. It adds nothing to them; of the FDB it refreshes the tick of sources, by compare-and-swap, as
 * the workers do. Whatever else a frame needs (flooding, learning, a partial checksum, an answer, a drop) a worker does.
 *
 * Every check here is one of `Decapsulator.swift` or `Encapsulator.swift`, and the bytes that come out are theirs. Loads are in
 * program order on x86-64, which is all that the tables' readers need; the loader leaves the fast path off elsewhere.
 */
#pragma once
#include "decapsulate.h"
#include "encapsulate.h"
#include "refused.h"
