"""VLANs between a physical LAN and the segments (RFC 7348 section 6.1): tags off towards the VNI and on towards the LAN,
ranges, service tags, trunks, one-armed gateways and a tagged underlay."""

from dataclasses import dataclass

import pytest

from frames import carries, decapsulate, is_marked, marked
from gateway import FAR_ENDS, IO_MODES, KERNEL, Settings, start_gateway
from lab import Lab, PacketSocket
from nodes import Case, Host, make_nodes, reach, stop
from topology import VNI, Topology, mac
from traffic import ping
from vlan import add_vlan, in_band, tag_vxlan

AUTO = "kernel" if KERNEL else "auto"


@dataclass(frozen=True)
class LAN:
    """`ports` of the gateway at either end, and the VLANs of the hosts there (None: untagged); the Nth hosts are one segment's."""

    ports: dict
    vlans: tuple


LANS = {
    "untagged": LAN({4100: ["lan"]}, (None,)),
    "two VLANs": LAN({4100: ["lan:100"], 4200: ["lan:200"]}, ("100", "200")),
    "a range": LAN({"10100-10103": ["lan:100-103"]}, ("100", "103")),
    "a service tag": LAN({4100: ["lan:s100"]}, ("s100",)),
    "a trunk": LAN({4100: ["lan:trunk"]}, ("100", "s200", None)),
    "a VLAN beside untagged frames": LAN({4100: ["lan"], 4200: ["lan:200"]}, (None, "200")),
}
# What comes from an interface of vlan.py is redirected there, and such frames never meet generic XDP (skb_is_redirected in
# net/core/dev.c): xdp-skb has `test_maps_tags` and `test_inner_tags_are_dropped`.
VLAN_IO_MODES = [io for io in IO_MODES if io != "xdp-skb"]
NETWORKS = [(io, "two VLANs", far) for io in VLAN_IO_MODES for far in FAR_ENDS]
NETWORKS += [(AUTO, name, far) for name in LANS for far in FAR_ENDS if name != "two VLANs"]


def add_lan(node, vlans):
    """One machine on the node's LAN, with an interface per VLAN; the same address in each."""
    machine = node.add_host("lan", mtu=1500)
    machine.space.ip("address", "flush", "dev", "eth0")
    hosts = []
    for index, vlan in enumerate(vlans):
        device, space = "eth0", machine.space
        if vlan:
            device = add_vlan(machine.space, "eth0", vlan.lstrip("s"), f"v{vlan}", 0x88A8 if vlan.startswith("s") else 0x8100)
            space = machine.space.lab.namespace(f"{machine.space.role}-{vlan}")  # which hears its VLAN alone
            machine.space.ip("link", "set", device, "netns", space.name)
        space.ip("link", "set", device, "mtu", 1400)
        space.address(device, machine.address)
        hosts.append(Host(space, machine.address, "", machine.mac))
    in_band(machine.space, "eth0")
    return hosts


@pytest.mark.parametrize(("io", "name", "far"), NETWORKS)
def test_12_physical_lan(lab, io, name, far):
    """
    hosts ═ VLAN 100 ═╗                                                ╔═ VLAN 100 ═ hosts
    hosts ═ VLAN 200 ═╩ lan ── VNI 4100, VNI 4200 ════ underlay ═══ … ═╩═ VLAN 200 ═ hosts

    The same addresses in every VLAN: what reaches its namesake came through its own segment.
    """
    nodes, setup = make_nodes(lab, Case(io, False, far)), LANS[name]
    lans = [add_lan(node, setup.vlans) for node in nodes]
    for node, other in (nodes, nodes[::-1]):
        node.start(Case(io, False, far), [other], setup.ports, options={"inner-vlan": "keep"} if "trunk" in name else {})
    for near, far_host in zip(*lans):
        reach(near, far_host)
    stop(nodes)


