"""The networks of the published walk-throughs of Linux's vxlan device, each with the kernel at the far end and with vxgw at
both, over IPv4 and over IPv6. Every network ends with balanced books.

Number 11, captured packets byte for byte, is test_wire.py's; number 12, the physical LAN, is test_vlans.py's and
test_interop.py's.
"""

import threading
from pathlib import Path

import pytest

from frames import BROADCAST, carries, decapsulate, is_marked, marked
from gateway import FLOOD
from lab import PacketSocket, wait_until
from nodes import CASES, EVERY_IO, Host, flood_list, make_nodes, reach, stop
from topology import mac
from traffic import ping
from vxgw import BINARY, Vxgw

EXAMPLE = Path(__file__).parents[2] / "examples/answer-misses"
every_io = pytest.mark.parametrize("case", EVERY_IO, ids=str)
cases = pytest.mark.parametrize("case", CASES, ids=str)
GROUPS = {False: ("239.1.1.1", "01:00:5e:01:01:01"), True: ("ff05::db8:1", "33:33:0d:b8:00:01")}
OVERHEAD = {False: 50, True: 70}


def addressed_tap(node, tap, address):
    """The gateway's TAP with an address of its own, as the walk-throughs give the vxlan device one."""
    node.space.address(tap, address)
    return Host(node.space, address, "", node.space.mac(tap))


def is_arp_or_nd(frame):
    return frame[12:14] == b"\x08\x06" or (frame[12:14] == b"\x86\xdd" and frame[20] == 58 and frame[54] in (135, 136))


@every_io
def test_1_point_to_point(lab, case):
    """
    vxlan0 198.51.100.2                                       vxlan0 198.51.100.3
      VNI 42, remote 192.0.2.2 ══════════════════════════════ VNI 42, remote 192.0.2.1
    """
    nodes = make_nodes(lab, case)
    for node, other in (nodes, nodes[::-1]):
        node.start(case, [other], {42: ["tap:vxlan0"]})
    ends = [addressed_tap(node, "vxlan0", f"198.51.100.{node.number + 2}") for node in nodes]
    assert nodes[0].space.links()["vxlan0"]["mtu"] == 1500 - OVERHEAD[case.ipv6]
    reach(*ends)
    assert nodes[0].gateway.destinations() == flood_list(nodes[1]) | {(ends[1].mac, nodes[1].underlay, "")}
    stop(nodes)


@every_io
def test_2_multicast(lab, case):
    """
    vxlan0 .2                    vxlan0 .3                    vxlan0 .4
      VNI 42, group 239.1.1.1 ═════ VNI 42, same group ══════════ VNI 42, same group

    Joined as hosts join; what all get goes to the group with TTL 1, what one gets goes to that one.
    """
    group, group_mac = GROUPS[case.ipv6]
    nodes = make_nodes(lab, case, 3)
    for node in nodes:
        node.start(case, [group], {42: ["tap:vxlan0"]})
    ends = [addressed_tap(node, "vxlan0", f"198.51.100.{node.number + 2}") for node in nodes]
    wait_until(lambda: nodes[0].joined(group), 2, f"membership of {group}")
    reach(ends[0], ends[1])
    reach(ends[0], ends[2])
    learned = {(end.mac, node.underlay, "") for node, end in zip(nodes[1:], ends[1:])}
    assert nodes[0].gateway.destinations() == flood_list(group) | learned

    wires = [node.wire() for node in nodes[1:]]
    with PacketSocket(nodes[0].space, "vxlan0") as tap:
        tap.send(marked(0, ends[0].mac))
        tap.send(marked(1, ends[0].mac, ends[1].mac))
    [[to_all, to_one], [also_to_all]] = [wire.receive(carries(is_marked), seconds=0.5) for wire in wires]
    assert to_all == also_to_all
    group_outer, outer = decapsulate(to_all), decapsulate(to_one)
    assert (group_outer.destination, group_outer.destination_mac, group_outer.ttl) == (group, group_mac, 1)
    assert (outer.destination, outer.ttl) == (nodes[1].underlay, 64)
    for wire in wires:
        wire.socket.close()
    stop(nodes)


