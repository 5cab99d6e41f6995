"""The FDB: flooding, learning, ageing, roaming, and entries by hand with the kernel's semantics.

Ideas of the kernel's own tests: vxlan_bridge_1d.sh, vxlan_flooding.sh, fdb_flush.sh, fdb_notify.sh.
"""

import contextlib
import time

import pytest

from frames import carries, decapsulate, encapsulate, is_marked, marked, number_of
from gateway import FLOOD, KERNEL, Entry, Settings, start_gateway
from lab import CommandFailed, Lab, PacketSocket, wait_until
from topology import VNI, Topology, mac, over_both, underlay

ONE, OTHER, NOBODY = underlay(2), underlay(3), underlay(99)
HOST_MAC, A, B = mac(0x50), mac(0x61), mac(0x62)


@over_both
def test_many_vteps(lab, ipv6):
    """64 VTEPs, and one that nobody is: each gets each frame exactly once, whatever makes it flood; a known address, only one."""
    net = Topology(lab, ipv6=ipv6)
    vteps = [underlay(number, ipv6) for number in range(10, 74)]
    for address in vteps:
        net.far.space.address("underlay", address, up=False)
    gateway = start_gateway(net.gw, Settings([*vteps, underlay(99, ipv6)], local=net.gateway))
    with PacketSocket(net.host, "eth0") as lan, PacketSocket(net.far.space, "underlay") as wire:
        wire.send(encapsulate(marked(0, mac(0x60)), ipv6, source=vteps[5]))
        lan.receive(is_marked, 1)
        for destination in ("ff:ff:ff:ff:ff:ff", mac(0x77), "01:00:5e:00:00:01"):
            lan.send(*[marked(number, HOST_MAC, destination) for number in range(5)])
            packets = [decapsulate(packet) for packet in wire.receive(carries(is_marked), 5 * len(vteps))]
            assert sorted((packet.destination, number_of(packet.inner)) for packet in packets) \
                == sorted((address, number) for address in vteps for number in range(5)), destination
        lan.send(marked(0, HOST_MAC, mac(0x60)))
        assert [decapsulate(packet).destination for packet in wire.receive(carries(is_marked), seconds=0.3)] == [vteps[5]]
    gateway.stop()  # without balanced books: frames to nobody may still wait


@pytest.mark.vxgw_only  # the kernel's vxlan device looks for old entries only every 10 s
def test_ages_although_it_transmits(lab):
    """--ageing 2: sending to an address does not keep its entry; after that, frames to it flood."""
    net = Topology(lab, vteps=2)
    gateway = start_gateway(net.gw, Settings([ONE, OTHER], options={"ageing": 2}))
    entry = Entry(VNI, mac(0x51), ONE)
    fars = [PacketSocket(space, "underlay") for space in net.spaces]
    with PacketSocket(net.host, "eth0") as lan:
        fars[0].send(encapsulate(marked(0, mac(0x51))))
        wait_until(lambda: entry in gateway.fdb(), 1, "learning")
        for number in range(14):
            lan.send(marked(number, HOST_MAC, mac(0x51)))
            time.sleep(0.25)
        assert entry not in gateway.fdb()
        at_one, at_other = (
            [number_of(decapsulate(packet).inner) for packet in far.receive(carries(is_marked), seconds=0.1)] for far in fars)
        assert at_one == list(range(14)) and at_other == at_one[-len(at_other):] and 0 < len(at_other) < 9
    for far in fars:
        far.socket.close()
    gateway.check_books()
    gateway.stop()


