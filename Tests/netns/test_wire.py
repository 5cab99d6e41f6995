"""The bytes on the wire: what tshark says of them, and published captures of the kernel's vxlan device, both ways."""

import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from gateway import IO_MODES, Settings, start_gateway
from lab import PacketSocket, wait_until
from topology import GATEWAY, HOST, VNI, Topology, mac
from traffic import Capture, ping, tcp, udp

MALFORMED = "_ws.malformed || _ws.expert.severity == error"
BAD_CHECKSUM = " || ".join(f'{protocol}.checksum.status == "Bad"' for protocol in ("ip", "udp", "tcp", "icmp"))


@dataclass(frozen=True)
class Published:
    """A packet of vectors/captures.txt, from its outer IP header on."""

    name: str
    port: int
    vni: int
    packet: bytes

    @property
    def inner(self):
        return self.packet[20 + 8 + 8:]


def published():
    text = (Path(__file__).parent / "vectors/captures.txt").read_text()
    for name, port, vni, starts, digits in re.findall(r"\[(\S+) port=(\d+) vni=(\d+) starts=(\w+)\]\n([^\[]+)", text):
        packet = bytes.fromhex(digits)
        yield Published(name, int(port), int(vni), packet[14:] if starts == "ethernet" else packet)


@pytest.fixture(params=IO_MODES)
def io(request):
    return request.param


def test_decodes(lab, io):
    """Everything that vxgw sends is well formed, with right checksums and the outer header that was asked for."""
    net = Topology(lab)
    gateway = start_gateway(net.gw, Settings([net.far.underlay], io=io))
    with Capture(net.far.space, "underlay", f"udp port {net.dstport}", net.dstport) as capture:
        assert ping(net.host, net.far.address, count=5) == 0
        tcp(net.host, net.far.space, net.far.address, parallel=8, amount=("-n", "16M"))
        assert udp(net.host, net.far.space, net.far.address, amount=("-n", "200K")) < 5
    assert capture.fields(f"{MALFORMED} || {BAD_CHECKSUM}", "frame.number", "_ws.expert.message") == []

    names = ("ip.src", "ip.dst", "ip.ttl", "ip.dsfield", "ip.flags", "udp.dstport", "vxlan.flags", "vxlan.gbp",
             "vxlan.vni", "vxlan.reserved8", "eth.src", "eth.dst")
    outer = set(capture.fields("frame", *names))
    reserved = "0"
    assert outer == {(GATEWAY, net.far.underlay, "64", "0x00", "0x00", "4789", "0x0800", reserved, str(net.vni), reserved,
                      mac(0x01), mac(0x20))}

    flows = set(capture.fields(f"tcp.srcport && ip.src == {HOST}", "tcp.srcport", "udp.srcport"))
    ports = {int(port) for _, port in flows}
    assert len(flows) == 10, "each TCP connection (8 streams, iperf3's own two) has one outer source port"
    assert len(ports) > 4, f"the flows are spread over source ports: {ports}"
    assert all(49152 <= port <= 65535 for port in ports)
    gateway.check_books()
    gateway.stop()


PORTS = sorted({(one.port, one.vni) for one in published()})


@pytest.fixture(params=PORTS, ids=lambda pair: f"port{pair[0]}-vni{pair[1]}")
def replay(request, lab, io):
    """A gateway set up as the captures' VTEPs were (nothing is learned: the packets of both ends pass one way)."""
    port, vni = request.param
    net = Topology(lab, vni=vni, dstport=port)
    # Both ends of each conversation are replayed from one side: what was learned of the last packet must not hinder the next.
    learning = request.function is test_encapsulates_published
    settings = Settings([net.far.underlay], {vni: ["lan"]}, io=io, dstport=port, learning=learning)
    gateway = start_gateway(net.gw, settings)
    assert ping(net.host, net.far.address, count=1) == 0  # neighbours are resolved
    with PacketSocket(net.far.space, "underlay") as underlay, PacketSocket(net.host, "eth0") as lan:
        yield net, underlay, lan, [one for one in published() if (one.port, one.vni) == (port, vni)]
    gateway.check_books()
    gateway.stop()


