"""An underlay with routers.

    host ═ lan ─ gw ─ underlay ══╦══ near ─ r0 ─ away ══╦══ underlay ─ far
                    192.0.2.1    ╚══ near ─ r1 ─ away ══╝   203.0.113.2: the kernel's vxlan device
                             .101 and .102      .101 and .102
"""

from lab import Lab, wait_until
from topology import HOST, OVERLAY_MTU, VNI, mac, overlay6, underlay
from traffic import ping


class Routed:
    """`over(0)` sends what is between the VTEPs by the first router. Over IPv6 the far network is 2001:db8:3::/64."""

    def __init__(self, lab: Lab, ipv6=False, mtu=1500):
        self.ipv6, self.mtu = ipv6, mtu
        self.gateway, self.far_address = underlay(1, ipv6), self.beyond(2)
        self.gw, self.far, self.host = (lab.namespace(name) for name in ("gw", "far", "host"))
        self.routers = [lab.namespace(f"r{index}") for index in (0, 1)]
        self._switch(lab, "near", self.gw, 0x01)
        self._switch(lab, "away", self.far, 0x20)
        self.gw.address("underlay", self.gateway)
        self.far.address("underlay", self.far_address)
        for index, router in enumerate(self.routers):
            router.address("near", underlay(0x101 + index if ipv6 else 101 + index, ipv6))
            router.address("away", self.beyond(0x101 + index if ipv6 else 101 + index))
            router.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1",
                       "net.ipv4.conf.near.arp_notify=1", "net.ipv6.conf.near.ndisc_notify=1",
                       "net.ipv4.conf.all.send_redirects=0")
        self.over(0)
        for router in self.routers:  # they know all their neighbours: what is lost later, the gateway lost
            for address in (self.gateway, self.far_address):
                wait_until(lambda: ping(router, address, count=1) == 0, 5, f"{address} at {router}")
        lab.veth((self.host, "eth0", mac(0x10)), (self.gw, "lan", mac(0x02)), 2)
        for address in (HOST, overlay6(0x10)):
            self.host.address("eth0", address)

    def _switch(self, lab, name, end, number):
        space = lab.namespace(name)
        space.ip("link", "add", "bridge", "type", "bridge", "mcast_snooping", "0")
        space.ip("link", "set", "bridge", "up")
        lab.veth((end, "underlay", mac(number)), (space, "end", mac(number + 0x70)))
        for index, router in enumerate(self.routers):
            lab.veth((router, name, mac(number + 0x40 + index)), (space, f"r{index}", mac(number + 0x71 + index)))
        for device in ("end", "r0", "r1"):
            space.ip("link", "set", device, "master", "bridge")

    def beyond(self, number):
        return f"2001:db8:3::{number:x}" if self.ipv6 else f"203.0.113.{number}"

    def hop(self, index, away=False):
        number = (0x101 if self.ipv6 else 101) + index
        return self.beyond(number) if away else underlay(number, self.ipv6)

    def over(self, *routers):
        """The gateway's route to the far VTEP is over one router or, with equal cost, several. The far end uses the first."""
        network, back = ("2001:db8:3::/64", "2001:db8::/64") if self.ipv6 else ("203.0.113.0/24", "192.0.2.0/24")
        hops = [word for index in routers for word in ("nexthop", "via", self.hop(index))]
        self.gw.ip("route", "replace", network, *(hops if len(routers) > 1 else hops[1:]))
        self.far.ip("route", "replace", back, "via", self.hop(routers[0], away=True))

    def add_vtep(self, mtu=OVERLAY_MTU):
        """The far VTEP's device, with the overlay addresses 198.51.100.2 and 2001:db8:1::2."""
        self.far.ip("link", "add", "vxlan", "address", mac(0x30), "mtu", mtu, "type", "vxlan", "id", VNI, "local", self.far_address,
                    "remote", self.gateway, "dstport", 4789, *(["udp6zerocsumrx"] if self.ipv6 else []))
        for address in ("198.51.100.2", overlay6(2)):
            self.far.address("vxlan", address)
