"""The generator and the sinks."""

import contextlib
import os
import signal
import socket
import struct
import threading
import time
from dataclasses import dataclass

from build import program
from libbpf import CPUS, Object
from network import FAR_MAC, GENERATOR_CPU, UNDERLAY_MAC, Failed

SETTINGS = struct.Struct("=2Q 7I 12I 6s6s")  # struct settings, generator.bpf.c
STATE = struct.Struct("=3QI4x")
ENDLESS = (1 << 31) - 1  # frames of one system call: starting one takes 10 ms or more, in which nothing is sent
WAKE = signal.SIGUSR1  # what interrupts it


def mac_bytes(text):
    return bytes.fromhex(text.replace(":", ""))


class Generator:
    """Sends a case's frames from a thread of its own while it is running; use it as a context manager."""

    def __init__(self, network, case, rate=0, limit=0, stamp=False, batch=64):
        """`rate`: frames per second, 0 is as fast as it goes. `limit`: frames in all, 0 is no limit."""
        sizes = case.sizes
        constants = SETTINGS.pack(
            int(1e9 / rate) if rate else 0, limit, case.decapsulates, case.encapsulates, case.flows, case.macs // 2, case.vteps,
            stamp, len(sizes), *(sizes + [0] * 12)[:12], mac_bytes(FAR_MAC), mac_bytes(UNDERLAY_MAC))
        self._object = Object(program("generator.bpf.o"), constants)
        for side, (space, device) in enumerate([(network.far, "underlay"), (network.host, "eth0")]):
            with space.entered():
                self._object.write("sides", struct.pack("=I", socket.if_nametoindex(device)), side)
        self._frame = bytes(max(sizes) + (50 if case.decapsulates else 0))
        self._batch = batch
        self._over, self._error = threading.Event(), None
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        signal.signal(WAKE, lambda *_: None)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.stop()
        self._object.close()

    def stop(self):
        self._over.set()
        while self._thread.is_alive():
            signal.pthread_kill(self._thread.ident, WAKE)
            self._thread.join(0.01)
        if self._error:
            raise Failed(f"generator: {self._error}")

    def _run(self):
        os.sched_setaffinity(0, {GENERATOR_CPU})
        try:
            while not self._over.is_set():
                with contextlib.suppress(InterruptedError):
                    self._object.run("generate", self._frame, ENDLESS, self._batch)
        except OSError as error:
            self._error = error

    def sent(self):
        """Frames so far, from both sides."""
        return sum(STATE.unpack(self._object.read(".bss", STATE.size))[:2])


@dataclass(frozen=True)
class Count:
    frames: int
    bytes: int
    others: int


class Sink:
    """Counts and drops what arrives on a device at a far end, until it is closed."""

    def __init__(self, space, device, stamped=False):
        self._object = Object(program("sink.bpf.o"), struct.pack("=I", stamped))
        with space.entered():
            self._object.attach_xdp("sink", device)

    def close(self):
        self._object.close()

    def count(self):
        values = struct.unpack(f"={3 * CPUS}Q", self._object.read("counts", 24, per_cpu=True))
        return Count(*(sum(values[index::3]) for index in range(3)))

    def ages(self, buckets):
        """How many frames were how old when they arrived: a list of counts by bucket."""
        values = (self._object.read("ages", 8, bucket, per_cpu=True) for bucket in range(buckets))
        return [sum(struct.unpack(f"={CPUS}Q", value)) for value in values]

    def request_sample(self):
        self._object.write("samples", bytes(4 + 2048))
        self._object.write(".bss", struct.pack("=I", 1))

    def sample(self):
        """The bytes of a frame that came since it was requested; empty if none did."""
        value = self._object.read("samples", 4 + 2048)
        return value[4:4 + struct.unpack_from("=I", value)[0]]


class Sinks:
    """Those of both far ends; use it as a context manager."""

    def __init__(self, network, stamped=False):
        self.far, self.host = Sink(network.far, "underlay", stamped), Sink(network.host, "eth0", stamped)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.far.close()
        self.host.close()

    def frames(self):
        return self.far.count().frames + self.host.count().frames

    def bytes(self):
        return self.far.count().bytes + self.host.count().bytes


def send(network, case, frames, rate):
    """Sends so many frames at a rate, and waits until they have been sent."""
    with Generator(network, case, rate=rate, limit=frames) as generator:
        deadline = time.monotonic() + 5 + 10 * frames / rate
        while generator.sent() < frames:
            if time.monotonic() > deadline:
                raise Failed(f"generator: {generator.sent()} of {frames} frames sent at {rate}/s")
            time.sleep(0.005)
