"""What changes on the underlay while traffic flows: routes, next hops, their addresses, the link."""

import time
from ipaddress import ip_address

import pytest

from frames import carries, decapsulate, is_marked, marked, number_of
from gateway import Settings, start_gateway
from lab import PacketSocket, wait_until
from nodes import CASES, flood_list, make_nodes
from routed import Routed
from topology import HOST, mac, over_both
from traffic import ChecksumWatch, ping, transfer

RATE = 1000  # frames a second


def settle(seconds):
    """The time in which a change has to be followed."""
    time.sleep(seconds)


@pytest.fixture
def routed(lab, ipv6):
    net = Routed(lab, ipv6)
    net.add_vtep()
    net.dut = start_gateway(net.gw, Settings([net.far_address], local=net.gateway))
    assert ping(net.host, "198.51.100.2", count=3) == 0
    yield net
    net.dut.check_books()
    net.dut.stop()


@over_both
def test_next_hop_is_a_router(routed):
    """The VTEP is not on the link: packets go to the router's MAC."""
    net = routed
    with ChecksumWatch(net.host, net.far), PacketSocket(net.routers[0], "near") as wire:
        assert ping(net.host, "198.51.100.2") == ping(net.far, HOST) == 0
        transfer(net.host, net.far, "198.51.100.2")
        transfer(net.far, net.host, HOST)
        assert wire.receive(carries(lambda frame: frame[6:12].hex(":") == mac(0x10)), seconds=0.1) != []


def streamed(net, change):
    """A stream of numbered frames from the LAN to the far VTEP, with a change amid it. Returns what numbers were sent before the
    change and before a second after it, and those that passed each router and that arrived."""
    places = [PacketSocket(router, "near") for router in net.routers] + [PacketSocket(net.far, "underlay")]
    with PacketSocket(net.host, "eth0") as lan:
        with lan.streaming(lambda number: marked(number, mac(0x10), mac(0x30)), 1 / RATE) as sent:
            settle(0.3)
            before = len(sent)
            # Nothing that was sent before is still on its way when the change comes.
            first = places[-1].receive(carries(is_marked), before)
            change()
            settle(1)
            after = len(sent)
            settle(0.3)
        packets = [place.receive(carries(is_marked), seconds=0.2) for place in places]
        packets[-1] = first + packets[-1]
        seen = [[number_of(decapsulate(packet).inner) for packet in some] for some in packets]
    for place in places:
        place.socket.close()
    return before, after, len(sent), *seen


@over_both
def test_route_changes(routed):
    """Another router from now on: within a second all is sent there, nothing to the old one any more, nothing is lost."""
    before, after, sent, old, new, arrived = streamed(routed, lambda: routed.over(1))
    assert set(range(before)) - set(old) == set()
    assert set(range(after, sent)) - set(new) == set() and max(old) < after
    assert arrived == list(range(sent))


@over_both
def test_equal_cost_route_loses_a_router(lab, ipv6):
    """Two routers of equal cost, until one is taken away: then the other one has everything."""
    net = Routed(lab, ipv6)
    net.add_vtep()
    net.over(0, 1)
    dut = start_gateway(net.gw, Settings([net.far_address], local=net.gateway))
    assert ping(net.host, "198.51.100.2", count=3) == 0
    before, after, sent, first, second, arrived = streamed(net, lambda: net.over(1))
    assert set(first) | set(second) == set(range(sent)) and not set(first) & set(second)
    assert set(range(after, sent)) - set(second) == set()
    assert arrived == list(range(sent))
    dut.check_books()
    dut.stop()


@over_both
def test_router_gets_another_mac(routed):
    """As at a failover, announced with gratuitous ARP or an unsolicited advertisement: traffic follows within a second."""
    router = routed.routers[0]
    before, after, sent, seen, _, arrived = streamed(routed, lambda: router.ip("link", "set", "near", "address", mac(0x4F)))
    assert (set(range(before)) | set(range(after, sent))) - set(seen) == set()
    assert set(range(after, sent)) - set(arrived) == set()


@pytest.mark.parametrize("case", [case for case in CASES if case.far == "kernel"], ids=str)
def test_link_flaps(lab, case):
    """The underlay link goes down and comes back: the group is joined again (the report is heard), traffic goes on."""
    group = "ff05::db8:1" if case.ipv6 else "239.1.1.1"
    nodes = make_nodes(lab, case)
    for node in nodes:
        node.space.run("sysctl", "-qw", "net.ipv6.conf.underlay.keep_addr_on_down=1")
        node.add_host("lan")
        node.start(case, [group], {42: ["lan"]})
    [[near], [far]] = (node.hosts for node in nodes)
    assert ping(near.space, far.address, count=3) == 0
    with nodes[1].wire() as wire:
        nodes[0].space.ip("link", "set", "underlay", "down")
        assert ping(near.space, far.address, count=2) == 100
        wire.receive(lambda frame: is_report(frame, group), seconds=0)
        nodes[0].space.ip("link", "set", "underlay", "up")
        wire.receive(lambda frame: is_report(frame, group), 1, seconds=5)
    wait_until(lambda: ping(near.space, far.address, count=1) == 0, 5, "a reply after the flap")
    assert ping(near.space, far.address) == 0
    assert flood_list(group) <= nodes[0].gateway.destinations()
    for node in nodes:
        node.gateway.check_books()
        node.gateway.stop()


def is_report(frame, group):
    """An IGMP or MLD report (whatever version) of joining the group."""
    protocol = frame[23] if frame[12:14] == b"\x08\x00" else 58 if frame[12:14] == b"\x86\xdd" else 0
    return protocol in (2, 58) and ip_address(group).packed in frame[34:]