def test_moves_between_ports(lab):
    """An address that moves between two LAN ports and the tunnel is found where it was seen last."""
    net = Topology(lab)
    other = net.add_host("host2", "lan2", number=0x11)
    gateway = start_gateway(net.gw, Settings([net.far.underlay], {VNI: ["lan", "lan2"]}))
    ends = {"lan": (net.host, "eth0"), "lan2": (other, "eth0"), ONE: (net.far.overlay, net.far.device)}
    places = {where: PacketSocket(*end) for where, end in ends.items()}
    for where in ("lan", "lan2", "lan", ONE, "lan2", ONE, "lan"):
        def learned():
            places[where].send(marked(0, HOST_MAC))
            return [entry.where for entry in gateway.fdb() if entry.mac == HOST_MAC]
        wait_until(lambda: learned() == [where], 2, lambda: f"{HOST_MAC} learned at {where}: {gateway.fdb()}")

    gateway.fdb_change("add", A, "dev", "lan2", "static")
    if not KERNEL:  # whose bridge lets static entries move
        places["lan"].send(marked(0, A))
        gateway.check_books()
    places[ONE].send(marked(1, mac(0x52), A))
    assert [number_of(frame) for frame in places["lan2"].receive(is_marked, seconds=0.2)][-1] == 1
    assert 1 not in [number_of(frame) for frame in places["lan"].receive(is_marked, seconds=0.1)]
    for opened in places.values():
        opened.socket.close()
    gateway.check_books()
    gateway.stop()


@over_both
@pytest.mark.parametrize("own", ["VTEPs", "a group"])
def test_a_vni_with_remotes_of_its_own(lab, ipv6, own):
    """It does not get the common ones."""
    net = Topology(lab, vteps=2, ipv6=ipv6)
    host2 = net.add_host("host2", "lan2", number=0x11)
    common, other = (vtep.underlay for vtep in net.vteps)
    group = "ff05::db8:2" if ipv6 else "239.1.1.2"
    settings = Settings([common], {VNI: ["lan"], 4200: ["lan2"]}, local=net.gateway, own={4200: [other if own == "VTEPs" else group]})
    gateway = start_gateway(net.gw, settings)
    wires = [PacketSocket(space, "underlay") for space in net.spaces]
    for host, vni, expected in ((net.host, VNI, [[common], []]), (host2, 4200, [[], [other]] if own == "VTEPs" else [[group], [group]])):
        with PacketSocket(host, "eth0") as lan:
            lan.send(marked(0, HOST_MAC))
            packets = [[decapsulate(packet) for packet in wire.receive(carries(is_marked), seconds=0.2)] for wire in wires]
        assert [[packet.destination for packet in each] for each in packets] == expected
        assert {packet.vni for each in packets for packet in each} == {vni}
    for wire in wires:
        wire.socket.close()
    gateway.check_books()
    gateway.stop()


@pytest.fixture(scope="module")
def by_hand():
    """A gateway without remotes, and two VTEPs."""
    with Lab() as lab:
        net = Topology(lab, vteps=2)
        net.gateway = start_gateway(net.gw, Settings([]))
        yield net
        net.gateway.check_books()
        net.gateway.stop()


@pytest.fixture
def hand(by_hand):
    """The same, with an empty FDB."""
    for address in {address for address, _, _ in by_hand.gateway.destinations()}:
        by_hand.gateway.fdb_change("del", address)
    assert by_hand.gateway.destinations() == set()
    return by_hand


MULTICAST = "01:00:5e:00:00:05"
REFUSED = None

