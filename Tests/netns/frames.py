"""Frames that tests send and what they find in those that come."""

import struct
from dataclasses import dataclass
from ipaddress import ip_address

from scapy.layers.inet import IP, UDP, in4_chksum
from scapy.layers.inet6 import IPv6, in6_chksum
from scapy.layers.l2 import Dot1Q, Ether

from topology import VNI, mac, underlay

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


def encapsulate(inner, ipv6=False, header=None, vni=VNI, tos=0, source=None, checksum=None):
    """A VXLAN packet from the far VTEP to the gateway; with the right UDP checksum over IPv6 and without one over IPv4,
    unless given."""
    source, destination = source or underlay(2, ipv6), underlay(1, ipv6)
    ip = IPv6(src=source, dst=destination, tc=tos) if ipv6 else IP(src=source, dst=destination, tos=tos)
    udp = UDP(sport=50000, dport=4789, chksum=checksum if ipv6 or checksum else 0)
    header = header or bytes([8, 0, 0, 0, *vni.to_bytes(3, "big"), 0])
    return bytes(Ether(src=mac(0x20), dst=mac(0x01)) / ip / udp / (header + bytes(inner)))


def right_checksum(packet):
    """What the outer UDP checksum of a VXLAN packet has to be, by scapy's sums."""
    ipv6 = packet[12:14] == b"\x86\xdd"
    at, header, checksum = (54, IPv6, in6_chksum) if ipv6 else (34, IP, in4_chksum)
    return checksum(17, header(packet[14:at]), packet[at:at + 6] + b"\0\0" + packet[at + 8:]) or 0xFFFF


def inner_ip(number, version, tos=0, ttl=64, df=False, source=mac(0x10), destination=BROADCAST, vlan=None):
    """A UDP datagram over IPv4 or IPv6 that says "marked" too; or, for version 0, a marked frame of no IP."""
    if version == 0:
        return marked(number, source, destination, [vlan] if vlan else [])
    ethernet = Ether(src=source, dst=destination)
    if vlan:
        ethernet /= Dot1Q(vlan=vlan)
    ip = IP(src="198.51.100.10", dst="198.51.100.99", tos=tos, ttl=ttl, flags="DF" if df else 0) if version == 4 else \
        IPv6(src="2001:db8:1::10", dst="2001:db8:1::99", tc=tos, hlim=ttl)
    return bytes(ethernet / ip / UDP(sport=7001, dport=7002) / (b"marked %06d" % number + bytes(20)))


def number_of(frame):
    """The number of a marked frame or datagram, whatever it is in; None if it is none."""
    at = frame.find(b"marked ")
    return int(frame[at + 7:at + 13]) if at > 0 else None
