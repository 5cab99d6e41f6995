"""What changes while vxgw runs, and what it leaves behind when it ends."""

import time

import pytest

from frames import marked
from gateway import IO_MODES, KERNEL, Entry, KernelGateway, Settings, start_gateway
from lab import PacketSocket, wait_until
from topology import GATEWAY, HOST, LOCAL, VNI, Topology, mac
from traffic import ChecksumWatch, Streams, ping, tcp


@pytest.fixture(params=IO_MODES)
def io(request):
    return request.param


def both_ports(net, io, **options):
    """A gateway with the LAN and a TAP in one segment: everything that it could leave behind."""
    remotes = [vtep.underlay for vtep in net.vteps]
    return start_gateway(net.gw, Settings(remotes, {net.vni: ["lan", "tap:tap0"]}, io=io, **options))


def test_three_way_segment_and_clean_stop(lab, io):
    """LAN, TAP and far VTEP in one segment reach each other; SIGTERM puts every link setting back and exits 0."""
    net = Topology(lab)
    before = net.gw.state()
    gateway = both_ports(net, io)
    net.address_tap()
    for space, address in ((net.host, net.far.address), (net.host, LOCAL), (net.far.overlay, LOCAL), (net.far.overlay, HOST)):
        with ChecksumWatch(net.host, net.far.overlay, net.gw):
            assert ping(space, address) == 0
    with ChecksumWatch(net.host, net.gw):
        tcp(net.host, net.gw, LOCAL)  # from local port to local port, never on the underlay
        tcp(net.host, net.gw, LOCAL, reverse=True)
    expected = [Entry(net.vni, mac(0x30), net.far.underlay), Entry(net.vni, mac(0x10), "lan"),
                Entry(net.vni, net.gw.mac("tap0"), "tap0")]
    assert KERNEL or gateway.fdb(own=net.gw.mac("tap0")) == sorted(expected)
    gateway.check_books()
    gateway.stop()
    assert net.gw.state() == before


def test_kill_leaves_nothing(lab, io):
    """kill -9 amid streams: no XDP program, promiscuous mode or TAP; the kernel has its packets back."""
    net = Topology(lab)
    before = net.gw.state()
    gateway = both_ports(net, io)
    assert ping(net.host, net.far.address, count=2) == 0
    streams = Streams(net.host, net.far.overlay, net.far.address, "-t", 20, "-P", 4)
    time.sleep(0.5)
    assert streams.client.poll() is None, "the streams run"
    gateway.kill()

    def held():
        links = net.gw.links()
        return {name: link for name, link in links.items() if name == "tap0" or link.get("xdp") or link["promiscuity"]}
    wait_until(lambda: not held(), 1, lambda: f"release of {held()}")
    streams.end()
    assert net.gw.links().keys() == before.keys()
    assert ping(net.far.space, GATEWAY) == 0
    kernel = KernelGateway(net.gw, Settings([net.far.underlay], {net.vni: ["lan"]})).start()  # on the same UDP port
    assert ping(net.host, net.far.address) == 0
    kernel.stop()


def test_restart_after_kill(lab, io):
    """What kill -9 left does not disturb the next start."""
    net = Topology(lab)
    both_ports(net, io).kill()
    gateway = both_ports(net, io)
    assert ping(net.host, net.far.address) == 0
    gateway.check_books()
    gateway.stop()


def test_host_stays_reachable(lab, io):
    """The gateway's own underlay address answers while vxgw runs, and the host's stack never refuses the VTEP's port."""
    net = Topology(lab)
    gateway = start_gateway(net.gw, Settings([net.far.underlay], io=io))
    refused = net.gw.counter("IcmpOutDestUnreachs")
    with ChecksumWatch(net.gw, net.far.space):
        assert ping(net.far.space, GATEWAY) == 0
        assert ping(net.gw, net.far.underlay) == 0
        tcp(net.far.space, net.gw, GATEWAY)
        tcp(net.far.space, net.gw, GATEWAY, reverse=True)
        assert ping(net.far.overlay, HOST) == 0
    assert net.gw.counter("IcmpOutDestUnreachs") == refused
    gateway.check_books()
    gateway.stop()