# Commands as bridge(8) has them, REFUSED behind one that must fail, and what is there afterwards.
CHANGES = {
    "add": ([f"add {A} dst {ONE}"], {(A, ONE, "permanent")}),
    "states": (
        [f"add {A} dst {ONE} static", f"add {B} dst {ONE} dynamic", f"append {FLOOD} dst {ONE} permanent"],
        {(A, ONE, "static"), (B, ONE, ""), (FLOOD, ONE, "permanent")}),
    "add what exists": ([f"add {A} dst {ONE}", (f"add {A} dst {OTHER}", REFUSED)], {(A, ONE, "permanent")}),
    "replace": ([f"replace {A} dst {ONE}", f"replace {A} dst {OTHER}"], {(A, OTHER, "permanent")}),
    "replace changes the state": ([f"add {A} dst {ONE}", f"replace {A} dst {ONE} static"], {(A, ONE, "static")}),
    "several VTEPs of all": (
        [f"append {FLOOD} dst {ONE}", f"append {FLOOD} dst {OTHER}", f"append {FLOOD} dst {ONE}"],
        {(FLOOD, ONE, "permanent"), (FLOOD, OTHER, "permanent")}),
    "several VTEPs of a group": (
        [f"append {MULTICAST} dst {ONE}", f"append {MULTICAST} dst {OTHER}"],
        {(MULTICAST, ONE, "permanent"), (MULTICAST, OTHER, "permanent")}),
    "add to a list": ([f"append {FLOOD} dst {ONE}", (f"add {FLOOD} dst {OTHER}", REFUSED)], {(FLOOD, ONE, "permanent")}),
    "replace a list": ([f"append {FLOOD} dst {ONE}", (f"replace {FLOOD} dst {OTHER}", REFUSED)], {(FLOOD, ONE, "permanent")}),
    "del one of a list": (
        [f"append {FLOOD} dst {ONE}", f"append {FLOOD} dst {OTHER}", f"del {FLOOD} dst {ONE}"], {(FLOOD, OTHER, "permanent")}),
    "del the last of a list": ([f"append {FLOOD} dst {ONE}", f"del {FLOOD} dst {ONE}"], set()),
    "del a list": ([f"append {FLOOD} dst {ONE}", f"append {FLOOD} dst {OTHER}", f"del {FLOOD}"], set()),
    "del what is not there": ([(f"del {A}", REFUSED)], set()),
    "the other family": ([(f"add {A} dst 2001:db8::2", REFUSED)], set()),
    "no destination": ([(f"add {A}", REFUSED)], set()),
}


@pytest.mark.parametrize("name", CHANGES)
def test_changes(hand, name):
    commands, expected = CHANGES[name]
    for command in commands:
        line, refused = (command, False) if isinstance(command, str) else (command[0], True)
        with pytest.raises(CommandFailed) if refused else contextlib.nullcontext():
            hand.gateway.fdb_change(*line.split())
    assert hand.gateway.destinations() == expected


@pytest.mark.vxgw_only  # the kernel says nothing, and does nothing
@pytest.mark.parametrize("command", [f"append {A} dst {OTHER}", f"del {A} dst {OTHER}"])
def test_no_silent_success(hand, command):
    hand.gateway.fdb_change("add", A, "dst", ONE)
    with pytest.raises(CommandFailed):
        hand.gateway.fdb_change(*command.split())
    assert hand.gateway.destinations() == {(A, ONE, "permanent")}


def test_where_frames_go(hand):
    """Each entry sends where it says: VTEP, UDP port and VNI; a group's address to its own list, not to all."""
    gateway = hand.gateway
    for line in (f"add {A} dst {ONE} port 8472", f"add {B} dst {OTHER} vni 77",
                 f"append {MULTICAST} dst {OTHER}", f"append {FLOOD} dst {ONE}"):
        gateway.fdb_change(*line.split())
    sent = {A: [(ONE, 8472, VNI)], B: [(OTHER, 4789, 77)], MULTICAST: [(OTHER, 4789, VNI)], mac(0x77): [(ONE, 4789, VNI)]}
    wires = [PacketSocket(space, "underlay") for space in hand.spaces]
    with PacketSocket(hand.host, "eth0") as lan:
        for destination, expected in sent.items():
            lan.send(marked(0, HOST_MAC, destination))
            packets = [decapsulate(packet) for wire in wires for packet in wire.receive(carries(is_marked), seconds=0.2)]
            assert [(packet.destination, packet.dport, packet.vni) for packet in packets] == expected
    for wire in wires:
        wire.socket.close()


def test_learning_respects_static_entries(hand):
    """A permanent or static entry stays, and what comes from elsewhere with its address is dropped; a dynamic one moves."""
    gateway = hand.gateway
    for address, state in ((A, "static"), (B, "permanent"), (mac(0x63), "dynamic")):
        gateway.fdb_change("add", address, "dst", ONE, state)
    with PacketSocket(hand.spaces[1], "underlay") as wire, PacketSocket(hand.host, "eth0") as lan:
        for number, address in enumerate((A, B, mac(0x63))):
            wire.send(encapsulate(marked(number, address), source=OTHER))
        assert [number_of(frame) for frame in lan.receive(is_marked, seconds=0.3)] == [2]
    assert gateway.destinations() == {(A, ONE, "static"), (B, ONE, "permanent"), (mac(0x63), OTHER, "")}
    if not KERNEL:
        assert gateway.stats().drops["VXLAN_ENTRY_EXISTS"] == 2


