"""The network of one measurement:

    far: 192.0.2.64-127 (64 VTEPs)          gw: 192.0.2.1                              host
    generator ──▶ underlay ════ veth ════ underlay [ system under test ] lan ════ veth ════ eth0 ◀── generator
       sink   ◀──                                                                              ──▶ sink

The generator (traffic.py) puts frames into the far ends' veths, and they come out at the gateway's. What the gateway sends is
counted and dropped at the far ends by an XDP program, the same for all systems.
"""

import contextlib
import os
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2] / "Tests/netns"))

from lab import CommandFailed, Lab, execute, interrupt_on_sigterm, leftovers, wait_until  # noqa: E402

__all__ = [
    "CommandFailed", "Failed", "GATEWAY_CPU", "GENERATOR_CPU", "Network", "execute", "interrupt_on_sigterm", "leftovers", "wait_until",
]

GATEWAY = "192.0.2.1"
VNI = 100
FAR_MAC, UNDERLAY_MAC, LAN_MAC, HOST_MAC = (f"00:00:5e:00:53:{last:02x}" for last in (0x02, 0x01, 0x03, 0x04))

_cpus = sorted(os.sched_getaffinity(0))
GENERATOR_CPU, GATEWAY_CPU = _cpus[0], _cpus[-1]


class Failed(Exception):
    """A system under test did not do its work; the message says why."""


def vtep(number):
    return f"192.0.2.{64 + number}"


def napi_threads():
    """The kernel's threads for devices named as ours are, in all namespaces."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/comm"):
        with contextlib.suppress(OSError):  # it ended while we looked
            if path.read_text().startswith(("napi/underlay", "napi/lan")):
                found.add(int(path.parent.name))
    return found


class Network:
    """Use it as a context manager; afterwards nothing of it is left. `generated`: the rig's generator will send, not hosts."""

    def __init__(self, vteps, generated=True):
        self.vteps = [vtep(number) for number in range(vteps)]
        self.generated = generated
        self.lab = Lab()

    def __enter__(self):
        try:
            self.far, self.gw, self.host = (self.lab.namespace(name) for name in ("far", "gw", "host"))
            self.lab.veth((self.gw, "underlay", UNDERLAY_MAC), (self.far, "underlay", FAR_MAC))
            self.lab.veth((self.gw, "lan", LAN_MAC), (self.host, "eth0", HOST_MAC))
            self.gw.address("underlay", GATEWAY)
            addresses = "".join(f"address add {address}/24 dev underlay\n" for address in self.vteps)
            batch = self.lab.directory / "addresses"
            batch.write_text(addresses)
            self.far.ip("-batch", batch)
            self.receive_xdp_frames()
        except BaseException:
            self.lab.close()
            raise
        return self

    def __exit__(self, *_):
        self.lab.close()

    def receive_xdp_frames(self):
        """A veth takes redirected frames in if it has a native XDP program or GRO. The generator's UDP is never merged."""
        for device in ("underlay", "lan") if self.generated else ():
            self.gw.run("ethtool", "-K", device, "gro", "on")

    def forward_on_gateway_cpu(self):
        """A veth's NAPI runs where its frames were sent, so a gateway that forwards in it shares the generator's CPU. As a thread,
        NAPI has a CPU of its own. To be called when the system has started, for an attached program is a new NAPI."""
        before = napi_threads()
        for device in ("underlay", "lan"):
            self.gw.run("sh", "-c", f"echo 1 > /sys/class/net/{device}/threaded")
        threads = wait_until(lambda: len(new := napi_threads() - before) == 2 and new, 2, "NAPI threads of both devices")
        for thread in threads:
            os.sched_setaffinity(thread, {GATEWAY_CPU})

    def start(self, *command, pinned=True, **options):
        """A process in the gateway's namespace, on the gateway's CPU."""
        pin = ["taskset", "-c", GATEWAY_CPU] if pinned else []
        return self.gw.start(*pin, *command, **options)