@every_io
def test_3_containers_behind_bridges(lab, case):
    """
    container ── br0 ── vxlan0                                 vxlan0 ── br0 ── container
    container ──┘         VNI 4100 ══════════════════════════ VNI 4100     └── container
    """
    nodes = make_nodes(lab, case)
    for node, other in (nodes, nodes[::-1]):
        node.start(case, [other], {4100: ["tap:vxlan0"]})
        node.add_containers("vxlan0", 2)
    for near, far in ((0, 0), (1, 1), (0, 1)):
        reach(nodes[0].hosts[near], nodes[1].hosts[far])
    reach(*nodes[0].hosts)
    learned = {(host.mac, nodes[1].underlay, "") for host in nodes[1].hosts}
    assert {row for row in nodes[0].gateway.destinations() if row[0] in {host.mac for host in nodes[1].hosts}} == learned
    stop(nodes)


@cases
def test_4_vtep_group_by_hand(lab, case):
    """
    vxlan0, no remote ═════════════ vxlan0 ═════════════ vxlan0       fdb append 00:00:00:00:00:00 dst 192.0.2.N, everywhere

    A VTEP that is taken off the list hears no broadcast any more.
    """
    nodes = make_nodes(lab, case, 3)
    for node in nodes:
        node.start(case, [], {42: ["tap:vxlan0"]})
        for other in nodes:
            if other is not node:
                node.gateway.fdb_change("append", FLOOD, "dst", other.underlay)
    ends = [addressed_tap(node, "vxlan0", f"198.51.100.{node.number + 2}") for node in nodes]
    assert flood_list(*nodes[1:]) <= nodes[0].gateway.destinations()
    reach(ends[0], ends[1])
    reach(ends[0], ends[2])

    wires = [node.wire() for node in nodes[1:]]
    with PacketSocket(nodes[0].space, "vxlan0") as tap:
        tap.send(marked(0, ends[0].mac))
        assert [len(wire.receive(carries(is_marked), seconds=0.3)) for wire in wires] == [1, 1]
        nodes[0].gateway.fdb_change("del", FLOOD, "dst", nodes[2].underlay)
        tap.send(marked(1, ends[0].mac))
        assert [len(wire.receive(carries(is_marked), seconds=0.3)) for wire in wires] == [1, 0]
    for wire in wires:
        wire.socket.close()
    stop(nodes)


def fill_by_hand(nodes):
    """What an administrator types on every node: the replication list, and where each container is."""
    for node in nodes:
        for other in nodes:
            if other is not node:
                node.gateway.fdb_change("append", FLOOD, "dst", other.underlay)
                for host in other.hosts:
                    node.gateway.fdb_change("add", host.mac, "dst", other.underlay)


@cases
def test_5_fdb_by_hand(lab, case):
    """
    container ── br0 ── vxlan0 ═══════ vxlan0 ── br0 ── container      nolearning; fdb append MAC dst 192.0.2.N, everywhere
                          ╚═══════════ vxlan0 ── br0 ── container

    Nothing is learned, and nothing that is known is flooded.
    """
    nodes = make_nodes(lab, case, 3)
    for node in nodes:
        node.start(case, [], {42: ["tap:vxlan0"]}, learning=False)
        node.add_containers("vxlan0")
    fill_by_hand(nodes)
    near, far, other = (node.hosts[0] for node in nodes)
    reach(near, far)
    reach(near, other)
    by_hand = flood_list(*nodes[1:]) | {(node.hosts[0].mac, node.underlay, "permanent") for node in nodes[1:]}
    assert nodes[0].gateway.destinations() == by_hand

    wires = [node.wire() for node in nodes[1:]]
    with PacketSocket(near.space, "eth0") as container:
        for destination, copies in ((far.mac, [1, 0]), (other.mac, [0, 1]), (mac(0x77), [1, 1]), (BROADCAST, [1, 1])):
            container.send(marked(0, near.mac, destination))
            assert [len(wire.receive(carries(is_marked), seconds=0.2)) for wire in wires] == copies, destination
    for wire in wires:
        wire.socket.close()
    stop(nodes)


