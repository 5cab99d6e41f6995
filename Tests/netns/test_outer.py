"""The outer header, and what it does to the inner one: TTL, TOS, ECN, DF, flow label, UDP checksum, reserved bits.

Ideas of the kernel's own tests: l2_tos_ttl_inherit.sh, vxlan_bridge_1d.sh, vxlan_reserved.sh.
"""

import pytest
from scapy.layers.inet import UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

from frames import BROADCAST, carries, decapsulate, encapsulate, inner_ip, marked, number_of, right_checksum
from gateway import KERNEL, OUTER_ECN, Settings, start_gateway
from lab import Lab, PacketSocket
from topology import Topology, mac, over_both, overlay6


# vxgw's options, and what the outer header then has, given the inner frame's: a value, or a function of the inner one.
OUTER = {
    "defaults": ({}, {"ttl": 64, "dscp": 0, "df": False, "flowlabel": 0}),
    "fixed": ({"ttl": 17, "tos": 0x48, "df": "set"}, {"ttl": 17, "dscp": 0x48, "df": True, "flowlabel": 0}),
    "inherited": (
        {"ttl": "inherit", "tos": "inherit", "df": "inherit"},
        {"ttl": lambda inner: inner["ttl"] if inner["version"] else 64,
         "dscp": lambda inner: inner["tos"] & 0xFC if inner["version"] else 0,
         "df": lambda inner: inner["version"] == 6 or (inner["version"] == 4 and inner["df"]), "flowlabel": 0}),
}
INNER = [
    dict(version=version, tos=tos, ttl=ttl, df=df, vlan=vlan) for version in (4, 6, 0) for vlan in (None, 7)
    for tos, ttl, df in ((0, 1, False), (0x59, 200, True), (0xFE, 64, False), (3, 255, True))]


@pytest.mark.parametrize("name", OUTER)
@over_both
def test_outer_header(lab, ipv6, name):
    """TTL, DSCP, ECN, DF and flow label of the outer header, for inner IPv4, IPv6 and neither, with a VLAN tag and without.
    ECN follows RFC 6040 whatever is asked for: it is the inner one (ECT(0) for CE with the kernel, as RFC 3168 has it)."""
    options, expected = OUTER[name]
    net = Topology(lab, ipv6=ipv6)
    settings = Settings([net.far.underlay], options=options | {"inner-vlan": "keep"}, local=net.gateway)
    gateway = start_gateway(net.gw, settings)
    with PacketSocket(net.host, "eth0") as lan, PacketSocket(net.far.space, "underlay") as wire:
        lan.send(*[inner_ip(number, source=mac(0x10), **inner) for number, inner in enumerate(INNER)])
        packets = wire.receive(carries(lambda frame: number_of(frame) is not None), len(INNER))
    for packet in packets:
        outer = decapsulate(packet)
        inner = INNER[number_of(outer.inner)]
        wanted = {key: value(inner) if callable(value) else value for key, value in expected.items()}
        if KERNEL and inner["vlan"] and name == "inherited":
            wanted["df"] = False  # the one thing that the kernel does not look for behind a tag
        wanted["ecn"] = OUTER_ECN[inner["tos"] & 3] if inner["version"] else 0
        if ipv6:
            wanted["df"] = None
        else:
            wanted["flowlabel"] = None
        found = {"ttl": outer.ttl, "dscp": outer.tos & 0xFC, "ecn": outer.tos & 3, "df": outer.df, "flowlabel": outer.flowlabel}
        assert found == wanted, inner
        assert outer.header == bytes([8, 0, 0, 0, *net.vni.to_bytes(3, "big"), 0])
    gateway.check_books()
    gateway.stop()


@pytest.mark.parametrize(("label", "seen"), [(0x12345, {0x12345}), pytest.param("inherit", {0x54321}, marks=pytest.mark.vxgw_only)])
def test_flow_label(lab, label, seen):
    net = Topology(lab, ipv6=True)
    gateway = start_gateway(net.gw, Settings([net.far.underlay], options={"flowlabel": label}, local=net.gateway))
    frame = bytearray(inner_ip(0, 6))
    frame[14:18] = (0x60054321).to_bytes(4, "big")
    assert outer_of(net, frame, lambda outer: outer.flowlabel) == seen
    gateway.stop()


