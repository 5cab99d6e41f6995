"""What is sent, and how it is named: decap-64, encap-imix, both-64, decap-64-flows4096-vteps64, encap-64-flows131072-fdb262144."""

from dataclasses import dataclass

IMIX = [64] * 7 + [512] * 4 + [1450]  # per twelve frames
SIZES = {"64": [64], "512": [512], "1450": [1450], "imix": IMIX}
FDB_SMALL, FDB_LARGE = 1 << 10, 1 << 18
VTEPS = 64  # that every system is set up with


@dataclass(frozen=True)
class Case:
    """`size` is of the inner frame, from its destination address to its last byte, without checksum. `macs` are the addresses
    that the FDB holds: one half behind VTEPs, the other on the LAN, in pairs that talk to each other. All counts are powers of
    two."""

    direction: str  # decap, encap, both
    size: str = "64"
    flows: int = 1
    vteps: int = 1
    macs: int = FDB_SMALL

    def __str__(self):
        parts = [self.direction, self.size]
        for word, value, default in [("flows", self.flows, 1), ("vteps", self.vteps, 1), ("fdb", self.macs, FDB_SMALL)]:
            if value != default:
                parts.append(f"{word}{value}")
        return "-".join(parts)

    @property
    def sizes(self):
        return SIZES[self.size]

    @property
    def decapsulates(self):
        return self.direction in ("decap", "both")

    @property
    def encapsulates(self):
        return self.direction in ("encap", "both")

    @property
    def varies_overlay(self):
        """It differs from the plain case only for who looks at the overlay."""
        return self.flows > 1 or self.vteps > 1 or self.macs != FDB_SMALL


def all_cases():
    """One thing varied at a time; the large FDB comes last, for addresses stay in it."""
    both = ("decap", "encap")
    cases = [Case(direction, size) for size in SIZES for direction in both] + [Case("both"), Case("both", "imix")]
    cases += [Case(direction, flows=4096) for direction in both]
    cases += [Case(direction, flows=4096, vteps=VTEPS) for direction in both]
    return cases + [Case(direction, flows=FDB_LARGE // 2, vteps=VTEPS, macs=FDB_LARGE) for direction in both]


QUICK = ["decap-64", "encap-64"]
