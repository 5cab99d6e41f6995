"""A running vxgw."""

import contextlib
import json
import os
import re
import signal
from dataclasses import dataclass
from pathlib import Path

from lab import execute, wait_until
from settings import Entry, is_group

BINARY = Path(os.environ.get("VXGW", Path(__file__).parents[2] / ".build/release/vxgw")).absolute()
READY = "vxgw: ready:"
TOTALS = re.compile(r"\bin \d+.*\bout \d+", re.DOTALL)


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
    fastpath: int  # of the received ones

    @classmethod
    def parse(cls, text):
        value = json.loads(text)
        drops = {drop["reason"]: drop["count"] for drop in value["drops"]}
        frames = value["frames"]
        balanced = value["balanced"] and frames.pop("balanced")
        return cls(value["in"], value["out"], value["replicated"], value["waiting"], drops, frames, balanced, value["fastpath"])

    @property
    def books(self):
        """In and out of the account: they must be equal."""
        return self.received + self.replicated, self.transmitted + sum(self.drops.values()) + self.waiting

    @property
    def chunks(self):
        """UMEM chunks in all, and those found somewhere: they must be equal."""
        return self.frames["total"], sum(count for place, count in self.frames.items() if place != "total")


class Vxgw:
    """A running vxgw."""

    def __init__(self, space, settings):
        self.space, self.settings = space, settings
        number = len(space.lab.gateways)
        self.socket, self.log = (space.lab.directory / f"{number}.{end}" for end in ("sock", "log"))
        self.process, self.ready = None, ""
        self.contexts = space.lab.contexts.enter_context(contextlib.ExitStack())

    def while_running(self, context):
        """Enters a context that ends with the gateway."""
        self.contexts.enter_context(context)

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

    def ask(self, *words, check=True):
        return execute(BINARY, *words, "--socket", self.socket, check=check).stdout

    def fdb_change(self, verb, mac, *words, vni=None, check=True):
        """`bridge fdb VERB MAC …` on the segment's device. The words are bridge(8)'s; what it prints."""
        return self.ask("fdb", verb, mac, *words, *(["src_vni", vni] if vni is not None else []), check=check)

    def fdb_flush(self, *filters, vni=None):
        self.ask("fdb", "flush", *filters, *(["src_vni", vni] if vni is not None else []))

    def neighbour(self, verb, address, mac=None, vni=None):
        """A neighbour that `--proxy` and `--suppress` answer for."""
        self.ask("neigh", verb, address, *(["lladdr", mac] if mac else []), *(["vni", vni] if vni is not None else []))

    def vtep(self, verb, address, vni=None):
        """A VTEP in the replication list."""
        self.ask("vtep", verb, address, *(["vni", vni] if vni is not None else []))

    def segment(self, verb, vni, ports=(), remotes=()):
        words = ["group" if is_group(remotes[0]) else "remote", ",".join(remotes)] if remotes else []
        self.ask("vni", verb, vni, *ports, *words)

    def link(self, verb, vni, port):
        """A local port, as in `Settings.ports`."""
        self.ask("link", verb, f"{vni}={port}")

    def destinations(self, vni=None):
        """FDB entries that point to VTEPs, of one segment or of the only one: {(MAC, VTEP, state)}; learned ones have state ""."""
        rows = json.loads(self.ask("fdb", "show", "-j", *(["vni", vni] if vni is not None else [])))
        return {(row["mac"], row["dst"], row.get("state", "")) for row in rows if "dst" in row}

    def monitor(self):
        """Starts `vxgw monitor`. Returns what gives the events so far: [{"event": "l2miss", "mac": …}, …]"""
        path = self.space.lab.directory / f"{self.space.role}-monitor"
        with open(path, "w") as output:
            self.space.start(BINARY, "monitor", "-j", "--socket", self.socket, stdout=output)
        return lambda: [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]

    def stats(self):
        return Stats.parse(self.ask("stats", "-j"))

    def fastpath(self, device):
        """What `link show -j` says of the fast path to a NIC."""
        return next(link for link in json.loads(self.ask("link", "show", "-j")) if link["ifname"] == device)["fastpath"]

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
        self.contexts.close()
        assert status == 0, f"exit {status} after SIGTERM:\n{self.output()}"
        assert TOTALS.search(self.output()), f"no totals after SIGTERM:\n{self.output()}"

    def kill(self):
        """kill -9: no clean-up of its own."""
        self.process.kill()
        self.process.wait()
        self.contexts.close()
