"""What is added to and taken from a gateway while it runs costs the other traffic nothing: not one frame is lost."""

import pytest

from frames import is_marked, marked, number_of
from gateway import FLOOD, IO_MODES, Settings, start_gateway
from lab import Lab, PacketSocket, wait_until
from topology import VNI, Topology, mac, underlay

ROUNDS = 5


@pytest.fixture(scope="module", params=IO_MODES)
def running(request):
    """VNI 4100 is between the LAN and the far VTEP; the others come and go."""
    with Lab() as lab:
        net = Topology(lab, vteps=2)
        for device in ("lan2", "lan3"):
            net.add_host(f"host-{device}", device, number=int(device[3:]) + 0x10)
        net.add_vtep(net.spaces[0], vni=4200, overlay=lab.namespace("overlay2"))
        settings = Settings([net.far.underlay], {VNI: ["lan"], 4300: ["lan3"]}, io=request.param, options={"vteps": "any"})
        net.dut = start_gateway(net.gw, settings)
        yield net
        net.dut.check_books()
        net.dut.stop()


def vnis(gateway):
    gateway.segment("add", 4200, ["lan2"], [underlay(2)])
    gateway.segment("del", 4200)


def taps(gateway):
    gateway.segment("add", 4400, ["tap:tap0"], [underlay(2), underlay(3)])
    gateway.segment("del", 4400)


def ports(gateway):
    gateway.link("add", 4300, "lan2")
    gateway.link("del", 4300, "lan2")


def ports_of_the_same_segment(gateway):
    gateway.link("add", VNI, "lan2")
    gateway.link("del", VNI, "lan2")


def entries(gateway):
    for number in range(5):
        gateway.fdb_change("add", mac(0x70 + number), "dst", underlay(3), vni=4300)
    for number in range(5):
        gateway.fdb_change("del", mac(0x70 + number), vni=4300)


def vteps(gateway):
    gateway.vtep("add", underlay(3), 4300)
    gateway.fdb_change("append", FLOOD, "dst", underlay(9), vni=4300)  # nobody has this address
    gateway.vtep("del", underlay(3), 4300)
    gateway.fdb_change("del", FLOOD, "dst", underlay(9), vni=4300)


@pytest.mark.parametrize("change", [vnis, taps, ports, ports_of_the_same_segment, entries, vteps], ids=lambda change: change.__name__)
def test_nothing_is_lost(running, change):
    """2,000 numbered frames a second in each direction, amid changes."""
    net, ends = running, (mac(0x10), mac(0x30))
    with PacketSocket(net.host, "eth0") as lan, PacketSocket(net.far.overlay, net.far.device) as far:
        for sender, receiver, address in ((lan, far, ends[0]), (far, lan, ends[1])):
            sender.send(marked(0, address))  # now both are known
            receiver.receive(is_marked, 1)
        with lan.streaming(lambda number: marked(number, *ends), 0.0005) as out, \
             far.streaming(lambda number: marked(number, *ends[::-1]), 0.0005) as into:
            for _ in range(ROUNDS):
                change(net.dut)
            wait_until(lambda: min(len(out), len(into)) > 300, 5, "a stream")
        arrived = [[number_of(frame) for frame in receiver.receive(is_marked, seconds=0.3)] for receiver in (far, lan)]
    assert arrived == [list(range(len(out))), list(range(len(into)))]


def test_what_comes_works(running):
    """A segment that was added carries traffic, and none once it was taken away; added again, it works again."""
    net = running
    [overlay] = [space for space in net.lab.namespaces if space.role == "overlay2"]
    [host] = [space for space in net.lab.namespaces if space.role == "host-lan2"]
    with PacketSocket(host, "eth0") as lan, PacketSocket(overlay, "vxlan4200") as far:
        for _ in range(2):
            net.dut.segment("add", 4200, ["lan2"], [underlay(2)])
            for sender, receiver, address in ((lan, far, mac(0x50)), (far, lan, mac(0x51))):
                sender.send(marked(1, address))
                receiver.receive(is_marked, 1)
            net.dut.segment("del", 4200)
            for sender, receiver, address in ((lan, far, mac(0x50)), (far, lan, mac(0x51))):
                sender.send(marked(2, address))
                assert receiver.receive(is_marked, seconds=0.2) == []
