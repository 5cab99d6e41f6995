"""The gateway under test: vxgw, or (VXGW_DUT=kernel) the kernel's vxlan device and bridge in its place.

The kernel in vxgw's place proves the tests themselves: what they ask of vxgw, the kernel does.
"""

import json
import os
import re
import signal
from dataclasses import dataclass, field
from pathlib import Path

from lab import execute, wait_until
from topology import GATEWAY, VNI

KERNEL = os.environ.get("VXGW_DUT", "vxgw") == "kernel"
BINARY = Path(os.environ.get("VXGW", Path(__file__).parents[2] / ".build/release/vxgw")).absolute()
IO_MODES = ["kernel"] if KERNEL else ["xdp", "xdp-skb", "raw"]
WORKERS = [1] if KERNEL else [1, 2]
READY = "vxgw: ready:"
TOTALS = re.compile(r"\bin \d+.*\bout \d+", re.DOTALL)


@dataclass
class Settings:
    """A gateway's configuration. `ports` maps each VNI to its local ports, "tap:NAME" or a NIC's name."""

    remotes: list
    ports: dict = field(default_factory=lambda: {VNI: ["lan"]})
    io: str = "auto"
    workers: int | None = 1
    dstport: int = 4789
    learning: bool = True
    extra: tuple = ()
    local: str = GATEWAY

    def arguments(self):
        """vxgw's command line."""
        words = ["--iface", "underlay", "--local", self.local, "--dstport", self.dstport]
        words += ["--io", self.io, *(["--workers", self.workers] if self.workers else [])]
        if self.remotes:
            words += ["--remote", ",".join(self.remotes)]
        if len(self.ports) == 1:
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
        return [*words, *self.extra]


@dataclass(frozen=True)
class Stats:
    """`vxgw stats -j`. The only place that knows its keys."""

    received: int
    transmitted: int
    replicated: int
    waiting: int
    drops: dict
    frames: dict
    balanced: bool

    @classmethod
    def parse(cls, text):
        value = json.loads(text)
        drops = {drop["reason"]: drop["count"] for drop in value["drops"]}
        frames = value["frames"]
        balanced = value["balanced"] and frames.pop("balanced")
        return cls(value["in"], value["out"], value["replicated"], value["waiting"], drops, frames, balanced)

    @property
    def books(self):
        """In and out of the account: they must be equal."""
        return self.received + self.replicated, self.transmitted + sum(self.drops.values()) + self.waiting

    @property
    def chunks(self):
        """UMEM chunks in all, and those found somewhere: they must be equal."""
        return self.frames["total"], sum(count for place, count in self.frames.items() if place != "total")


@dataclass(frozen=True, order=True)
class Entry:
    """A learned FDB entry: `where` is a remote VTEP's address or a local port's name."""

    vni: int
    mac: str
    where: str


class Vxgw:
    """A running vxgw."""

    def __init__(self, space, settings):
        self.space, self.settings = space, settings
        number = len(space.lab.gateways)
        self.socket, self.log = (space.lab.directory / f"{number}.{end}" for end in ("sock", "log"))
        self.process, self.ready = None, ""

    def start(self):
        """Starts it and waits until it says that it is ready. Ready means ready: nothing sleeps after this."""
        words = [BINARY, "run", *self.settings.arguments(), "--socket", self.socket, "--log-level", "debug"]
        with open(self.log, "w") as log:
            self.process = self.space.start(*words, stdout=log, stderr=log)
        self.space.lab.gateways.append(self)
        wait_until(lambda: READY in self.output() or self.process.poll() is not None, 20, f"'{READY}'")
        assert self.process.poll() is None, f"vxgw ended with {self.process.returncode}:\n{self.output()}"
        self.ready = next(line for line in self.output().splitlines() if READY in line)
        return self

    def output(self):
        return self.log.read_text(errors="replace")

    def ask(self, *words):
        return execute(BINARY, *words, "--socket", self.socket).stdout

    def stats(self):
        return Stats.parse(self.ask("stats", "-j"))

    def fdb(self, own=None):
        """The learned entries, and the permanent one of the TAP itself if `own` is its address. Other permanent ones and the
        replication list (all-zero addresses) are left out."""
        entries = json.loads(self.ask("fdb", "show", "-j"))
        return sorted(
            Entry(entry["vni"], entry["mac"], entry.get("dst", entry["ifname"]))
            for entry in entries if entry["mac"] == own or entry.get("state") not in ("permanent", "static"))

    def check_books(self):
        """In + copies = out + drops + waiting, exactly, and every UMEM chunk is somewhere. A frame still on its way when
        the counters are read is no error, so they are read until the network is quiet."""
        def settled():
            stats = self.stats()
            return stats.books[0] == stats.books[1] and stats.chunks[0] == stats.chunks[1] and stats.balanced
        wait_until(settled, 2, lambda: f"balanced books: {self.stats()}")

    def stop(self):
        """SIGTERM: in order, with the totals, exit 0."""
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(10)
        assert status == 0, f"exit {status} after SIGTERM:\n{self.output()}"
        assert TOTALS.search(self.output()), f"no totals after SIGTERM:\n{self.output()}"

    def kill(self):
        """kill -9: no clean-up of its own."""
        self.process.kill()
        self.process.wait()