FLUSHED = {(A, ONE, "permanent"), (B, OTHER, "static"), (mac(0x63), ONE, ""), (FLOOD, ONE, "permanent"), (FLOOD, OTHER, "permanent")}
FLUSHES = {
    "": lambda _, __, ___: True,
    f"dst {ONE}": lambda _, vtep, __: vtep == ONE,
    "permanent": lambda _, __, state: state == "permanent",
    "nopermanent": lambda _, __, state: state != "permanent",
    f"permanent dst {OTHER}": lambda _, vtep, state: vtep == OTHER and state == "permanent",
    "port 8472": lambda address, _, __: address == A,
    "vni 77": lambda address, _, __: address == B,
}
OF_OLD = ("", "permanent", "nopermanent")  # what bridge(8) has since it has `flush`


@pytest.mark.parametrize("filters", [pytest.param(each, marks=[] if each in OF_OLD else pytest.mark.vxgw_only) for each in FLUSHES])
def test_flush(hand, filters):
    """What every filter says goes, and the rest stays; of a list, only the destinations that match."""
    for line in (f"add {A} dst {ONE} port 8472", f"add {B} dst {OTHER} static vni 77", f"add {mac(0x63)} dst {ONE} dynamic",
                 f"append {FLOOD} dst {ONE}", f"append {FLOOD} dst {OTHER}"):
        hand.gateway.fdb_change(*line.split())
    assert hand.gateway.destinations() == FLUSHED
    hand.gateway.fdb_flush(*filters.split())
    assert hand.gateway.destinations() == {row for row in FLUSHED if not FLUSHES[filters](*row)}


@pytest.mark.vxgw_only
def test_every_change_is_told_once(hand):
    """`vxgw monitor`: entries by hand and by traffic, each change one line."""
    events = hand.gateway.monitor()
    def told():
        return [(event["event"], event["mac"], event.get("dst")) for event in events() if "mac" in event and event["mac"] in (A, B, FLOOD)]
    def first():
        hand.gateway.fdb_change("replace", FLOOD if told() else A, "dst", ONE, check=False)
        return told()
    wait_until(first, 2, "the first event")  # it listens now
    hand.gateway.fdb_flush()
    wait_until(lambda: told()[-1] == ("deleted", A, ONE), 2, told)
    before = len(told())
    with PacketSocket(hand.spaces[0], "underlay") as one, PacketSocket(hand.spaces[1], "underlay") as other:
        one.send(encapsulate(marked(0, A)))
        wait_until(lambda: ("learned", A, ONE) in told()[before:], 2, told)
        other.send(encapsulate(marked(0, A), source=OTHER))
        wait_until(lambda: ("moved", A, OTHER) in told()[before:], 2, told)
    hand.gateway.fdb_change("add", B, "dst", ONE)
    hand.gateway.fdb_change("del", B)
    expected = [("learned", A, ONE), ("moved", A, OTHER), ("added", B, ONE), ("deleted", B, ONE)]
    wait_until(lambda: len(told()) - before >= len(expected), 2, told)
    assert told()[before:] == expected


def test_limit(lab):
    """--max-fdb: entries by hand are refused when it is reached; frames from unknown addresses still get through."""
    net = Topology(lab)
    gateway = start_gateway(net.gw, Settings([net.far.underlay], options={"max-fdb": 16}))
    with pytest.raises(CommandFailed):
        for number in range(17):
            gateway.fdb_change("add", mac(0x80 + number), "dst", ONE)
    assert len({address for address, _, _ in gateway.destinations() if address != FLOOD}) <= 16
    with PacketSocket(net.host, "eth0") as lan, PacketSocket(net.far.space, "underlay") as wire:
        wire.send(*[encapsulate(marked(number, mac(0xA0 + number))) for number in range(20)])
        assert len(lan.receive(is_marked, 20)) == 20
    gateway.check_books()
    gateway.stop()
