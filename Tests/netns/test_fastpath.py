"""The in-kernel fast path: that it does its work, and that it stops when it has to."""

import contextlib
import os
import signal
import time

import pytest

import xdp_program
from frames import is_marked, marked
from gateway import Settings, start_gateway
from lab import PacketSocket, wait_until
from topology import Topology, mac
from traffic import ping

pytestmark = pytest.mark.vxgw_only


def settled(lab, io="fastpath", **options):
    """A topology and a gateway in which both ends are known."""
    net = Topology(lab)
    gateway = start_gateway(net.gw, Settings([net.far.underlay], io=io, options=options))
    assert ping(net.host, net.far.address, count=3) == 0
    return net, gateway


def finish(gateway):
    gateway.check_books()
    gateway.stop()


def test_takes_what_is_known(lab):
    """Pings of known hosts never reach a worker, on either NIC; everything else is the workers'."""
    net, gateway = settled(lab)
    before = gateway.stats()
    assert ping(net.host, net.far.address, count=100) == 0
    after = gateway.stats()
    taken = after.fastpath - before.fastpath
    assert taken >= 190  # ARP may come between
    assert after.received - before.received - taken < 10
    assert "lan (veth, native XDP, copy, fast path, " in gateway.ready
    for device in ("underlay", "lan"):
        state = gateway.fastpath(device)
        assert state["on"] and state["rx"]["frames"] >= 95 and state["tx"]["frames"] >= 95
    finish(gateway)


@pytest.mark.parametrize("wanted", ["auto", "on", "off"])
def test_follows_the_peer(lab, wanted):
    """A veth takes frames only while its peer has GRO or XDP: vxgw says so, and follows, without a lost ping."""
    net, gateway = settled(lab, io="xdp", fastpath=wanted)
    assert ("no fast path: its peer has no GRO" in gateway.ready) == (wanted != "off")
    assert "AF_XDP bind" not in gateway.output()  # zero-copy was not tried: every program is loaded once
    assert gateway.stats().fastpath == 0
    for space, device in ((net.host, "eth0"), (net.far.space, "underlay")):
        space.run("ethtool", "-K", device, "gro", "on")
    if wanted == "off":
        assert ping(net.host, net.far.address) == 0 and gateway.stats().fastpath == 0
    else:
        wait_until(lambda: gateway.fastpath("lan")["on"] and gateway.fastpath("underlay")["on"], 2, "the fast path")
        assert ping(net.host, net.far.address) == 0 and gateway.stats().fastpath >= 30
    finish(gateway)


def test_counts_what_a_nic_refuses(lab):
    """Frames that a NIC stops to take are dropped by the kernel behind our back, and counted; workers send the next ones."""
    net = Topology(lab)
    with xdp_program.attached(net.far.space, "underlay"), contextlib.ExitStack() as program:
        program.enter_context(xdp_program.attached(net.host, "eth0"))
        gateway = start_gateway(net.gw, Settings([net.far.underlay], io="xdp"))
        assert ping(net.host, net.far.address, count=3) == 0
        with PacketSocket(net.far.overlay, net.far.device) as sender:
            with sender.streaming(lambda number: marked(number, mac(0x30), mac(0x10))):
                wait_until(lambda: gateway.stats().fastpath > 100, 5, "frames on the fast path")
                program.close()  # ndo_xdp_xmit of a veth whose peer has no NAPI: ENXIO
                wait_until(lambda: not gateway.fastpath("lan")["on"], 2, "the fast path's end")
        assert 0 < gateway.stats().drops["TX_DROPPED"] < 100
        assert ping(net.host, net.far.address) == 0
        finish(gateway)


def test_keeps_entries_alive(lab):
    """Hosts that only the program sees do not age; silent ones do."""
    net, gateway = settled(lab, ageing=2)
    learned = gateway.fdb()
    before = gateway.stats()
    assert ping(net.host, net.far.address, count=50, interval=0.1) == 0
    after = gateway.stats()
    assert after.fastpath - before.fastpath >= 90
    assert gateway.fdb() == learned
    wait_until(lambda: not gateway.fdb(), 4, "ageing")
    finish(gateway)


def test_entry_is_gone_when_del_returns(lab):
    """From then on the frames are flooded, by a worker."""
    net, gateway = settled(lab)
    with PacketSocket(net.host, "eth0") as sender:
        with sender.streaming(lambda number: marked(number, mac(0x10), mac(0x30))):
            wait_until(lambda: gateway.stats().fastpath > 100, 5, "frames on the fast path")
            gateway.fdb_change("del", mac(0x30), "dst", net.far.underlay)
            before = gateway.stats()
            time.sleep(0.3)
            after = gateway.stats()
    assert after.fastpath == before.fastpath
    assert after.received - before.received > 20
    finish(gateway)


def test_stands_still_without_workers(lab):
    """When the process hangs for more than a second nothing passes by, and all goes on when it does."""
    net, gateway = settled(lab)
    with PacketSocket(net.host, "eth0") as sender, PacketSocket(net.far.overlay, net.far.device) as receiver:
        with sender.streaming(lambda number: marked(number, mac(0x10), mac(0x30))):
            wait_until(lambda: gateway.stats().fastpath > 100, 5, "frames on the fast path")
            os.kill(gateway.process.pid, signal.SIGSTOP)
            try:
                time.sleep(1.5)
                receiver.receive(is_marked, seconds=0.1)  # what came until then
                assert receiver.receive(is_marked, seconds=0.5) == []
            finally:
                os.kill(gateway.process.pid, signal.SIGCONT)
            before = gateway.stats()
            wait_until(lambda: gateway.stats().fastpath > before.fastpath + 100, 5, "frames on the fast path again")
    finish(gateway)
