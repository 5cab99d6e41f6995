"""scapy as a second implementation of VXLAN: generated frames, both ways, byte for byte.

Every run has the same frames; a failed assertion says the number of the frame.
"""

import functools
import random

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_Router_Alert
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether
from scapy.layers.vxlan import VXLAN
from scapy.packet import Raw

from frames import decapsulate
from gateway import IO_MODES, KERNEL, OUTER_ECN, Settings, start_gateway
from lab import PacketSocket
from topology import Topology, mac, overlay6

FRAMES, BURST, SEED = 2000, 50, 7348
LAN_MAC, FAR_MAC = mac(0x50), mac(0x51)
AUTO = "kernel" if KERNEL else "auto"
CASES = [*((io, False, "on") for io in IO_MODES), (AUTO, False, "off"), (AUTO, True, "on")]


def payload(dice, largest):
    """Empty, short, odd, even, or just what fits."""
    length = dice.choice([0, 1, dice.randrange(64), dice.randrange(64, largest), largest - 1, largest])
    return Raw(dice.randbytes(min(length, largest)))


def network(dice):
    """An IPv4 or IPv6 header, some with options, extension headers, a flow label, as fragments. Returns it with its length."""
    tos, ttl = dice.choice([0, 0, 1, 2, 3, 0xB8]), dice.choice([1, 64, 255])
    if dice.random() < 0.5:
        options = [IPOption_Router_Alert()] if dice.random() < 0.1 else []
        flags, offset = dice.choice([(0, 0), ("DF", 0), ("DF", 0), ("MF", 0), (0, 100)])
        header = IP(src=f"198.51.100.{dice.randrange(1, 99)}", dst=f"198.51.100.{dice.randrange(101, 254)}", tos=tos, ttl=ttl,
                    id=dice.randrange(1, 65536), flags=flags, frag=offset, options=options)
        return header, 20 + 4 * len(options)
    label = dice.choice([0, dice.randrange(1 << 20)])
    header = IPv6(src=overlay6(10), dst=overlay6(dice.randrange(1, 0xFFFF)), tc=tos, hlim=ttl, fl=label)
    extension = dice.choice([None, None, None, IPv6ExtHdrDestOpt(), IPv6ExtHdrFragment(m=1, id=7)])
    return (header / extension, 48) if extension else (header, 40)


def transport(dice, ipv6):
    """TCP, UDP (with a checksum, over IPv4 also without), or ICMP; and its length."""
    ports = {"sport": dice.randrange(1024, 65536), "dport": dice.randrange(10000, 65536)}
    kind = dice.randrange(4)
    if kind == 0:
        return TCP(**ports, seq=dice.randrange(1 << 32), flags=dice.choice(["S", "A", "PA", "FA"]), options=[("MSS", 1460)]), 24
    if kind == 1:
        return UDP(**ports, **({} if ipv6 or dice.random() < 0.7 else {"chksum": 0})), 8
    if kind == 2:  # VXLAN in VXLAN
        return UDP(sport=50000, dport=4789) / VXLAN(vni=7, flags="Instance") / Ether(src=mac(0x70), dst=mac(0x71), type=0x88B5), 30
    return (ICMPv6EchoRequest(id=dice.randrange(65536)), 8) if ipv6 else (ICMP(id=dice.randrange(65536)), 8)


def generate(dice, source, mtu):
    """One frame, of whatever a network carries."""
    destination = dice.choice(["ff:ff:ff:ff:ff:ff", "33:33:00:00:00:09", "01:00:5e:00:00:09", mac(0x60), mac(0x61)])
    ethernet, kind = Ether(src=source, dst=destination), dice.random()
    if kind < 0.05:
        return bytes(ethernet / ARP(op=dice.choice([1, 2]), psrc="198.51.100.1", pdst=f"198.51.100.{dice.randrange(255)}"))
    if kind < 0.12:  # neither IP nor ARP, and runts
        return bytes(Ether(src=source, dst=destination, type=0x88B5)) + dice.randbytes(dice.choice([0, 1, 31, 45, 46, 47, mtu]))
    if kind < 0.15:  # IEEE 802.3: a length, LLC
        return bytes(Ether(src=source, dst=destination, type=50)) + bytes.fromhex("424203") + dice.randbytes(47)
    tags = dice.choice([[]] * 5 + [[Dot1Q(vlan=100)], [Dot1AD(vlan=200), Dot1Q(vlan=7)]])
    header, header_length = network(dice)
    inside, inside_length = transport(dice, IPv6 in header)
    for tag in tags:
        ethernet /= tag
    frame = bytes(ethernet / header / inside / payload(dice, mtu - header_length - inside_length - 4 * len(tags)))
    trailer = dice.choice([b"", b"", bytes(max(0, 60 - len(frame))), dice.randbytes(dice.randrange(1, 20))])  # NICs pad; some add
    return frame + trailer if len(frame + trailer) <= 14 + mtu else frame


