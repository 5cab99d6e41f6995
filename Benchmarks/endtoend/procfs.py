"""What /proc tells of a process: CPU time and memory. And, by a tracepoint, how many system calls it makes."""

import os
import struct
from dataclasses import dataclass

from build import program
from libbpf import CPUS, Object

_TICK = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class CPUTime:
    """Seconds, of all threads."""

    user: float = 0.0
    system: float = 0.0

    def __sub__(self, other):
        return CPUTime(self.user - other.user, self.system - other.system)

    @property
    def total(self):
        return self.user + self.system


def cpu_time(pid):
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return CPUTime(int(fields[11]) * _TICK, int(fields[12]) * _TICK)


def resident_kilobytes(pid):
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS:"))


class SystemCalls:
    """Counts a process's system calls; use it as a context manager."""

    def __init__(self, pid):
        self._object = Object(program("calls.bpf.o"), struct.pack("=I", pid))
        self._object.attach("entered")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._object.close()

    def count(self):
        return sum(struct.unpack(f"={CPUS}Q", self._object.read("calls", 8, per_cpu=True)))