@pytest.mark.vxgw_only
def test_flow_label_is_the_hash(lab):
    """--flowlabel hash: RFC 6438, each flow another one, and the same for all its packets."""
    net = Topology(lab, ipv6=True)
    gateway = start_gateway(net.gw, Settings([net.far.underlay], options={"flowlabel": "hash"}, local=net.gateway))
    ethernet, ip = Ether(src=mac(0x10), dst=BROADCAST), IPv6(src=overlay6(0x10), dst=overlay6(0x99))
    frames = [ethernet / ip / UDP(sport=port, dport=7002) / b"marked 000000" for port in range(7000, 7016)]
    labels = [outer_of(net, frame, lambda outer: outer.flowlabel) for frame in frames * 2]
    assert labels[:16] == labels[16:] and len(set().union(*labels)) > 12
    gateway.stop()


def outer_of(net, frame, key):
    """What `key` gives for the outer headers that a frame from the LAN gets."""
    with PacketSocket(net.host, "eth0") as lan, PacketSocket(net.far.space, "underlay") as wire:
        lan.send(frame)
        return {key(decapsulate(packet)) for packet in wire.receive(carries(lambda inner: number_of(inner) is not None), 1)}


# What is asked for, and whether a checksum is sent (None: the gateway's choice). --udpcsum is IPv4's but for a VTEP's own.
CHECKSUMS = [
    (False, {"udpcsum": "auto"}, None),
    (False, {"udpcsum": "on"}, True),
    (False, {"udpcsum": "off"}, False),
    (True, {"udpcsum": "auto"}, True),
    *(pytest.param(*row, marks=pytest.mark.vxgw_only) for row in (
        (True, {"udp6zerocsum": "tx,rx"}, False),
        (False, {"udpcsum": "192.0.2.2=on"}, True),
        (False, {"udpcsum": "192.0.2.2=off"}, False),
        (False, {"udpcsum": "192.0.2.9=off"}, None),
        (True, {"udpcsum": "2001:db8::2=off"}, False),
        (True, {"udpcsum": "2001:db8::9=off"}, True)))]


@pytest.mark.parametrize(("ipv6", "options", "sent"), CHECKSUMS)
def test_outer_checksum(lab, ipv6, options, sent):
    """Sent or not as asked for, and right when sent, however long and whatever the inner frame is."""
    net = Topology(lab, ipv6=ipv6)
    gateway = start_gateway(net.gw, Settings([net.far.underlay], options=options, local=net.gateway))
    frames = [inner_ip(number, version) + bytes(number) for number in range(0, 1300, 131) for version in (0, 4, 6)]
    with PacketSocket(net.host, "eth0") as lan, PacketSocket(net.far.space, "underlay") as wire:
        lan.send(*frames)
        packets = wire.receive(carries(lambda frame: number_of(frame) is not None), len(frames))
    for packet in packets:
        right = right_checksum(packet)
        assert decapsulate(packet).checksum in {True: {right}, False: {0}, None: {0, right}}[sent]
    gateway.check_books()
    gateway.stop()


# Options, and the outer UDP checksums that are accepted: none, a right one, a wrong one.
ACCEPTED = [
    pytest.param(False, {"verify-udpcsum": True}, ("none", "right")),
    pytest.param(True, {"verify-udpcsum": True}, ("none", "right")),
    pytest.param(False, {}, ("none", "right", "wrong"), marks=pytest.mark.vxgw_only),  # the kernel always verifies
    pytest.param(True, {}, ("none", "right", "wrong"), marks=pytest.mark.vxgw_only),
    pytest.param(True, {"udp6zerocsum": "none", "verify-udpcsum": True}, ("right",), marks=pytest.mark.vxgw_only),
]


