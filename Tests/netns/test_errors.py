"""What vxgw says when it can't start: what failed, on what, why, what to do; the exit status; and nothing stays behind."""

import contextlib

import pytest

import xdp_program
from gateway import BINARY, Settings, start_gateway
from lab import Lab
from topology import GATEWAY, Topology

pytestmark = pytest.mark.vxgw_only
USAGE, RUNTIME = 64, 1
LINE = ["--iface", "underlay", "--vni", "1", "--remote", "192.0.2.2"]


@contextlib.contextmanager
def large_mtu(net):
    for space in (net.gw, net.far.space):
        space.ip("link", "set", "underlay", "mtu", 9000)
    yield
    for space in (net.gw, net.far.space):
        space.ip("link", "set", "underlay", "mtu", 1500)


@contextlib.contextmanager
def other_program(net):
    with xdp_program.attached(net.gw, "underlay"):
        yield


@contextlib.contextmanager
def other_instance(net):
    first = start_gateway(net.gw, Settings([net.far.underlay], {2: ["tap:first"]}))
    yield
    first.stop()


@contextlib.contextmanager
def tap_in_use(net):
    net.gw.ip("link", "add", "taken", "type", "bridge")
    yield
    net.gw.ip("link", "del", "taken")


# name: command line, exit status, words that the message has, what is in the way
CASES = {
    "unknown option": ([*LINE, "--remot", "192.0.2.3"], USAGE, ["--remot", "--remote"], None),
    "no interface": (["--vni", "1"], USAGE, ["--iface"], None),
    "no VNI": (["--iface", "underlay"], USAGE, ["--vni"], None),
    "VNI out of range": (["--iface", "underlay", "--vni", "16777216"], USAGE, ["16777216", "16777215"], None),
    "VNI not a number": (["--iface", "underlay", "--vni", "red"], USAGE, ["red"], None),
    "malformed remote": (["--iface", "underlay", "--vni", "1", "--remote", "192.0.2.256"], USAGE, ["192.0.2.256", "--remote"], None),
    "remote of the other family": ([*LINE, "--local", "2001:db8::1"], USAGE, ["--local", "2001:db8::1", "IPv4"], None),
    "unknown I/O mode": ([*LINE, "--io", "fast"], USAGE, ["fast", "xdp-skb", "raw"], None),
    "wrong interface": (["--iface", "underlai", "--vni", "1"], RUNTIME, ["underlai", "underlay"], None),
    "wrong LAN interface": ([*LINE, "--lan", "eth7"], RUNTIME, ["eth7"], None),
    "address of another host": ([*LINE, "--local", "192.0.2.77"], RUNTIME, ["192.0.2.77", "underlay", GATEWAY], None),
    "TAP name taken": ([*LINE, "--tap", "taken"], RUNTIME, ["taken"], tap_in_use),
    "other XDP program": ([*LINE, "--io", "xdp"], RUNTIME, ["underlay", "XDP", "somebody_else"], other_program),
    "MTU too large for XDP": ([*LINE, "--io", "xdp"], RUNTIME, ["underlay", "MTU", "9000"], large_mtu),
    "zero-copy that is not there": ([*LINE, "--zero-copy", "on"], RUNTIME, ["underlay", "AF_XDP", "--zero-copy auto"], None),
    "second instance": (LINE, RUNTIME, ["underlay", "vxgw"], other_instance),
}


@pytest.fixture(scope="module")
def net():
    with Lab() as lab:
        yield Topology(lab)


def refuse(net, command, status, words):
    """Runs a command that must fail as told and leave every link as it was."""
    before = net.gw.state()
    done = net.gw.run(*command, check=False, timeout=10)
    assert done.returncode == status, done.stderr
    assert [word for word in words if word not in done.stderr] == [], done.stderr
    assert "error:" in done.stderr.lower()
    assert net.gw.state() == before


@pytest.mark.parametrize("case", CASES)
def test_refuses(net, case):
    line, status, words, obstacle = CASES[case]
    with obstacle(net) if obstacle else contextlib.nullcontext():
        refuse(net, [BINARY, "run", *line, "--socket", net.lab.directory / "refused.sock"], status, words)


def test_without_privileges(net):
    """Says which capabilities it needs."""
    plain = ["setpriv", "--bounding-set", "-all", "--inh-caps", "-all"]
    line = [*plain, str(BINARY), "run", *LINE, "--socket", str(net.lab.directory / "refused.sock")]
    refuse(net, line, RUNTIME, ["CAP_NET_ADMIN"])