@pytest.mark.vxgw_only  # the kernel's vxlan device looks for old entries only every 10 s
def test_ageing(lab):
    """--ageing 2: an entry that nothing refreshes is there after 1.5 s and gone after 3.5 s, on either side."""
    net = Topology(lab)
    gateway = both_ports(net, "auto", options={"ageing": 2})
    with PacketSocket(net.host, "eth0") as lan, PacketSocket(net.far.overlay, net.far.device) as far:
        lan.send(marked(0, mac(0x50)))
        far.send(marked(0, mac(0x51)))
    sent = time.monotonic()
    learned = {Entry(net.vni, mac(0x50), "lan"), Entry(net.vni, mac(0x51), net.far.underlay)}
    wait_until(lambda: learned <= set(gateway.fdb()), 1, lambda: gateway.fdb())
    time.sleep(max(0, sent + 1.5 - time.monotonic()))
    assert learned <= set(gateway.fdb())
    time.sleep(max(0, sent + 3.5 - time.monotonic()))
    assert not learned & set(gateway.fdb())
    gateway.stop()


def test_mac_moves(lab, io):
    """An address that moves between VTEPs, the LAN and back is found where it was seen last."""
    net = Topology(lab, vteps=2)
    gateway = start_gateway(net.gw, Settings([vtep.underlay for vtep in net.vteps], io=io))
    places = {vtep.underlay: PacketSocket(vtep.overlay, vtep.device) for vtep in net.vteps}
    places["lan"] = PacketSocket(net.host, "eth0")
    wanderer = mac(0x50)
    for where in ("192.0.2.2", "192.0.2.3", "lan", "192.0.2.2", "lan", "192.0.2.3"):
        def learned():
            places[where].send(marked(0, wanderer))  # again and again, as a host would that wants to be heard
            return [entry.where for entry in gateway.fdb() if entry.mac == wanderer]
        wait_until(lambda: learned() == [where], 2, lambda: f"{wanderer} learned at {where}: {gateway.fdb()}")
    for opened in places.values():
        opened.socket.close()
    gateway.check_books()
    gateway.stop()


def test_neighbour_changes_its_mac(lab, io):
    """The far VTEP gets another MAC (as at a failover) and announces it: traffic goes on."""
    net = Topology(lab)
    net.far.space.run("sysctl", "-qw", "net.ipv4.conf.underlay.arp_notify=1")
    gateway = start_gateway(net.gw, Settings([net.far.underlay], io=io))
    assert ping(net.host, net.far.address) == 0
    net.far.space.ip("link", "set", "underlay", "address", mac(0x2F))
    wait_until(lambda: ping(net.host, net.far.address, count=1) == 0, 3, "a reply from the VTEP's new MAC")
    assert ping(net.host, net.far.address) == 0
    gateway.check_books()
    gateway.stop()


def test_unresolved_neighbour(lab, io):
    """The first frames wait until the far VTEP's MAC is known: not even the first echo is lost."""
    net = Topology(lab)
    gateway = start_gateway(net.gw, Settings([net.far.underlay], io=io))
    for _ in range(3):
        net.gw.ip("neighbour", "flush", "dev", "underlay")
        net.host.ip("neighbour", "flush", "dev", "eth0")
        assert ping(net.host, net.far.address, count=3) == 0
    gateway.check_books()
    gateway.stop()


@pytest.mark.vxgw_only
def test_late_vtep_is_named_not_waited_for(lab):
    """A remote VTEP that does not answer yet delays nobody: vxgw is ready, and traffic starts when the VTEP does."""
    net = Topology(lab)
    net.far.space.ip("link", "set", "underlay", "down")
    gateway = start_gateway(net.gw, Settings([net.far.underlay]))
    assert ping(net.host, net.far.address, count=2) == 100
    net.far.space.ip("link", "set", "underlay", "up")
    wait_until(lambda: ping(net.host, net.far.address, count=1) == 0, 8, "a reply from the late VTEP")
    assert net.far.underlay in gateway.output()
    gateway.check_books()
    gateway.stop()


@pytest.mark.vxgw_only
def test_no_remote_is_warned_about(lab):
    """Without remote, group or static entry flooding has nowhere to go: vxgw starts, and says what is missing."""
    net = Topology(lab)
    gateway = start_gateway(net.gw, Settings([], {VNI: ["lan"]}))
    assert "--remote" in gateway.output()
    gateway.stop()