@pytest.mark.parametrize(("ipv6", "options", "accepted"), ACCEPTED)
def test_received_checksum(lab, ipv6, options, accepted):
    """RFC 7348 section 5: none is accepted; one that is there is right, if anybody looks."""
    net = Topology(lab, ipv6=ipv6)
    gateway = start_gateway(net.gw, Settings([net.far.underlay], options=options, local=net.gateway))
    right = right_checksum(encapsulate(marked(1, mac(0x50)), ipv6))
    checksums = {"none": 0, "right": right, "wrong": right ^ 0x5555}
    with PacketSocket(net.host, "eth0") as lan, PacketSocket(net.far.space, "underlay") as wire:
        for name, checksum in checksums.items():
            wire.send(encapsulate(marked(1, mac(0x50)), ipv6, checksum=checksum))
            assert len(lan.receive(lambda frame: number_of(frame) == 1, seconds=0.15)) == (name in accepted), name
    if not KERNEL:
        assert gateway.stats().drops.get("UDP_CSUM", 0) == len(checksums) - len(accepted)
    gateway.check_books()
    gateway.stop()


# RFC 6040 section 4.2, as the kernel has it: the inner ECN after decapsulation, [inner][outer]; None: dropped.
ECN = [[0, 0, 0, None], [1, 1, 1, 3], [2, 1, 2, 3], [3, 3, 3, 3]]


@over_both
def test_ecn_decapsulation(lab, ipv6):
    """All 16 combinations, inner IPv4 and IPv6; the rest of the inner header stays, and its checksum is right."""
    net = Topology(lab, ipv6=ipv6)
    gateway = start_gateway(net.gw, Settings([net.far.underlay], local=net.gateway))
    cells = [(version, inner, outer) for version in (4, 6) for inner in range(4) for outer in range(4)]
    with PacketSocket(net.host, "eth0") as lan, PacketSocket(net.far.space, "underlay") as wire:
        for number, (version, inner, outer) in enumerate(cells):
            frame = inner_ip(number, version, tos=0x48 | inner, source=mac(0x50))
            wire.send(encapsulate(frame, ipv6, tos=0x20 | outer))
        wanted = {}
        for number, (version, inner, outer) in enumerate(cells):
            if ECN[inner][outer] is not None:
                wanted[number] = inner_ip(number, version, tos=0x48 | ECN[inner][outer], source=mac(0x50))
        frames = lan.receive(lambda frame: number_of(frame) is not None, len(wanted))
        assert {number_of(frame): frame for frame in frames} == wanted
        assert lan.receive(lambda frame: number_of(frame) is not None, seconds=0.1) == []
    if not KERNEL:
        assert gateway.stats().drops["IP_TUNNEL_ECN"] == 2
    gateway.check_books()
    gateway.stop()


RESERVED = [bit for bit in range(64) if bit != 59 and not 8 <= bit < 32]  # of the header as a 64-bit number: not I, not the VNI
GBP_AND_O = 0x8000000000000001
ACCEPTS = {"strict": [], "ignore": RESERVED, hex(GBP_AND_O): [bit for bit in RESERVED if not GBP_AND_O >> bit & 1]}


@pytest.fixture(scope="module", params=["strict", *(() if KERNEL else ("ignore", hex(GBP_AND_O)))])
def reserved(request):
    with Lab() as lab:
        net = Topology(lab)
        gateway = start_gateway(net.gw, Settings([net.far.underlay], options={"reserved-bits": request.param}))
        yield net, gateway, ACCEPTS[request.param]
        gateway.check_books()
        gateway.stop()


def test_reserved_bits(reserved):
    """Each of the 39 reserved bits on its own; the bits that are not looked at change nothing."""
    net, gateway, accepted = reserved
    plain = (0x08 << 56) | net.vni << 8
    assert len(RESERVED) == 39
    with PacketSocket(net.host, "eth0") as lan, PacketSocket(net.far.space, "underlay") as wire:
        for bit in RESERVED:
            wire.send(encapsulate(marked(bit, mac(0x50)), header=(plain | 1 << bit).to_bytes(8, "big")))
        wire.send(encapsulate(marked(64, mac(0x50)), header=plain.to_bytes(8, "big")))
        frames = lan.receive(lambda frame: number_of(frame) is not None, seconds=0.3)
    assert [number_of(frame) for frame in frames] == [*accepted, 64]
    if not KERNEL:
        assert gateway.stats().drops.get("VXLAN_RESERVED_BITS", 0) == 39 - len(accepted)
