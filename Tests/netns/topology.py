"""The network that the tests run in.

                    underlay 192.0.2.0/24
    ┌───────────────────────────────────────────────┐
    │ far: 192.0.2.2 (.3, .4)                       │ gw: 192.0.2.1
    │                                               │
    │  vxlan<VNI>                            vxgw ──┤── lan ═══════ eth0   host
    │  198.51.100.2 (.3, .4)                   │    │                      198.51.100.10
    │      │                                   │    │
    │  underlay ══════(fabric, if more)════ underlay│── tap0
    └───────────────────────────────────────────────┘     198.51.100.20: its own address, or
                                                          br0 ── port ═══ eth0  container: 198.51.100.20

═══ is a veth pair, offloads on: the far VTEP sends partial checksums and GSO super-frames, and so do host and container.
The far VTEP is the kernel's vxlan device. Several of them share a bridge ("fabric"), each with a veth of its own.
Over IPv6 the underlay is 2001:db8::/64.
"""

from dataclasses import dataclass

import pytest

from lab import Lab, Namespace

GATEWAY, HOST, LOCAL = "192.0.2.1", "198.51.100.10", "198.51.100.20"
OVERLAY_MTU = 1450  # 1500 less 50 bytes of outer headers (IPv4)
VNI = 4100
over_both = pytest.mark.parametrize("ipv6", [False, True], ids=["ipv4", "ipv6"])  # underlays


def mac(number):
    """An address of the range for documentation, RFC 9542 section 2.1.2."""
    return f"00:00:5e:00:53:{number:02x}"


def underlay(number, ipv6=False):
    """The underlay address of the gateway (1), of the far VTEP (2) and of more."""
    return f"2001:db8::{number:x}" if ipv6 else f"192.0.2.{number}"


def overlay6(number):
    """The IPv6 address of what has 198.51.100.<number>."""
    return f"2001:db8:1::{number:x}"


def wire_fabric(lab, spaces, queues=1):
    """Connects the `underlay` of some namespaces with a bridge, the first's to `port0` and so on; returns the bridge's. The
    first has MAC 01, the others 20, 21, …"""
    number = [0x01, *range(0x20, 0x1F + len(spaces))]
    fabric = lab.namespace("fabric")
    fabric.ip("link", "add", "bridge", "type", "bridge", "mcast_snooping", "0")
    fabric.ip("link", "set", "bridge", "up")
    for index, space in enumerate(spaces):
        lab.veth((space, "underlay", mac(number[index])), (fabric, f"port{index}", mac(0x70 + index)), queues)
        fabric.ip("link", "set", f"port{index}", "master", "bridge")
    return fabric


@dataclass
class VTEP:
    """A remote VTEP: the kernel's vxlan device. `overlay` is the namespace that the device is in."""

    space: Namespace
    overlay: Namespace
    underlay: str
    address: str
    mac: str
    device: str


class Topology:
    """See the drawing. `queues` are those of the underlay's and of the LAN's veth pair, `words` more words for the far
    VTEPs' devices."""

    def __init__(self, lab: Lab, vteps=1, queues=(2, 2), vni=VNI, dstport=4789, ipv6=False, words=()):
        self.lab, self.vni, self.dstport, self.ipv6, self.words = lab, vni, dstport, ipv6, words
        self.gateway = underlay(1, ipv6)
        self.gw = lab.namespace("gw")
        self.spaces = [lab.namespace(f"far{index}" if vteps > 1 else "far") for index in range(vteps)]
        self.wire_underlay(queues[0])
        self.gw.address("underlay", self.gateway)
        for index, space in enumerate(self.spaces):
            space.address("underlay", underlay(index + 2, ipv6))
        self.vteps = [self.add_vtep(space, index) for index, space in enumerate(self.spaces)]
        self.far = self.vteps[0]
        self.host = self.add_host("host", "lan", queues[1])

    def wire_underlay(self, queues):
        if len(self.spaces) == 1:
            self.lab.veth((self.spaces[0], "underlay", mac(0x20)), (self.gw, "underlay", mac(0x01)), queues)
        else:
            wire_fabric(self.lab, [self.gw, *self.spaces], queues)

    def add_vtep(self, space, index=0, vni=None, overlay=None):
        """A kernel VTEP in `space` that knows the gateway as its only remote. Its device may live in another namespace."""
        vni, overlay, words = vni or self.vni, overlay or space, ["udp6zerocsumrx", *self.words] if self.ipv6 else self.words
        vtep = VTEP(space, overlay, underlay(index + 2, self.ipv6), f"198.51.100.{index + 2}", mac(0x30 + index), f"vxlan{vni}")
        space.ip("link", "add", vtep.device, "address", vtep.mac, "type", "vxlan", "id", vni, "local", vtep.underlay,
                 "remote", self.gateway, "dstport", self.dstport, "dev", "underlay", *words)
        if overlay is not space:
            space.ip("link", "set", vtep.device, "netns", overlay.name)
        overlay.address(vtep.device, vtep.address)
        return vtep

    def add_host(self, name, device, queues=1, number=0x10):
        """A host on the LAN behind the gateway's NIC `device`. Its MTU fits the tunnel, as a switch's would be set."""
        host = self.lab.namespace(name)
        self.wire_lan(host, device, queues, number)
        host.ip("link", "set", "eth0", "mtu", OVERLAY_MTU)
        host.address("eth0", HOST)
        return host

    def wire_lan(self, host, device, queues, number):
        self.lab.veth((host, "eth0", mac(number)), (self.gw, device, mac(0x02)), queues)

    def address_tap(self):
        """Gives the gateway's TAP an address of its own, as a drop-in for the kernel's vxlan device."""
        self.gw.address("tap0", LOCAL)
        return self.gw

    def bridge_tap(self):
        """Puts the gateway's TAP into a bridge with a container."""
        container = self.lab.namespace("container")
        self.gw.ip("link", "add", "br0", "type", "bridge", "mcast_snooping", "0")
        self.lab.veth((container, "eth0", mac(0x40)), (self.gw, "port", mac(0x03)))
        container.ip("link", "set", "eth0", "mtu", OVERLAY_MTU)
        for device in ("port", "tap0"):
            self.gw.ip("link", "set", device, "master", "br0")
        for device in ("tap0", "br0"):
            self.gw.ip("link", "set", device, "up")
        container.address("eth0", LOCAL)
        return container
