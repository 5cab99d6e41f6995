"""Networks of equal nodes, as those of the published walk-throughs: each with a gateway of its own. The first is the device
under test, the others are what the case says.

    node0: 192.0.2.1        node1: 192.0.2.2        node2: 192.0.2.3
      vxgw                     kernel or vxgw           kernel or vxgw
      underlay ══════╗            underlay ══════╗         underlay ═════╗
                   fabric: port0               port1                   port2
"""

from dataclasses import dataclass, field

from gateway import FAR_ENDS, FLOOD, IO_MODES, KERNEL, Settings, start_gateway
from lab import Lab, Namespace, PacketSocket
from topology import mac, overlay6, underlay, wire_fabric
from traffic import ChecksumWatch, ping, transfer


@dataclass(frozen=True)
class Case:
    """How the device under test does its I/O, what the underlay is, and what the other nodes are."""

    io: str
    ipv6: bool
    far: str

    def __str__(self):
        return f"{self.io}-{'ipv6' if self.ipv6 else 'ipv4'}-{self.far}"


CASES = [Case("kernel" if KERNEL else "auto", ipv6, far) for ipv6 in (False, True) for far in FAR_ENDS]
EVERY_IO = [Case(io, ipv6, "kernel") for io in IO_MODES for ipv6 in (False, True)] + [case for case in CASES if case.far == "vxgw"]


@dataclass
class Node:
    number: int
    space: Namespace
    underlay: str
    fabric: Namespace
    gateway: object = None
    hosts: list = field(default_factory=list)

    def start(self, case, remotes, ports, **settings):
        """Starts the gateway; `remotes` are nodes or a group."""
        addresses = [remote.underlay if isinstance(remote, Node) else remote for remote in remotes]
        io, far = (case.io, None) if self.number == 0 else ("auto", case.far)
        self.gateway = start_gateway(self.space, Settings(addresses, ports, io=io, local=self.underlay, **settings), far)

    def add_host(self, device, master=None, address=None, mtu=1400):
        """A host or container whose eth0 is wired to `device` of this node, which may be a bridge's port."""
        number = 16 * (self.number + 1) + len(self.hosts)
        host = Host(self.space.lab.namespace(f"host{number}"), address or f"198.51.100.{number}", overlay6(number), mac(0x80 + number))
        self.space.lab.veth((host.space, "eth0", host.mac), (self.space, device, mac(0xC0 + number)))
        host.space.ip("link", "set", "eth0", "mtu", mtu)
        if master:
            self.space.ip("link", "set", device, "master", master)
        host.space.address("eth0", host.address)
        self.hosts.append(host)
        return host

    def add_bridge(self, *members, name="br0"):
        self.space.ip("link", "add", name, "type", "bridge", "mcast_snooping", "0")
        for member in members:
            self.space.ip("link", "set", member, "master", name, "up")
        self.space.ip("link", "set", name, "up")

    def add_containers(self, tap, count=1, bridge="br0"):
        """A bridge with the gateway's TAP and some containers."""
        self.add_bridge(tap, name=bridge)
        return [self.add_host(f"{bridge}-{index}", bridge, mtu=self.space.links()[tap]["mtu"]) for index in range(count)]

    def wire(self):
        """What comes to this node on the underlay, whatever takes it there."""
        return PacketSocket(self.fabric, f"port{self.number}", outgoing=True)

    def joined(self, group):
        """Whether the kernel has joined the group on the underlay NIC, as routers and snooping switches are told."""
        [entry] = self.space.json("ip", "-j", "maddr", "show", "dev", "underlay")
        return group in {membership.get("address") for membership in entry["maddr"]}


@dataclass(frozen=True)
class Host:
    space: Namespace
    address: str
    address6: str
    mac: str


def make_nodes(lab: Lab, case, count=2):
    spaces = [lab.namespace(f"node{number}") for number in range(count)]
    fabric = wire_fabric(lab, spaces)
    nodes = [Node(number, space, underlay(number + 1, case.ipv6), fabric) for number, space in enumerate(spaces)]
    for node in nodes:
        node.space.address("underlay", node.underlay)
    return nodes


def flood_list(*nodes):
    """The FDB entries that replicate to these nodes, or to a group."""
    return {(FLOOD, node.underlay if isinstance(node, Node) else node, "permanent") for node in nodes}


def reach(one, other):
    """Two hosts reach each other: echo and TCP both ways, every checksum right."""
    with ChecksumWatch(one.space, other.space):
        for client, server in ((one, other), (other, one)):
            assert ping(client.space, server.address, count=10) == 0
            transfer(client.space, server.space, server.address)


def stop(nodes):
    for node in nodes:
        node.gateway.check_books()
        node.gateway.stop()