@cases
def test_6_arp_by_hand(lab, case):
    """
    container ── br0 ── vxlan0 ═══════ vxlan0 ── br0 ── container      nolearning proxy; neigh add IP lladdr MAC, everywhere

    The gateway answers ARP and ND; the underlay sees none.
    """
    nodes = make_nodes(lab, case)
    for node in nodes:
        node.start(case, [], {42: ["tap:vxlan0"]}, learning=False, options={"proxy": True})
        [host] = node.add_containers("vxlan0")
        host.space.address("eth0", host.address6)
    fill_by_hand(nodes)
    for node, other in (nodes, nodes[::-1]):
        for address in (other.hosts[0].address, other.hosts[0].address6):
            node.gateway.neighbour("add", address, other.hosts[0].mac)
    near, far = (node.hosts[0] for node in nodes)
    with nodes[1].wire() as wire:
        for address in (far.address, far.address6):
            assert ping(near.space, address, count=5) == 0
        assert wire.receive(carries(is_arp_or_nd), seconds=0.2) == []
    reach(near, far)
    stop(nodes)


@cases
def test_7_dynamic_arp_and_fdb(lab, case):
    """
    container ── br0 ── vxlan0 ═══════ vxlan0 ── br0 ── container      nolearning proxy l2miss l3miss
                   monitor │ neigh replace, fdb replace
                        program                                        which knows all containers

    Nobody is told anything before it is needed.
    """
    nodes = make_nodes(lab, case)
    for node in nodes:
        options = {"proxy": True, "l2miss": True, "l3miss": True}
        node.start(case, [], {42: ["tap:vxlan0"]}, learning=False, options=options)
        node.add_containers("vxlan0")
    over = threading.Event()
    programs = [threading.Thread(target=answer_misses, args=(node, other, over)) for node, other in (nodes, nodes[::-1])]
    for program in programs:
        program.start()
    near, far = (node.hosts[0] for node in nodes)
    try:
        wait_until(lambda: ping(near.space, far.address, count=1) == 0, 10, "answers to the misses")
        reach(near, far)
    finally:
        over.set()
        for program in programs:
            program.join()
    assert {row[:2] for row in nodes[0].gateway.destinations()} == {(far.mac, nodes[1].underlay)}
    stop(nodes)


def answer_misses(node, other, over):
    """The program of the walk-through's last experiment: for vxgw the one in examples/."""
    if isinstance(node.gateway, Vxgw):
        hosts = node.space.lab.directory / f"hosts{node.number}"
        hosts.write_text("".join(f"{host.address} {host.mac} {other.underlay}\n" for host in other.hosts))
        node.space.start("env", f"VXGW={BINARY}", EXAMPLE, hosts, "--socket", node.gateway.socket)
        return
    events, answered = node.gateway.monitor(), 0
    while not over.wait(0.05):
        for event in events()[answered:]:
            answered += 1
            for host in other.hosts:
                if event["event"] == "l3miss" and event["dst"] == host.address:
                    node.gateway.neighbour("replace", host.address, host.mac)
                if event["event"] == "l2miss" and event["mac"] == host.mac:
                    node.gateway.fdb_change("replace", host.mac, "dst", other.underlay)