def test_decapsulates_published(replay):
    """Each captured packet, readdressed, comes out on the LAN byte for byte (a runt may have been padded)."""
    net, underlay, lan, vectors = replay
    for vector in vectors:
        outer = IP(vector.packet)
        outer.src, outer.dst = net.far.underlay, GATEWAY
        del outer.chksum
        if outer[UDP].chksum != 0:
            del outer[UDP].chksum
        underlay.send(Ether(src=mac(0x20), dst=mac(0x01)) / outer)
        [frame] = lan.receive(lambda frame, inner=vector.inner: frame[:14] == inner[:14], 1)
        assert frame in (vector.inner, vector.inner.ljust(60, b"\0")), vector.name


def test_encapsulates_published(replay):
    """Each captured inner frame, sent from the LAN, leaves as captured but for IP id, source port, addresses, checksums."""
    net, underlay, lan, vectors = replay
    for vector in vectors:
        outer = Ether(src=mac(0x20), dst=mac(0x01)) / IP(src=net.far.underlay, dst=GATEWAY) / UDP(sport=50000, dport=vector.port, chksum=0)
        header = bytes([8, 0, 0, 0]) + (vector.vni << 8).to_bytes(4, "big")
        if not vector.inner[0] & 1:  # the destination is behind the VTEP now, though it was on the LAN a packet ago
            underlay.send(outer / (header + b"\xff" * 6 + vector.inner[:6] + b"\x88\xb5" + bytes(46)))
            lan.receive(lambda frame, source=vector.inner[:6]: frame[6:12] == source, 1)
        lan.send(vector.inner)
        [frame] = underlay.receive(lambda frame, inner=vector.inner: frame[50:64] == inner[:14], 1)
        sent, captured = IP(frame[14:]), IP(vector.packet)
        assert len(frame) - 14 == len(vector.packet), vector.name
        assert checksums_hold(sent), vector.name
        for packet in (sent, captured):
            packet.id = packet.chksum = packet[UDP].sport = packet[UDP].chksum = 0
        captured.src, captured.dst = GATEWAY, net.far.underlay
        assert bytes(sent) == bytes(captured), vector.name


def checksums_hold(packet):
    """The outer IP and UDP checksums (the latter may be 0: none) are those that scapy works out."""
    again = packet.copy()
    del again.chksum, again[UDP].chksum
    again = IP(bytes(again))
    return packet.chksum == again.chksum and packet[UDP].chksum in (0, again[UDP].chksum)


def vxlan(flags=0x08, vni=VNI, source=mac(0x30)):
    """A packet from the far VTEP for the host on the LAN."""
    outer = Ether(src=mac(0x20), dst=mac(0x01)) / IP(src="192.0.2.2", dst=GATEWAY) / UDP(sport=50000, dport=4789, chksum=0)
    return bytes(outer / bytes([flags, 0, 0, 0, *vni.to_bytes(3, "big"), 0]) / Ether(src=source, dst=mac(0x10), type=0x88B5) / bytes(46))


# What is sent, the drop reason that it must be counted under (None: it is forwarded).
COUNTED = {
    "good": (vxlan(), None),
    "no I flag": (vxlan(flags=0), "VXLAN_INVALID_HDR"),
    "unknown VNI": (vxlan(vni=VNI + 1), "VXLAN_VNI_NOT_FOUND"),
    "multicast source": (vxlan(source="01:00:5e:00:53:01"), "MAC_INVALID_SOURCE"),
    "zero source": (vxlan(source="00:00:00:00:00:00"), "MAC_INVALID_SOURCE"),
}


@pytest.mark.vxgw_only
def test_counts_exactly(lab, io):
    """Every frame is counted once: received, and transmitted or dropped under its reason. Nothing else grows."""
    net = Topology(lab)
    gateway = start_gateway(net.gw, Settings([net.far.underlay], io=io))
    assert ping(net.host, net.far.address, count=1) == 0
    with PacketSocket(net.far.space, "underlay") as underlay:
        for name, (packet, reason) in COUNTED.items():
            gateway.check_books()
            before = gateway.stats()
            underlay.send(*[packet] * 25)
            wait_until(lambda: gateway.stats().received >= before.received + 25, 2, f"25 frames: {name}")
            gateway.check_books()
            after = gateway.stats()
            grown = {drop: count - before.drops.get(drop, 0) for drop, count in after.drops.items()}
            assert {drop: count for drop, count in grown.items() if count} == ({reason: 25} if reason else {}), name
            assert after.received - before.received == 25, name
            assert after.transmitted - before.transmitted == (0 if reason else 25), name
    gateway.stop()
