"""Frames that do not fit: answered as a router would, so that TCP adapts; never a fragment on the underlay.

Ideas of the kernel's own pmtu.sh (the bridged cases) and vxlan_mtu_frag.sh.
"""

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, fragment
from scapy.layers.inet6 import ICMPv6PacketTooBig, IPv6
from scapy.layers.l2 import Ether

from frames import carries, encapsulate, is_marked, marked, number_of
from gateway import IO_MODES, Settings, start_gateway
from lab import Lab, PacketSocket, wait_until
from routed import Routed
from topology import HOST, VNI, Topology, mac, over_both, overlay6
from traffic import ChecksumWatch, ping, transfer
from vlan import add_vlan

MTU = 1400  # of the smallest link


def overhead(ipv6):
    return 70 if ipv6 else 50


def fragments(net):
    """How many outer packets somebody fragmented, or had to reassemble."""
    counters = ("IpFragCreates", "Ip6FragCreates", "IpReasmReqds", "Ip6ReasmReqds")
    return sum(space.counter(*counters) for space in (net.gw, *net.routers, net.far))


@pytest.fixture(scope="module", params=[(place, ipv6, port) for place in ("link", "router") for ipv6 in (False, True)
                                        for port in (("lan", "lan:100") if place == "link" else ("lan",))],
                ids=lambda param: f"{param[0]}-{'ipv6' if param[1] else 'ipv4'}-{param[2]}")
def narrow(request):
    """The underlay is narrow at the gateway's own link, or behind the next router: only ICMP can tell."""
    place, ipv6, port = request.param
    with Lab() as lab:
        net = Routed(lab, ipv6)
        if place == "link":
            net.gw.ip("link", "set", "underlay", "mtu", MTU)
        else:
            net.routers[0].ip("link", "set", "away", "mtu", MTU)
        net.add_vtep()
        net.device = "eth0"
        if port == "lan:100":
            net.host.ip("address", "flush", "dev", "eth0")
            net.device = add_vlan(net.host, "eth0", 100)
            for address in (HOST, overlay6(0x10)):
                net.host.address(net.device, address)
        # Outer packets with DF: a router says that they don't fit, where it would fragment them over IPv4. And no SYN is changed:
        # the ends of a connection are to learn what fits.
        options = {"df": "set", "mss-clamp": "off"}
        gateway = start_gateway(net.gw, Settings([net.far_address], {VNI: [port]}, local=net.gateway, options=options))
        yield net
        gateway.check_books()
        gateway.stop()


@pytest.mark.parametrize("inner6", [False, True], ids=["inner4", "inner6"])
def test_path_mtu(narrow, inner6):
    """A megabyte gets through, though every full-size segment is too large at first; the sender is told what fits."""
    net, address = narrow, overlay6(2) if inner6 else "198.51.100.2"
    assert ping(net.host, address, count=2) == 0
    with ChecksumWatch(net.host, net.far):
        transfer(net.host, net.far, address, seconds=15)
    [route] = net.host.json("ip", "-j", "route", "get", address)
    assert [metric["mtu"] for metric in route["metrics"] if "mtu" in metric] == [MTU - overhead(net.ipv6)]
    assert fragments(net) == 0
    assert ping(net.host, address, size=MTU - overhead(net.ipv6) - (48 if inner6 else 28), flags=["-M", "do"]) == 0, "what fits"


def udp_frame(version, size, df=True, destination=mac(0x30)):
    """A datagram whose IP packet has `size` bytes."""
    ip = IPv6(src=overlay6(0x10), dst=overlay6(2)) if version == 6 else IP(src=HOST, dst="198.51.100.2", flags="DF" if df else 0, ttl=33)
    packet = ip / UDP(sport=7001, dport=7002)
    return bytes(Ether(src=mac(0x10), dst=destination) / packet / (b"marked 000000".ljust(size - len(packet), b"\0")))


