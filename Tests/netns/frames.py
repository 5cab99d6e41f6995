"""Frames that tests send and what they find in those that come."""

import struct
from dataclasses import dataclass
from ipaddress import ip_address

BROADCAST = "ff:ff:ff:ff:ff:ff"
EXPERIMENT = bytes.fromhex("88b5")  # EtherType for local experiments, IEEE 802
VXLAN_PORTS = (4789, 8472)


def octets(mac):
    return bytes.fromhex(mac.replace(":", ""))


def tags(*vlans):
    """VLAN tags, outermost first: an id, or "s" and an id for a service tag."""
    def tag(vlan):
        service = str(vlan).startswith("s")
        return struct.pack(">HH", 0x88A8 if service else 0x8100, int(str(vlan).lstrip("s")))
    return b"".join(map(tag, vlans))


def marked(number, source, destination=BROADCAST, vlans=()):
    """A frame that nothing but a test sends or answers."""
    return octets(destination) + octets(source) + tags(*vlans) + EXPERIMENT + b"marked %06d" % number + bytes(64)


def is_marked(frame):
    return frame[12:14] == EXPERIMENT and frame[14:20] == b"marked"


@dataclass(frozen=True)
class Outer:
    """A VXLAN packet taken apart. `df` is None and `flowlabel` not for IPv6."""

    destination_mac: str
    vlan: int | None
    source: str
    destination: str
    tos: int
    ttl: int
    df: bool | None
    flowlabel: int | None
    sport: int
    dport: int
    checksum: int
    header: bytes
    inner: bytes

    @property
    def vni(self):
        return int.from_bytes(self.header[4:7], "big")


def decapsulate(frame):
    """None for a frame that is no VXLAN packet."""
    at, vlan, (kind,) = 14, None, struct.unpack_from(">H", frame, 12)
    if kind == 0x8100:
        at, vlan, kind = 18, struct.unpack_from(">H", frame, 14)[0] & 0xFFF, struct.unpack_from(">H", frame, 16)[0]
    if kind == 0x0800 and frame[at + 9] == 17 and frame[at] == 0x45:
        fields = {"tos": frame[at + 1], "ttl": frame[at + 8], "df": bool(frame[at + 6] & 0x40), "flowlabel": None}
        addresses, at = (frame[at + 12:at + 16], frame[at + 16:at + 20]), at + 20
    elif kind == 0x86DD and frame[at + 6] == 17:
        [word] = struct.unpack_from(">I", frame, at)
        fields = {"tos": word >> 20 & 0xFF, "ttl": frame[at + 7], "df": None, "flowlabel": word & 0xFFFFF}
        addresses, at = (frame[at + 8:at + 24], frame[at + 24:at + 40]), at + 40
    else:
        return None
    sport, dport, _, checksum = struct.unpack_from(">4H", frame, at)
    if dport not in VXLAN_PORTS:
        return None
    source, destination = (str(ip_address(address)) for address in addresses)
    return Outer(frame[:6].hex(":"), vlan, source, destination, sport=sport, dport=dport, checksum=checksum,
                 header=frame[at + 8:at + 16], inner=frame[at + 16:], **fields)


def carries(matching=is_marked):
    """For `PacketSocket.receive`: VXLAN packets whose inner frame `matching` holds for."""
    return lambda frame: (outer := decapsulate(frame)) is not None and matching(outer.inner)