@pytest.mark.parametrize("io", VLAN_IO_MODES)
def test_one_armed(lab, io):
    """
    host ═ VLAN 100 ═ fabric ═══ underlay ── vxgw: --iface underlay --lan underlay:100
                         ╚══════ underlay ── far: VNI 4100 ── lan ═ host
    """
    case = Case(io, False, "kernel")
    nodes = make_nodes(lab, case, 3)  # the third is only a place on the fabric
    machine = nodes[2].space
    in_band(next(space for space in lab.namespaces if space.role == "fabric"), "port0")
    device = add_vlan(machine, "underlay", 100)
    machine.ip("link", "set", device, "mtu", 1400)
    machine.address(device, "198.51.100.10")
    far = nodes[1].add_host("lan")
    nodes[0].start(case, [nodes[1]], {VNI: ["underlay:100"]})
    nodes[1].start(case, [nodes[0]], {VNI: ["lan"]})
    reach(Host(machine, "198.51.100.10", "", mac(0)), far)
    assert ping(machine, nodes[0].underlay) == 0, "the untagged underlay goes on"
    stop(nodes[:2])


@pytest.mark.parametrize("ipv6", [False, True], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize("io", IO_MODES)
def test_tagged_underlay(lab, io, ipv6):
    """--iface underlay:100: outer packets carry the tag, in both directions; untagged ones are not taken."""
    net = Topology(lab, ipv6=ipv6)
    tag_vxlan(net.far.space, "underlay", 100, net.dstport)
    gateway = start_gateway(net.gw, Settings([net.far.underlay], io=io, local=net.gateway, iface="underlay:100"))
    reach(Host(net.host, "198.51.100.10", "", mac(0x10)), Host(net.far.overlay, net.far.address, "", net.far.mac))
    with PacketSocket(net.far.space, "underlay") as wire, PacketSocket(net.host, "eth0") as lan:
        lan.send(marked(0, mac(0x10)))
        [packet] = wire.receive(carries(is_marked), 1)
        assert decapsulate(packet).vlan == 100
    gateway.check_books()
    gateway.stop()


@pytest.mark.vxgw_only
@pytest.mark.parametrize("io", IO_MODES)
def test_tags_beside_the_frames(lab, io):
    """A veth hands tags over beside the frame, as a NIC does that strips them: they are seen all the same, or vxgw says that
    it can't; nothing is lost in silence."""
    nodes = make_nodes(lab, Case(io, False, "kernel"))
    lans = [add_lan(node, ("100",)) for node in nodes]
    for node, other in (nodes, nodes[::-1]):
        node.hosts[0].space.run("ethtool", "-K", "eth0", "tx-vlan-hw-insert", "on")
        node.start(Case(io, False, "kernel"), [other], {VNI: ["lan:100"]})
    [[near], [far]] = lans
    assert ping(near.space, far.address, count=5) == 0 or "VLAN" in nodes[0].gateway.output()
    stop(nodes)


# Port, tags of the frame on the LAN, tags of the frame in the tunnel; None: it does not get there. Both directions.
PASSES = {
    "untagged": ("lan", (), ()),
    "tag of the port": ("lan:100", (100,), ()),
    "service tag of the port": ("lan:s100", ("s100",), ()),
    "untagged on a trunk": ("lan:trunk", (), ()),
    "tagged on a trunk": ("lan:trunk", (7,), (7,)),
    "Q-in-Q on a trunk": ("lan:trunk", ("s100", 7), ("s100", 7)),
    "customer tag behind the service tag": ("lan:s100", ("s100", 7), (7,)),
    "second tag": ("lan:100", (100, 7), (7,)),
    "tagged on an untagged port": ("lan", (7,), (7,)),
}
REFUSED = {
    "another VLAN": ("lan:100", (200,), {}),
    "untagged on a VLAN": ("lan:100", (), {}),
    "service tag instead of the customer's": ("lan:100", ("s100",), {}),
    "customer tag instead of the service's": ("lan:s100", (100,), {}),
}


@pytest.fixture(scope="module", params=sorted({port for port, _, _ in [*PASSES.values(), *REFUSED.values()]}))
def tagged_port(request):
    """A gateway with one kind of port, tags kept."""
    with Lab() as lab:
        net = Topology(lab)
        in_band(net.host, "eth0")
        gateway = start_gateway(net.gw, Settings([net.far.underlay], {VNI: [request.param]}, options={"inner-vlan": "keep"}))
        with PacketSocket(net.host, "eth0") as lan, PacketSocket(net.far.overlay, net.far.device) as tunnel:
            yield request.param, lan, tunnel
        gateway.check_books()
        gateway.stop()


def is_marked_or_tagged(frame):
    return b"\x88\xb5marked" in frame


def test_maps_tags(tagged_port):
    """Every frame goes to the other side with the tags that it should have there; what is not the port's goes nowhere."""
    port, lan, tunnel = tagged_port
    for name, (own_port, on_lan, in_tunnel) in PASSES.items():
        if own_port == port:
            lan.send(marked(0, mac(0x50), vlans=on_lan))
            [frame] = tunnel.receive(is_marked_or_tagged, 1)
            assert frame == marked(0, mac(0x50), vlans=in_tunnel), name
            tunnel.send(marked(1, mac(0x51), vlans=in_tunnel))
            [frame] = lan.receive(is_marked_or_tagged, 1)
            assert frame == marked(1, mac(0x51), vlans=on_lan), name
    for name, (own_port, on_lan, _) in REFUSED.items():
        if own_port == port:
            lan.send(marked(2, mac(0x50), vlans=on_lan))
            assert tunnel.receive(is_marked_or_tagged, seconds=0.2) == [], name


# With tags dropped, which is the default: port, tags of the frame, where it is sent, the drop reason (None: it goes through).
DROPS = {
    "tag of the port": ("lan:100", (100,), "lan", None),
    "priority tag on an untagged port": ("lan", (0,), "lan", None),
    "priority tag behind the port's": ("lan:100", (100, 0), "lan", None),
    "second tag": ("lan:100", (100, 7), "lan", "INNER_VLAN"),
    "tagged on an untagged port": ("lan", (7,), "lan", "INNER_VLAN"),
    "tagged in the tunnel": ("lan:100", (7,), "tunnel", "INNER_VLAN"),
    "priority tag in the tunnel": ("lan", (0,), "tunnel", None),
}


@pytest.mark.vxgw_only  # the kernel's vxlan device passes tags on
@pytest.mark.parametrize("port", ["lan", "lan:100"])
def test_inner_tags_are_dropped(lab, port):
    """RFC 7348 section 6.1: no tag inside a segment, unless asked for. A priority tag is no VLAN's, and is taken off."""
    net = Topology(lab)
    in_band(net.host, "eth0")
    gateway = start_gateway(net.gw, Settings([net.far.underlay], {VNI: [port]}))
    with PacketSocket(net.host, "eth0") as lan, PacketSocket(net.far.overlay, net.far.device) as tunnel:
        for name, (_, vlans, side, reason) in [row for row in DROPS.items() if row[1][0] == port]:
            sender, receiver = (lan, tunnel) if side == "lan" else (tunnel, lan)
            before = gateway.stats().drops
            sender.send(marked(0, mac(0x50 if side == "lan" else 0x51), vlans=vlans))
            source, behind = (mac(0x50), ()) if side == "lan" else (mac(0x51), (100,) if port == "lan:100" else ())
            frames = receiver.receive(is_marked_or_tagged, seconds=0.2)
            assert frames == ([] if reason else [marked(0, source, vlans=behind)]), name
            if reason:
                assert gateway.stats().drops.get(reason, 0) == before.get(reason, 0) + 1, name
    gateway.check_books()
    gateway.stop()