def is_too_big(frame):
    return (ICMP in (packet := Ether(frame)) and packet[ICMP].type == 3 and packet[ICMP].code == 4) or ICMPv6PacketTooBig in packet


@pytest.mark.parametrize("version", [4, 6])
@over_both
def test_answer(lab, ipv6, version):
    """The answer, field by field: from whom the frame was for, quoting it, saying what fits; and then what fits does fit."""
    net, fits = Topology(lab, ipv6=ipv6), MTU - overhead(ipv6)
    gateway = start_gateway(net.gw, Settings([net.far.underlay], local=net.gateway))
    net.gw.ip("link", "set", "underlay", "mtu", MTU)  # it is told while it runs
    with PacketSocket(net.host, "eth0") as lan, PacketSocket(net.far.space, "underlay") as wire:
        wire.send(encapsulate(marked(0, mac(0x30)), ipv6))
        lan.receive(is_marked, 1)
        frame = udp_frame(version, fits + 1)
        def answered():
            lan.send(frame)
            return lan.receive(is_too_big, seconds=0.1)
        answer = wait_until(answered, 2, "an answer")[0]
        packet, asked = Ether(answer), Ether(frame)
        assert (packet.src, packet.dst) == (asked.dst, asked.src)
        if version == 4:
            assert (packet[IP].src, packet[IP].dst, packet[ICMP].nexthopmtu) == ("198.51.100.2", HOST, fits)
            assert len(packet[IP]) <= 576 and bytes(frame[14:42]) in answer
            again = IP(bytes(packet[IP]))
            del again.chksum, again[ICMP].chksum
            again = IP(bytes(again))
            assert (packet[IP].chksum, packet[ICMP].chksum) == (again.chksum, again[ICMP].chksum)
        else:
            assert (packet[IPv6].src, packet[IPv6].dst, packet[ICMPv6PacketTooBig].mtu) == (overlay6(2), overlay6(0x10), fits)
            assert len(packet[IPv6]) <= 1280 and bytes(frame[14:62]) in answer
            again = IPv6(bytes(packet[IPv6]))
            del again[ICMPv6PacketTooBig].cksum
            assert packet[ICMPv6PacketTooBig].cksum == IPv6(bytes(again))[ICMPv6PacketTooBig].cksum
        lan.send(udp_frame(version, fits))
        wire.receive(carries(lambda inner: number_of(inner) == 0), 1)
    gateway.check_books()
    gateway.stop()


@pytest.mark.parametrize("io", IO_MODES)
@pytest.mark.vxgw_only  # the kernel fragments, and reassembles
def test_never_a_fragment(lab, io):
    """A frame without DF that does not fit is dropped and counted, not fragmented (RFC 7348 section 4.3); neither are received
    fragments put together."""
    net = Topology(lab)
    net.host.ip("link", "set", "eth0", "mtu", 1500)
    gateway = start_gateway(net.gw, Settings([net.far.underlay], io=io))
    assert ping(net.host, net.far.address, count=1) == 0
    with PacketSocket(net.host, "eth0") as lan, PacketSocket(net.far.space, "underlay") as wire:
        lan.send(*[udp_frame(4, 1451, df=False)] * 10, *[marked(0, mac(0x10)).ljust(1465, b"\0")] * 10)
        wait_until(lambda: gateway.stats().drops.get("PKT_TOO_BIG", 0) == 20, 2, gateway.stats)
        assert wire.receive(lambda frame: frame[12:14] == b"\x08\x00", seconds=0.2) == []
        whole = IP(encapsulate(marked(0, mac(0x30)).ljust(1400, b"\0"))[14:])
        wire.send(*[Ether(src=mac(0x20), dst=mac(0x01)) / part for part in fragment(whole, 700)])
        wait_until(lambda: gateway.stats().drops.get("FRAG_NOT_SUPPORTED", 0) > 0, 2, gateway.stats)
        assert lan.receive(is_marked, seconds=0.1) == []
    gateway.check_books()
    gateway.stop()


