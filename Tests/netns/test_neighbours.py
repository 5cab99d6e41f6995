"""ARP and ND that the gateway answers or keeps out of the tunnel: --proxy as the kernel's vxlan device has it, --suppress as
its bridge has it (neigh_suppress). The idea of the kernel's own test_bridge_neigh_suppress.sh.
"""

import time

import pytest
from scapy.layers.inet6 import ICMPv6EchoRequest, ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6NDOptDstLLAddr, ICMPv6NDOptSrcLLAddr, IPv6
from scapy.layers.l2 import ARP, Ether

from frames import BROADCAST, carries, encapsulate, is_marked, marked
from gateway import KERNEL, Settings, start_gateway
from lab import Lab, PacketSocket, wait_until
from topology import HOST, Topology, mac, overlay6

ME, KNOWN, UNKNOWN = mac(0x10), mac(0x61), mac(0x62)  # KNOWN is behind the VTEP, and its addresses are told
NUMBER = {KNOWN: 0x61, UNKNOWN: 0x62}


def ip(who):
    return f"198.51.100.{NUMBER[who]}"


def ip6(who):
    return overlay6(NUMBER[who])


def arp(whose, to=BROADCAST, sender=HOST, **fields):
    return Ether(src=ME, dst=to) / ARP(**({"op": 1, "hwsrc": ME, "psrc": sender, "hwdst": "00:00:00:00:00:00", "pdst": ip(whose)} | fields))


def solicitation(whose, to=None, source=overlay6(0x10)):
    message = IPv6(src=source, dst=f"ff02::1:ff00:{NUMBER[whose]:x}" if to is None else ip6(whose)) / ICMPv6ND_NS(tgt=ip6(whose))
    if source != "::":
        message /= ICMPv6NDOptSrcLLAddr(lladdr=ME)
    return Ether(src=ME, dst=to or f"33:33:ff:00:00:{NUMBER[whose]:02x}") / message


ADVERTISEMENT = IPv6(src=overlay6(0x10), dst="ff02::1") / ICMPv6ND_NA(tgt=overlay6(0x10), S=0, O=1) / ICMPv6NDOptDstLLAddr(lladdr=ME)
OTHERS = {
    "reply": arp(UNKNOWN, to=KNOWN, op=2, hwdst=KNOWN),
    "RARP": Ether(src=ME, dst=BROADCAST, type=0x8035) / bytes(ARP(op=3, hwsrc=ME, hwdst=ME)),
    "unsolicited advertisement": Ether(src=ME, dst="33:33:00:00:00:01") / ADVERTISEMENT,
    "another ICMPv6 message": Ether(src=ME, dst=KNOWN) / IPv6(src=overlay6(0x10), dst=ip6(KNOWN)) / ICMPv6EchoRequest(data=b"x" * 20),
}

# Frame from the LAN, whether it is answered, and whether it goes into the tunnel.
PROXY = {
    "request": (arp(KNOWN), True, False),
    "request to one": (arp(KNOWN, to=KNOWN), True, False),
    "request for somebody unknown": (arp(UNKNOWN), False, False),
    "probe": (arp(KNOWN, sender="0.0.0.0"), True, False),
    "gratuitous request": (arp(KNOWN, sender=ip(KNOWN)), True, False),
    "reply": (OTHERS["reply"], False, False),
    "RARP": (OTHERS["RARP"], False, True),
    "solicitation": (solicitation(KNOWN), True, False),
    "solicitation to one": (solicitation(KNOWN, to=KNOWN), True, False),
    "solicitation for somebody unknown": (solicitation(UNKNOWN), False, False),
    "duplicate address detection": (solicitation(KNOWN, source="::"), True, False),
    "unsolicited advertisement": (OTHERS["unsolicited advertisement"], False, True),
    "another ICMPv6 message": (OTHERS["another ICMPv6 message"], False, True),
}
GOES_ON = not KERNEL  # which keeps them from VTEPs that nobody else may tell of a host that has moved
SUPPRESS = {
    "request": (arp(KNOWN), True, False),
    "request to one": (arp(KNOWN, to=KNOWN), False, True),
    "request for somebody unknown": (arp(UNKNOWN), False, True),
    "probe": (arp(KNOWN, sender="0.0.0.0"), False, GOES_ON),
    "gratuitous request": (arp(KNOWN, sender=ip(KNOWN)), False, GOES_ON),
    "reply": (OTHERS["reply"], False, True),
    "solicitation": (solicitation(KNOWN), True, False),
    "solicitation to one": (solicitation(KNOWN, to=KNOWN), False, True),
    "solicitation for somebody unknown": (solicitation(UNKNOWN), False, True),
    "duplicate address detection": (solicitation(KNOWN, source="::"), False, GOES_ON),
    "unsolicited advertisement": (OTHERS["unsolicited advertisement"], False, GOES_ON),
    "another ICMPv6 message": (OTHERS["another ICMPv6 message"], False, True),
}


def site(lab, option):
    """A gateway that knows one neighbour, behind the VTEP."""
    net = Topology(lab)
    net.dut = start_gateway(net.gw, Settings([net.far.underlay], options={option: True}))
    with PacketSocket(net.far.space, "underlay") as wire, PacketSocket(net.host, "eth0") as lan:
        wire.send(encapsulate(marked(0, KNOWN)))
        lan.receive(is_marked, 1)
    for address in (ip(KNOWN), ip6(KNOWN)):
        net.dut.neighbour("add", address, KNOWN)
    return net