@functools.cache
def generated(source, mtu):
    dice = random.Random(SEED)
    return [generate(dice, source, mtu) for _ in range(FRAMES)]


def outer_of(net, inner, received, checksum):
    """The packet as scapy builds it; IP id and source port, which have rules of their own, as they were received."""
    ecn = inner_ecn(inner)
    if net.ipv6:
        ip = IPv6(src=net.gateway, dst=net.far.underlay, hlim=64, tc=ecn)
    else:
        ip = IP(src=net.gateway, dst=net.far.underlay, ttl=64, tos=ecn, id=IP(received[14:34]).id)
    udp = UDP(sport=decapsulate(received).sport, dport=4789, **({} if checksum == "on" else {"chksum": 0}))
    return bytes(Ether(src=mac(0x01), dst=mac(0x20)) / ip / udp / VXLAN(vni=net.vni, flags="Instance") / Raw(inner))


def inner_ecn(inner):
    packet = Ether(inner)
    tos = packet[IP].tos if packet.payload and IP in packet else packet[IPv6].tc if IPv6 in packet else 0
    return OUTER_ECN[tos & 3]


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0]}-{'ipv6' if case[1] else 'ipv4'}-checksum-{case[2]}")
def site(request, lab):
    io, ipv6, checksum = request.param
    net = Topology(lab, ipv6=ipv6, queues=(1, 1))  # one queue: frames arrive in the order in which they were sent
    net.host.ip("link", "set", "eth0", "mtu", 1500)
    options = {"inner-vlan": "keep", "mss-clamp": "off", "udpcsum": checksum}
    gateway = start_gateway(net.gw, Settings([net.far.underlay], io=io, local=net.gateway, options=options))
    yield net, checksum
    gateway.check_books()
    gateway.stop()


def test_generated_frames(site):
    net, checksum = site
    mtu = 1430 if net.ipv6 else 1450
    with PacketSocket(net.host, "eth0") as lan, PacketSocket(net.far.space, "underlay") as wire:
        encapsulates(net, lan, wire, mtu, checksum)
        decapsulates(net, lan, wire, mtu)


def encapsulates(net, lan, wire, mtu, checksum):
    frames, flows = generated(LAN_MAC, mtu), {}
    def ours(frame):
        outer = decapsulate(frame)
        return outer is not None and outer.inner[6:12].hex(":") == LAN_MAC
    for start in range(0, FRAMES, BURST):
        burst = frames[start:start + BURST]
        lan.send(*burst)
        for number, (inner, received) in enumerate(zip(burst, wire.receive(ours, len(burst))), start):
            assert received == outer_of(net, inner, received, checksum), f"frame {number}"
            port = decapsulate(received).sport
            assert 49152 <= port <= 65535, f"frame {number}"
            assert flows.setdefault(inner, port) == port, f"frame {number}: one flow, one port"
    assert len(set(flows.values())) > FRAMES / 4


def decapsulates(net, lan, wire, mtu):
    dice, frames = random.Random(SEED + 1), generated(FAR_MAC, mtu)
    for start in range(0, FRAMES, BURST):
        burst = frames[start:start + BURST]
        for inner in burst:
            addresses = {"src": net.far.underlay, "dst": net.gateway}
            ip = IPv6(**addresses) if net.ipv6 else IP(**addresses, id=dice.randrange(65536))
            udp = UDP(sport=dice.randrange(1024, 65536), dport=4789, **({"chksum": 0} if dice.random() < 0.5 else {}))
            wire.send(Ether(src=mac(0x20), dst=mac(0x01)) / ip / udp / VXLAN(vni=net.vni, flags="Instance") / Raw(inner))
        received = lan.receive(lambda frame: frame[6:12].hex(":") == FAR_MAC, len(burst))
        for number, (inner, frame) in enumerate(zip(burst, received), start):
            assert frame in (inner, inner.ljust(60, b"\0")), f"frame {number}"
