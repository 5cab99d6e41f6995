"""How a gateway is set up, and what it tells, whether it is vxgw or the kernel."""

import ipaddress
from dataclasses import dataclass, field

from topology import GATEWAY, VNI

FLOOD = "00:00:00:00:00:00"  # the FDB entry that is the replication list


def is_group(address):
    return ipaddress.ip_address(address).is_multicast


@dataclass
class Settings:
    """A gateway's configuration.

    `io` is vxgw's, or "fastpath": "xdp" with the fast path on. `remotes` are the VTEPs for BUM traffic, or one multicast group; those of `own[VNI]` instead, if it has any. `ports` maps
    each VNI to its local ports as vxgw writes them ("lan", "lan:100", "tap:NAME"), or a range of VNIs to one of VLANs.
    `options` are vxgw's others by their long names, True for a flag; `kernel_gateway.WORDS` has the kernel's words for them.
    """

    remotes: list
    ports: dict = field(default_factory=lambda: {VNI: ["lan"]})
    io: str = "auto"
    workers: int | None = 1
    dstport: int = 4789
    learning: bool = True
    options: dict = field(default_factory=dict)
    local: str = GATEWAY
    own: dict = field(default_factory=dict)
    iface: str = "underlay"

    def arguments(self):
        """vxgw's command line."""
        words = ["--iface", self.iface, "--local", self.local, "--dstport", self.dstport]
        words += ["--io", *(["xdp", "--fastpath", "on"] if self.io == "fastpath" else [self.io]), *(["--workers", self.workers] if self.workers else [])]
        for prefix, addresses in [("", self.remotes), *((f"{vni}=", addresses) for vni, addresses in self.own.items())]:
            if addresses:
                words += ["--group" if is_group(addresses[0]) else "--remote", prefix + ",".join(addresses)]
        if len(self.ports) == 1 and isinstance(next(iter(self.ports)), int):
            [(vni, ports)] = self.ports.items()
            words += ["--vni", vni]
            for port in ports:
                words += ["--tap", port.removeprefix("tap:")] if port.startswith("tap:") else ["--lan", port]
        else:
            for vni, ports in self.ports.items():
                for port in ports:
                    words += ["--map", f"{vni}={port}"]
        if not self.learning:
            words.append("--no-learning")
        for name, value in self.options.items():
            words += [f"--{name}"] if value is True else [f"--{name}", value]
        return words


@dataclass(frozen=True, order=True)
class Entry:
    """A learned FDB entry: `where` is a remote VTEP's address or a local port's name."""

    vni: int
    mac: str
    where: str
