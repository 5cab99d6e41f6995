"""Segments keep apart, and broadcasts reach each VTEP once."""

import pytest

from frames import BROADCAST, is_marked, marked
from gateway import IO_MODES, KERNEL, Entry, Settings, start_gateway
from lab import PacketSocket
from topology import Topology, mac
from traffic import ChecksumWatch, ping, tcp

@pytest.fixture(params=IO_MODES)
def io(request):
    return request.param


def test_two_vnis_are_isolated(lab, io):
    """VNI 4100 and 4200: the same subnet, the same addresses, the same MACs; nothing of one is seen in the other."""
    vnis = {4100: "lan", 4200: "lan2"}
    net = Topology(lab, vni=4100)
    vteps = {4100: net.far, 4200: net.add_vtep(net.far.space, vni=4200, overlay=lab.namespace("overlay2"))}
    hosts = {4100: net.host, 4200: net.add_host("host2", "lan2")}
    gateway = start_gateway(net.gw, Settings([net.far.underlay], {vni: [port] for vni, port in vnis.items()}, io=io))
    for vni, vtep in vteps.items():
        with ChecksumWatch(hosts[vni], vtep.overlay):
            assert ping(hosts[vni], vtep.address) == 0
            tcp(hosts[vni], vtep.overlay, vtep.address)
    expected = [Entry(vni, mac(0x10), port) for vni, port in vnis.items()]
    expected += [Entry(vni, mac(0x30), net.far.underlay) for vni in vnis]
    assert gateway.fdb() == sorted(expected)

    for here, there in ((4100, 4200), (4200, 4100)):
        with PacketSocket(hosts[here], "eth0") as sender, PacketSocket(vteps[here].overlay, vteps[here].device) as receiver, \
             PacketSocket(hosts[there], "eth0") as other, PacketSocket(vteps[there].overlay, vteps[there].device) as other_far:
            sender.send(*[marked(number, mac(0x50)) for number in range(10)])
            receiver.receive(is_marked, 10)
            receiver.send(*[marked(number, mac(0x51)) for number in range(10)])
            sender.receive(is_marked, 10)
            assert other.receive(is_marked, seconds=0.2) + other_far.receive(is_marked, seconds=0.2) == []
    gateway.check_books()
    gateway.stop()


def test_replication_and_split_horizon(lab, io):
    """Three VTEPs: a broadcast from the LAN reaches each exactly once; one from a VTEP reaches the LAN alone."""
    net = Topology(lab, vteps=3)
    gateway = start_gateway(net.gw, Settings([vtep.underlay for vtep in net.vteps], io=io, workers=1 if KERNEL else 2))
    for vtep in net.vteps:
        assert ping(net.host, vtep.address) == 0
    expected = [Entry(net.vni, vtep.mac, vtep.underlay) for vtep in net.vteps] + [Entry(net.vni, mac(0x10), "lan")]
    assert gateway.fdb() == sorted(expected)

    lan = PacketSocket(net.host, "eth0")
    fars = [PacketSocket(vtep.overlay, vtep.device) for vtep in net.vteps]
    for destination in (BROADCAST, mac(0x60), "01:00:5e:00:00:01"):  # unknown unicast, multicast
        frames = [marked(number, mac(0x10), destination) for number in range(50)]
        lan.send(*frames)
        for far in fars:
            assert far.receive(is_marked, seconds=0.3) == frames

        frames = [marked(number, mac(0x30), destination) for number in range(50)]
        fars[0].send(*frames)
        assert lan.receive(is_marked, seconds=0.3) == frames
        assert [far.receive(is_marked, seconds=0.2) for far in fars] == [[], [], []]

    frames = [marked(number, mac(0x10), mac(0x31)) for number in range(50)]
    lan.send(*frames)
    assert [far.receive(is_marked, seconds=0.2) for far in fars] == [[], frames, []], "a known address is not flooded"
    for opened in (lan, *fars):
        opened.socket.close()
    gateway.check_books()
    gateway.stop()
