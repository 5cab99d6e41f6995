"""The kernel's vxlan devices and bridges, with vxgw's settings and vxgw's answers: in vxgw's place, or as its far end."""

import re

from settings import FLOOD, Entry, is_group
from vlan import add_vlan, tag_vxlan


def flag(word):
    return lambda _, __: [word]


def same(word):
    return lambda value, _: [word, value]


def tos(value, _):
    return ["tos", value if value == "inherit" else hex(value)]  # a number is hexadecimal there, with or without 0x


def udpcsum(value, _):
    return {"on": ["udpcsum"], "off": ["noudpcsum"], "auto": []}[value]


# What vxgw's options are called at `ip link add … type vxlan`: functions of the value and of whether the underlay is IPv6.
WORDS = {
    "ttl": same("ttl"), "tos": tos, "df": same("df"), "flowlabel": same("flowlabel"), "ageing": same("ageing"),
    "max-fdb": same("maxaddress"), "proxy": flag("proxy"), "l2miss": flag("l2miss"), "l3miss": flag("l3miss"), "udpcsum": udpcsum,
}
# What the kernel does anyway, or where the tests ask no more of vxgw than what the kernel does without.
ANYWAY = {("inner-vlan", "keep"), ("mss-clamp", "off"), ("vteps", "any"), ("reserved-bits", "strict"),
          ("suppress", True), ("verify-udpcsum", True)}