@pytest.fixture(scope="module")
def proxy():
    with Lab() as lab:
        net = site(lab, "proxy")
        yield net
        net.dut.check_books()
        net.dut.stop()


@pytest.fixture(scope="module")
def suppress():
    with Lab() as lab:
        net = site(lab, "suppress")
        yield net
        net.dut.check_books()
        net.dut.stop()


def is_answer(frame):
    packet = Ether(frame)
    return frame[6:12].hex(":") == KNOWN and ((ARP in packet and packet[ARP].op == 2) or ICMPv6ND_NA in packet)


def examine(net, question, answered, tunnelled):
    with PacketSocket(net.host, "eth0") as lan, PacketSocket(net.far.space, "underlay") as wire:
        lan.send(question)
        # The kernel's tunnel may have padded it; nothing else has this start.
        inside = wire.receive(carries(lambda inner: inner[:len(question)] == bytes(question)), seconds=0.15)
        answers = lan.receive(is_answer, seconds=0.05)
    assert (len(answers), len(inside)) == (answered, tunnelled)
    for answer in answers:
        check_answer(Ether(answer), question)


def check_answer(answer, question):
    """RFC 826, and RFC 4861 section 7.2.4."""
    if ARP in answer:
        assert (answer.dst, answer[ARP].hwsrc, answer[ARP].psrc) == (ME, KNOWN, ip(KNOWN))
        assert (answer[ARP].hwdst, answer[ARP].pdst) == (ME, question[ARP].psrc)
        return
    advertisement = answer[ICMPv6ND_NA]
    assert (answer[IPv6].src, answer[IPv6].hlim, advertisement.tgt, advertisement.O) == (ip6(KNOWN), 255, ip6(KNOWN), 1)
    assert answer[ICMPv6NDOptDstLLAddr].lladdr == KNOWN
    if question[IPv6].src != "::":
        assert (answer[IPv6].dst, advertisement.S, answer.dst) == (question[IPv6].src, 1, ME)
    elif not KERNEL:  # which answers to the unspecified address
        assert (answer[IPv6].dst, advertisement.S, answer.dst) == ("ff02::1", 0, "33:33:00:00:00:01")
    checksum = advertisement.cksum
    del advertisement.cksum
    assert Ether(bytes(answer))[ICMPv6ND_NA].cksum == checksum


@pytest.mark.parametrize("name", PROXY)
def test_proxy(proxy, name):
    examine(proxy, *PROXY[name])


@pytest.mark.parametrize("name", SUPPRESS)
def test_suppress(suppress, name):
    examine(suppress, *SUPPRESS[name])


@pytest.mark.parametrize("mode", ["proxy", "suppress"])
def test_from_the_tunnel_nothing_is_answered(request, mode):
    """A question from the far end reaches the LAN, and only the LAN answers."""
    net = request.getfixturevalue(mode)
    question = bytes(Ether(src=UNKNOWN, dst=BROADCAST) / ARP(op=1, hwsrc=UNKNOWN, psrc=ip(UNKNOWN), pdst=ip(KNOWN)))
    with PacketSocket(net.host, "eth0") as lan, PacketSocket(net.far.space, "underlay") as wire:
        wire.send(encapsulate(question))
        lan.receive(lambda frame: frame[:len(question)] == question, 1)
        assert wire.receive(carries(is_answer), seconds=0.15) == []


@pytest.mark.vxgw_only  # the kernel is told by programs alone
def test_suppress_snoops(lab):
    """What ARP and ND from the tunnel tell is known afterwards, and is told by `vxgw neigh show` and `vxgw monitor`."""
    net = Topology(lab)
    gateway = start_gateway(net.gw, Settings([net.far.underlay], options={"suppress": True}))
    told = Ether(src=KNOWN, dst=ME) / ARP(op=2, hwsrc=KNOWN, psrc=ip(KNOWN), hwdst=ME, pdst=HOST)
    with PacketSocket(net.host, "eth0") as lan, PacketSocket(net.far.space, "underlay") as wire:
        wire.send(encapsulate(told))
        lan.receive(lambda frame: ARP in Ether(frame) and frame[6:12].hex(":") == KNOWN, 1)
    wait_until(lambda: ip(KNOWN) in gateway.ask("neigh", "show"), 2, "the snooped neighbour")
    examine(net, arp(KNOWN), True, False)
    gateway.check_books()
    gateway.stop()


@pytest.mark.vxgw_only
def test_misses_are_limited(lab):
    """A flood of frames to one unknown address, and of questions for another, is told a few times, not each time."""
    net = Topology(lab)
    gateway = start_gateway(net.gw, Settings([], options={"proxy": True, "l2miss": True, "l3miss": True}))
    events = gateway.monitor()
    with PacketSocket(net.host, "eth0") as lan:
        def first():
            lan.send(marked(0, ME, mac(0x77)))
            return events()
        wait_until(first, 5, "the first event")
        time.sleep(1.1)
        before = len(events())
        lan.send(*[marked(number, ME, mac(0x78)) for number in range(500)], *[arp(UNKNOWN)] * 500)
        def told(kind):
            return [event for event in events()[before:] if event["event"] == kind]
        wait_until(lambda: told("l2miss") and told("l3miss"), 2, "both misses")
        assert told("l2miss")[0]["mac"] == mac(0x78) and told("l3miss")[0]["dst"] == ip(UNKNOWN)
        assert len(events()) - before < 20
    gateway.stop()