@pytest.mark.vxgw_only
def test_answers_are_limited(lab):
    """A flood of frames that do not fit is not answered with a flood."""
    net = Topology(lab)
    net.host.ip("link", "set", "eth0", "mtu", 1500)
    gateway = start_gateway(net.gw, Settings([net.far.underlay]))
    assert ping(net.host, net.far.address, count=1) == 0
    with PacketSocket(net.host, "eth0") as lan:
        lan.send(*[udp_frame(4, 1451)] * 1000)
        assert 1 <= len(lan.receive(is_too_big, seconds=0.5)) <= 200
    gateway.check_books()
    gateway.stop()


# --mss-clamp, and what a SYN offers at most behind it, over an IPv4 underlay; [inner version]
CLAMPED = {"auto": {4: 1410, 6: 1390}, "1000": {4: 1000, 6: 1000}, "off": {4: 1460, 6: 1460}}


@pytest.mark.vxgw_only
@pytest.mark.parametrize("clamp", CLAMPED)
def test_mss_clamp(lab, clamp):
    """SYNs through the tunnel, both ways, offer what fits; other options and smaller offers stay, and the checksum is right."""
    net = Topology(lab)
    gateway = start_gateway(net.gw, Settings([net.far.underlay], options={"mss-clamp": clamp}))
    ends = mac(0x50), mac(0x51)
    with PacketSocket(net.host, "eth0") as lan, PacketSocket(net.far.overlay, net.far.device) as tunnel:
        for sender, receiver, address in ((lan, tunnel, ends[0]), (tunnel, lan, ends[1])):
            sender.send(marked(1, address))
            receiver.receive(is_marked, 1)
        for version, largest in CLAMPED[clamp].items():
            for flags, offer, expected in (("S", 1460, largest), ("SA", 1460, largest), ("S", 536, 536), ("A", 1460, 1460)):
                for sender, receiver, (source, destination) in ((lan, tunnel, ends), (tunnel, lan, ends[::-1])):
                    ethernet = Ether(src=source, dst=destination)
                    ip = IPv6(src=overlay6(77), dst=overlay6(78)) if version == 6 else IP(src="198.51.100.77", dst="198.51.100.78")
                    tcp = TCP(sport=7001, dport=7002, flags=flags, options=[("NOP", None), ("MSS", offer), ("WScale", 7)])
                    sender.send(ethernet / ip / tcp / b"marked 000000")
                    [frame] = receiver.receive(lambda frame: number_of(frame) == 0, 1)
                    received = Ether(frame)
                    assert received[TCP].options == [("NOP", None), ("MSS", expected), ("WScale", 7)], (flags, offer)
                    checksum = received[TCP].chksum
                    del received[TCP].chksum
                    assert Ether(bytes(received))[TCP].chksum == checksum
    gateway.check_books()
    gateway.stop()


@pytest.mark.vxgw_only  # the kernel's vxlan device keeps the MTU that it was made with
def test_tap_follows_the_underlay(lab):
    net = Topology(lab)
    gateway = start_gateway(net.gw, Settings([net.far.underlay], {VNI: ["tap:tap0"]}))
    net.address_tap()
    for mtu in (1500, 1400, 1500):
        net.gw.ip("link", "set", "underlay", "mtu", mtu)
        wait_until(lambda: net.gw.links()["tap0"]["mtu"] == mtu - 50, 2, f"TAP with MTU {mtu - 50}")
    gateway.stop()


@pytest.mark.parametrize("tap_mtu", [1200])
def test_tap_mtu_as_asked(lab, tap_mtu):
    """--mtu: what is asked for stays."""
    net = Topology(lab)
    gateway = start_gateway(net.gw, Settings([net.far.underlay], {VNI: ["tap:tap0"]}, options={"mtu": tap_mtu}))
    net.address_tap()
    assert net.gw.links()["tap0"]["mtu"] == tap_mtu
    assert ping(net.gw, net.far.address) == 0
    gateway.stop()