class KernelGateway:
    """One vxlan device per VNI; and a bridge with the local ports, if one of them is a NIC. A TAP is the vxlan device itself."""

    def __init__(self, space, settings, examined=True):
        """`examined`: what it sends is looked at on the wire, so checksums are complete and super-frames segmented there."""
        self.space, self.settings, self.examined = space, settings, examined
        self.log, self.ready = None, "kernel"
        self.vxlans, self.bridges, self.links, self.offloaded = {}, {}, {}, False

    def start(self):
        # The kernel leaves checksums and segmentation to the NIC; vxgw completes them. So must the kernel, where its packets
        # are examined.
        self.offloaded = self.examined and self.space.offloads("underlay")["tx-checksumming"] == "on"
        if self.offloaded:
            self.space.run("ethtool", "-K", "underlay", "tx", "off")
        if ":" in self.settings.iface:
            tag_vxlan(self.space, "underlay", self.settings.iface.split(":")[1], self.settings.dstport)
        for key, ports in self.settings.ports.items():
            for vni, own in self._expanded(key, ports):
                self.segment("add", vni, own)
        return self

    @staticmethod
    def _expanded(key, ports):
        """10100-10101: ["lan:100-101"] is 10100: ["lan:100"] and 10101: ["lan:101"]."""
        if isinstance(key, int):
            return [(key, ports)]
        first, last = map(int, key.split("-"))
        def shifted(port, offset):
            return re.sub(r":(\d+)-\d+$", lambda match: f":{int(match[1]) + offset}", port)
        return [(vni, [shifted(port, vni - first) for port in ports]) for vni in range(first, last + 1)]

    def segment(self, verb, vni, ports=(), remotes=()):
        if verb == "del":
            for port in [port for port, (owner, _) in self.links.items() if owner == vni]:
                self.link("del", vni, port)
            for device in (self.bridges.pop(vni, None), self.vxlans.pop(vni)):
                if device:
                    self.space.ip("link", "del", device)
            return
        taps = [port.removeprefix("tap:") for port in ports if port.startswith("tap:")]
        lans = [port for port in ports if not port.startswith("tap:")]
        self.vxlans[vni] = f"vx{vni}" if lans else taps[0]
        self._add_vxlan(self.vxlans[vni], vni, remotes or self.settings.own.get(vni) or self.settings.remotes)
        if lans:
            self._add_bridge(vni, taps[0] if taps else f"br{vni}")
            for port in lans:
                self.link("add", vni, port)

    def _add_vxlan(self, device, vni, remotes):
        ipv6 = ":" in self.settings.local
        words = ["udp6zerocsumrx"] if ipv6 else []  # vxgw accepts them unless asked otherwise
        for name, value in self.settings.options.items():
            if (name, value) not in ANYWAY and name != "mtu":
                words += WORDS[name](value, ipv6)
        if not self.settings.learning:
            words.append("nolearning")
        if remotes and is_group(remotes[0]):
            words += ["group", remotes[0]]
        self.space.ip("link", "add", device, "type", "vxlan", "id", vni, "local", self.settings.local, "dev", "underlay",
                      "dstport", self.settings.dstport, "srcport", 49152, 65535, *words)
        for remote in remotes:
            if not is_group(remote):
                self.vtep("add", remote, vni)
        self.space.ip("link", "set", device, *(["mtu", self.settings.options["mtu"]] if "mtu" in self.settings.options else []), "up")

    def _add_bridge(self, vni, bridge):
        self.bridges[vni] = bridge
        self.space.ip("link", "add", bridge, "type", "bridge", "mcast_snooping", "0")
        self.space.ip("link", "set", self.vxlans[vni], "master", bridge)
        if not self.settings.learning:
            self.space.run("bridge", "link", "set", "dev", self.vxlans[vni], "learning", "off")
        if "suppress" in self.settings.options:
            self.space.run("bridge", "link", "set", "dev", self.vxlans[vni], "neigh_suppress", "on")
        self.space.ip("link", "set", bridge, "up")

    def link(self, verb, vni, port):
        if verb == "del":
            _, device = self.links.pop(port)
            self.space.ip("link", *(["del", device] if "." in device else ["set", device, "nomaster"]))
            return
        device, _, vlan = port.partition(":")
        if vlan not in ("", "trunk"):
            protocol = 0x88A8 if vlan.startswith("s") else 0x8100
            device = add_vlan(self.space, device, vlan.removeprefix("s"), f"{device}.{vlan}", protocol)
        self.links[port] = (vni, device)
        self.space.ip("link", "set", device, "master", self.bridges[vni], "up")

    def _vxlan(self, vni):
        return self.vxlans[vni] if vni is not None else next(iter(self.vxlans.values()))

    def fdb_change(self, verb, mac, *words, vni=None, check=True):
        where = [] if "dev" in words else ["dev", self._vxlan(vni)]
        table = "master" if "dev" in words else "self"
        return self.space.run("bridge", "fdb", verb, mac, *where, *words, table, check=check).stdout

    def fdb_flush(self, *filters, vni=None):
        self.space.run("bridge", "fdb", "flush", "dev", self._vxlan(vni), *filters, "self")

    def neighbour(self, verb, address, mac=None, vni=None):
        vni = vni if vni is not None else next(iter(self.vxlans))
        device = self.bridges[vni] if "suppress" in self.settings.options else self.vxlans[vni]
        if ":" in address:
            self.space.enable_ipv6(device)
        self.space.ip("neighbour", verb, address, *(["lladdr", mac, "nud", "permanent"] if mac else []), "dev", device)

    def vtep(self, verb, address, vni=None):
        for device in [self._vxlan(vni)] if vni is not None else self.vxlans.values():
            self.space.run("bridge", "fdb", {"add": "append"}.get(verb, verb), FLOOD, "dev", device, "dst", address)

    def destinations(self, vni=None):
        rows = self.space.json("bridge", "-j", "fdb", "show", "dev", self._vxlan(vni))
        return {(row["mac"], row["dst"], row["state"]) for row in rows if "dst" in row}

    def monitor(self):
        """Misses alone are told apart from other changes: "miss dev vx lladdr MAC STALE", "miss IP dev vx  STALE"."""
        path = self.space.lab.directory / f"{self.space.role}-monitor"
        with open(path, "w") as output:
            self.space.start("stdbuf", "-oL", "ip", "monitor", "neigh", stdout=output)
        def events():
            for line in path.read_text().splitlines():
                if miss := re.match(r"miss (?:dev (\S+) lladdr (\S+)|(\S+) dev (\S+)) ", line):
                    yield {"event": "l2miss", "mac": miss[2]} if miss[2] else {"event": "l3miss", "dst": miss[3]}
        return lambda: list(events())

    def fdb(self, own=None):
        """As vxgw tells it: where a frame to each address goes. The bridge says which port; the vxlan device, which VTEP."""
        rows = [row for row in self.space.json("bridge", "-j", "fdb", "show") if row.get("state") not in ("permanent", "static")]
        links, entries = self.space.links(), []
        ports = {device: port for port, (_, device) in self.links.items()}
        for vni, device in self.vxlans.items():
            remote = {row["mac"]: row["dst"] for row in rows if row["ifname"] == device and "dst" in row}
            master = links[device].get("master")
            if vni in self.bridges:  # which knows all addresses
                entries += [
                    Entry(vni, row["mac"], remote[row["mac"]] if row["ifname"] == device else ports[row["ifname"]])
                    for row in rows if row.get("master") == master and (row["ifname"] in ports or row["mac"] in remote)]
            else:  # stands for the TAP: what is behind it is its own address, or what its bridge has elsewhere
                behind = [row["mac"] for row in rows if row.get("master") == master and row["ifname"] != device] \
                    if master else [links[device]["address"]]
                entries += [Entry(vni, address, device) for address in behind]
                entries += [Entry(vni, address, vtep) for address, vtep in remote.items()]
        return sorted(entries)

    def check_books(self):
        """The kernel keeps none."""

    def stop(self):
        for vni in list(self.vxlans):
            self.segment("del", vni)
        if self.offloaded:
            self.space.run("ethtool", "-K", "underlay", "tx", "on")

    kill = stop
