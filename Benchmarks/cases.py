"""What is measured: a base, and one dimension varied at a time. A case is the command line of `floor` and `vxgw-bench`,
which have the base (1000 MACs, 1 VTEP, 1 VNI, batches of 64, 4096 frames over 8 MiB) for what it leaves out. Half of the MACs
are on each side; 1 k VTEPs and VNIs need 2 k."""

from goal import Goal

_MACS = ["macs=2", "macs=65536", "macs=1048576"]
_BATCHES = ["batch=1", "batch=8", "batch=32", "batch=256"]
_VARIED = ["", *_MACS, "vteps=100", "macs=2000 vteps=1000", *_BATCHES, "frames=64"]
MILLION = "macs=1048576"


def _each(name, settings):
    return [f"{name} {setting}".strip() for setting in settings]


# Frames through the whole data path.
PACKETS = [
    *_each("decapsulate", _VARIED), *_each("decapsulate", ["vnis=100", "macs=2000 vnis=1000"]),
    *_each("encapsulate", _VARIED), *_each("flood", ["vteps=16", "vteps=128"]),
]  # fmt: skip
# The FDB alone.
TABLE = [
    *_each("look-up", ["", *_MACS, *(f"{MILLION} {batch}" for batch in _BATCHES)]), *_each("miss", ["", MILLION]),
    *_each("learn", ["", *_MACS[1:]]), *_each("refresh", ["", *_MACS[1:]]), *_each("move", ["", *_MACS[1:]]), f"age {MILLION}",
]  # fmt: skip
# The least that any code needs: read a line of each frame, write 64 bytes. In C only.
FLOOR = _each("memory", ["", "frames=64"])
# What instructions and allocations are checked of (`check`).
GATE = [
    *_each("decapsulate", ["", *_MACS[1:], "batch=1"]), *_each("encapsulate", ["", *_MACS[1:], "batch=1"]), "flood vteps=16",
    *_each("look-up", ["macs=65536"]), *_each("learn", ["macs=65536"]), *_each("refresh", ["macs=65536"]), *_each("move", ["macs=65536"]),
]  # fmt: skip
# With two threads or of memory: one number each, in Swift only.
SPECIAL = {
    "workers": "two workers, one FDB: frames per second over those of one",
    "readers macs=65536": "look-ups beside 100 k new addresses a second, over look-ups without",
    f"pause {MILLION}": "longest round, in µs, while another thread ages 1 M entries",
    f"size {MILLION}": "bytes per entry of the FDB",
}


def goals(rows, special):
    """`rows`: by case, what `measure.Row` has; `special`: by case, its number."""

    def swift(case):
        return rows[case].swift_ns if case in rows else None

    def worst(values):
        known = [value for value in values if value is not None]
        return max(known, default=None)

    def ratio(case, to):
        return swift(case) / swift(to) if swift(case) and swift(to) else None

    def millions(case):
        return 1e3 / swift(case) if swift(case) else None

    def number(name):
        return next((value for case, value in special.items() if case.split()[0] == name), None)

    packets = [rows[case].ratio for case in ("decapsulate", "encapsulate") if case in rows]
    return [
        Goal("complete data path, against the same in C", 1.25, 1.05, "times", False, worst(packets)),
        Goal("decapsulate, 1 k MACs", 25, 12, "ns", False, swift("decapsulate")),
        Goal("encapsulate, 1 k MACs", 30, 16, "ns", False, swift("encapsulate")),
        Goal("1 M MACs against 1 k, decapsulate", 2.5, 1.7, "times", False, ratio(f"decapsulate {MILLION}", "decapsulate")),
        Goal("1 M MACs against 1 k, encapsulate", 2.5, 1.7, "times", False, ratio(f"encapsulate {MILLION}", "encapsulate")),
        Goal("look-up, 1 M entries, batched", 20, 37, "M/s", True, millions(f"look-up {MILLION}")),
        Goal("learn, 1 M entries", 5, 15, "M/s", True, millions(f"learn {MILLION}")),
        Goal("longest round while 1 M entries age", 100, 20, "µs", False, number("pause")),
        Goal("look-ups while another thread learns 100 k/s", 0.9, 0.97, "of quiet", True, number("readers")),
        Goal("2 workers against 1", 1.8, 1.95, "times", True, number("workers")),
        Goal("memory per FDB entry", 48, 24, "bytes", False, number("size")),
    ]