@cases
def test_8_two_vnis_with_one_subnet(lab, case):
    """
    container ── br100 ── vxlan100 VNI 4100 ═══╦═══════════╦═══ VNI 4100 vxlan100 ── br100 ── container
    container ── br200 ── vxlan200 VNI 4200 ═══╝           ╚═══ VNI 4200 vxlan200 ── br200 ── container

    The same two addresses in both; nothing of one is heard in the other.
    """
    nodes, vnis = make_nodes(lab, case), (4100, 4200)
    for node, other in (nodes, nodes[::-1]):
        node.start(case, [other], {vni: [f"tap:vxlan{vni}"] for vni in vnis})
        for vni in vnis:
            node.add_bridge(f"vxlan{vni}", name=f"br{vni}")
            node.add_host(f"c{vni}", f"br{vni}", address=f"198.51.100.{node.number + 10}")
    for near, far in zip(*(node.hosts for node in nodes)):
        reach(near, far)
    [near, near2], [far, far2] = (node.hosts for node in nodes)
    for sender, receiver, others in ((near, far, (near2, far2)), (near2, far2, (near, far))):
        with PacketSocket(sender.space, "eth0") as source, PacketSocket(receiver.space, "eth0") as sink, \
             PacketSocket(others[0].space, "eth0") as other, PacketSocket(others[1].space, "eth0") as other_far:
            source.send(marked(0, mac(0x77)))
            sink.receive(is_marked, 1)
            assert other.receive(is_marked, seconds=0.1) + other_far.receive(is_marked, seconds=0.1) == []
    stop(nodes)


@cases
def test_9_docker_bridge(lab, case):
    """
    container ── br-mylan 198.51.100.1                         br-mylan 198.51.100.1 ── container
    container ──┘   └── vxlan0                                 vxlan0 ──┘        └── container
                          VNI 120, group 239.1.1.1 ═══════════ VNI 120

    The bridge has the containers' gateway address, on either host the same.
    """
    group, _ = GROUPS[case.ipv6]
    nodes = make_nodes(lab, case)
    for node in nodes:
        node.start(case, [group], {120: ["tap:vxlan0"]})
        node.add_containers("vxlan0", 2, bridge="br-mylan")
        node.space.address("br-mylan", "198.51.100.1")
        for host in node.hosts:
            host.space.ip("route", "add", "default", "via", "198.51.100.1")
    for near in nodes[0].hosts:
        for far in nodes[1].hosts:
            reach(near, far)
        assert ping(near.space, "198.51.100.1", count=3) == 0
    stop(nodes)


@cases
def test_10_flannel(lab, case):
    """
    pod 198.18.1.10 ── cni0 198.18.1.1 ─ routes ─ flannel.1 198.18.1.0/32 ═══ flannel.1 198.18.2.0/32 ─ … ─ pod 198.18.2.10
                                                              ╚══════════════ flannel.1 198.18.3.0/32 ─ … ─ pod 198.18.3.10

    VNI 1, port 8472, nolearning; on every node for every other: a permanent neighbour, a permanent FDB entry, an on-link route.
    """
    nodes = make_nodes(lab, case, 3)
    for node in nodes:
        node.start(case, [], {1: ["tap:flannel.1"]}, dstport=8472, learning=False)
        node.space.ip("link", "set", "flannel.1", "address", mac(0xA0 + node.number))
        node.space.address("flannel.1", f"198.18.{node.number + 1}.0/32")
        node.space.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
        node.add_bridge(name="cni0")
        node.space.address("cni0", f"198.18.{node.number + 1}.1")
        pod = node.add_host("pod", "cni0", f"198.18.{node.number + 1}.10", mtu=node.space.links()["flannel.1"]["mtu"])
        pod.space.ip("route", "add", "default", "via", f"198.18.{node.number + 1}.1")
    for node in nodes:
        for other in nodes:
            if other is not node:
                subnet, router = f"198.18.{other.number + 1}.0", mac(0xA0 + other.number)
                node.space.ip("neighbour", "replace", subnet, "lladdr", router, "dev", "flannel.1", "nud", "permanent")
                node.gateway.fdb_change("replace", router, "dst", other.underlay, "permanent")
                node.space.ip("route", "replace", f"{subnet}/24", "via", subnet, "dev", "flannel.1", "onlink")
    for near, far in ((0, 1), (0, 2)):
        reach(nodes[near].hosts[0], nodes[far].hosts[0])
    entries = {(mac(0xA0 + node.number), node.underlay, "permanent") for node in nodes[1:]}
    assert nodes[0].gateway.destinations() == entries, "nothing is learned, nothing flooded"
    stop(nodes)
