"""What vxgw has to reach end to end, and what of it was reached: rows of RESULTS.md, beside those of ../cases.py."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))

from goal import Goal  # noqa: E402

# Who is compared with whom, in frames of 64 bytes: title, ours, base, must, aim.
COMPARISONS = [
    ("AF_XDP against the bare forwarder in C", "vxgw-xdp", "forwarder", 0.95, 1),
    ("AF_XDP against the kernel's vxlan and bridge", "vxgw-xdp", "kernel", 1.15, 1.3),
    ("AF_XDP against Open vSwitch on AF_XDP", "vxgw-xdp", "ovs-afxdp", 1.1, 1.3),
    ("AF_XDP against DPDK testpmd, which has no tunnel", "vxgw-xdp", "testpmd", 1.05, 1.2),
    ("raw sockets against Open vSwitch on raw sockets", "vxgw-raw", "ovs-raw", 2, 3),
    ("fast path against the kernel's vxlan and bridge", "vxgw-fast", "kernel", 4, 6),
    ("fast path against the bare XDP redirect", "vxgw-fast", "redirect", 0.85, 0.95),
]
DIRECTIONS = {"decap": "decapsulate", "encap": "encapsulate"}
# What runs with the defaults where AF_XDP copies, and what runs without the fast path.
MODES = {"vxgw-fast": "fast path", "vxgw-xdp": "AF_XDP"}
LIMIT = {"p50": (1.2, 1), "p99": (1.5, 1)}


def throughput(table):
    for title, ours, base, must, aim in COMPARISONS:
        for direction, word in DIRECTIONS.items():
            ratio = table.ratio(f"{direction}-64", ours, base)
            yield Goal(f"{title}, {word}", must, aim, "times", True, ratio and ratio[0])


def latency(rows):
    """Against the kernel's at the same load."""
    found = {(row["system"], row["case"], row["load"]): row for row in rows if "failed" not in row}
    for system, mode in MODES.items():
        for direction, word in DIRECTIONS.items():
            for load, name in (("idle", "idle"), ("half", "half load")):
                ours, base = (found.get((one, f"{direction}-64", load)) for one in (system, "kernel"))
                for key, (must, aim) in LIMIT.items():
                    ratio = ours[key] / base[key] if ours and base and base[key] else None
                    yield Goal(f"latency {key}, {mode}, {word}, {name}, against the kernel", must, aim, "times", False, ratio)


def resources(rows):
    found = {row["system"]: row for row in rows if "failed" not in row}
    for system, mode in MODES.items():
        row = found.get(system, {})
        idle, ready, memory = (row.get(key) for key in ("idle_cpu", "seconds_to_ready", "rss_start"))
        yield Goal(f"CPU when idle, {mode}", 1, 0.1, "%", False, idle if idle is None else idle * 100)
        yield Goal(f"start to ready, {mode}", 200, 50, "ms", False, ready and ready * 1000)
        yield Goal(f"resident memory after start, {mode}", 64, 32, "MiB", False, memory and memory / 1024)


def end_to_end(results, table):
    """Those that were measured."""
    goals = [*throughput(table), *latency(results["latency"]), *resources(results["resources"])]
    return [goal for goal in goals if goal.measured is not None]