class KernelGateway:
    """The kernel's vxlan devices and bridges, with vxgw's settings and vxgw's answers."""

    def __init__(self, space, settings):
        self.space, self.settings, self.log = space, settings, None
        self.devices, self.offloaded, self.ready = [], False, "kernel"

    def start(self):
        # The kernel leaves checksums and segmentation to the NIC; vxgw completes them. So must the kernel here, where
        # what is on the wire is examined.
        self.offloaded = self.space.offloads("underlay")["tx-checksumming"] == "on"
        if self.offloaded:
            self.space.run("ethtool", "-K", "underlay", "tx", "off")
        for vni, ports in self.settings.ports.items():
            taps = [port.removeprefix("tap:") for port in ports if port.startswith("tap:")]
            lans = [port for port in ports if not port.startswith("tap:")]
            vxlan = f"vx{vni}" if lans else taps[0]
            self._add_vxlan(vxlan, vni)
            if lans:
                self._add_bridge(taps[0] if taps else f"br{vni}", [vxlan, *lans])
        return self

    def _add_vxlan(self, device, vni):
        learning = "learning" if self.settings.learning else "nolearning"
        self.space.ip("link", "add", device, "type", "vxlan", "id", vni, "local", self.settings.local, "dev", "underlay",
                      "dstport", self.settings.dstport, "srcport", 49152, 65535, learning)
        self.devices.append((device, vni))
        for remote in self.settings.remotes:
            self.space.run("bridge", "fdb", "append", "00:00:00:00:00:00", "dev", device, "dst", remote)
        self.space.ip("link", "set", device, "up")

    def _add_bridge(self, bridge, members):
        self.space.ip("link", "add", bridge, "type", "bridge", "mcast_snooping", "0")
        self.devices.insert(0, (bridge, None))
        for member in members:
            self.space.ip("link", "set", member, "master", bridge, "up")
            if not self.settings.learning:
                self.space.run("bridge", "link", "set", "dev", member, "learning", "off")
        self.space.ip("link", "set", bridge, "up")

    def fdb(self, own=None):
        """As vxgw tells it: where a frame to each address goes. The bridge says which port; the vxlan device, which VTEP."""
        rows = [row for row in self.space.json("bridge", "-j", "fdb", "show") if row.get("state") != "permanent"]
        links, entries = self.space.links(), []
        for device, vni in self.devices:
            if vni is None:
                continue
            remote = {row["mac"]: row["dst"] for row in rows if row["ifname"] == device and "dst" in row}
            master = links[device].get("master")
            if device.startswith("vx"):  # a member of our own bridge, which knows all addresses
                entries += [
                    Entry(vni, row["mac"], remote[row["mac"]] if row["ifname"] == device else row["ifname"])
                    for row in rows if row.get("master") == master]
            else:  # stands for the TAP: what is behind it is its own address, or what its bridge has elsewhere
                behind = [row["mac"] for row in rows if row.get("master") == master and row["ifname"] != device] \
                    if master else [links[device]["address"]]
                entries += [Entry(vni, address, device) for address in behind]
                entries += [Entry(vni, address, vtep) for address, vtep in remote.items()]
        return sorted(entries)

    def check_books(self):
        """The kernel keeps none."""

    def stop(self):
        while self.devices:
            self.space.ip("link", "del", self.devices.pop(0)[0])
        if self.offloaded:
            self.space.run("ethtool", "-K", "underlay", "tx", "on")

    kill = stop


def start_gateway(space, settings):
    return (KernelGateway if KERNEL else Vxgw)(space, settings).start()
