"""Builds the two programs and measures them: what `run` and `check` share."""

import os
import re
import statistics
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.path.join(HERE, ".build")
C, SWIFT = os.path.join(BUILD, "floor"), os.path.join(BUILD, "release", "vxgw-bench")
COUNTER = os.path.join(BUILD, "allocations.so")
# The last core that we may use: interrupts mostly go to the first.
CORE = str(max(os.sched_getaffinity(0)))
# What callgrind counts, in C and in Swift; and it must not count what the dynamic linker does at a first call.
FUNCTIONS = ["--toggle-collect=measured", "--toggle-collect=*8measuredyyF"]
BIND_AT_START = {**os.environ, "LD_BIND_NOW": "1"}


@dataclass
class Row:
    """Of one case, per packet or operation. C alone where `swift_ns` is None; instructions are None where they were not counted."""

    c_ns: float
    swift_ns: float | None
    # The median of the rounds' ratios, Swift's time over C's, and the lowest and the highest.
    ratio: float | None
    spread: tuple | None
    c_instructions: float | None = None
    swift_instructions: float | None = None
    allocations: float | None = None


def output(command, **options):
    return subprocess.run(command, check=True, capture_output=True, text=True, **options).stdout.strip()


def build():
    """The C program with the Swift toolchain's own clang, for the same processor that Swift compiles for by default."""
    subprocess.run(["swift", "build", "-c", "release", "--package-path", HERE], check=True)
    clang = os.path.join(os.path.dirname(os.path.realpath(output(["which", "swift"]))), "clang")
    flags = ["-O3", "-std=gnu17", "-Wall", "-Wextra", "-Werror"]
    subprocess.run([clang, *flags, os.path.join(HERE, "floor", "floor.c"), "-o", C], check=True)
    subprocess.run([clang, *flags, "-fPIC", "-shared", os.path.join(HERE, "floor", "allocations.c"), "-o", COUNTER], check=True)
    for program in (C, SWIFT):  # valgrind's reader of debug information does not know all that Swift writes
        subprocess.run(["strip", "--strip-debug", "-o", program + ".stripped", program], check=True)


def machine():
    """What the numbers belong to."""
    with open("/proc/cpuinfo") as file:
        cpuinfo = file.read()
    return {
        "cpu": re.search(r"^model name\s*: (.*)", cpuinfo, re.M)[1],
        "cores": os.cpu_count(),
        "virtual": "hypervisor" in re.search(r"^flags\s*: (.*)", cpuinfo, re.M)[1].split(),
        "kernel": os.uname().release,
        "swift": output(["swift", "--version"], stderr=None).splitlines()[0],
        "commit": output(["git", "describe", "--always", "--dirty"], cwd=HERE),
    }


def passes(case):
    """So that a sample is some hundred thousand operations."""
    macs = re.search(r"macs=(\d+)", case)
    is_table = not case.startswith(("decapsulate", "encapsulate", "flood", "memory"))
    if is_table:
        return max(1, 2**18 // max(4096, int(macs[1]) if macs else 0))
    return 8 if "flood" in case else 64


def compare(case, rounds):
    """Time in C and in Swift. Both take turns, and the ratio is the median of the rounds' ratios, so that a machine that changes
    its pace changes both."""
    pairs = [(_nanoseconds(C, case), _nanoseconds(SWIFT, case)) for _ in range(rounds)]
    ratios = [swift / c for c, swift in pairs]
    c, swift = (statistics.median(times) for times in zip(*pairs))
    return Row(c, swift, statistics.median(ratios), (min(ratios), max(ratios)))


def floor(case, rounds):
    """Time in C alone."""
    return Row(statistics.median(_nanoseconds(C, case) for _ in range(rounds)), None, None, None)


def special(case):
    """A case with a number of its own, on all cores."""
    return float(output([SWIFT, *case.split(), "samples=15"]))


def _nanoseconds(program, case):
    """Per operation, the median of three samples."""
    return float(output(["taskset", "-c", CORE, program, *case.split(), f"passes={passes(case)}", "samples=3"]).split()[0])


def instructions(program, cases):
    """By case, per operation. They repeat exactly whatever else the machine does, so every core counts."""
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return dict(zip(cases, pool.map(lambda case: _instructions(program + ".stripped", case), cases)))


def _instructions(program, case):
    callgrind = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", *FUNCTIONS]
    command = [*callgrind, program, *case.split(), "passes=1", "samples=1"]
    run = subprocess.run(command, check=True, capture_output=True, text=True, env=BIND_AT_START)
    return int(re.search(r"Collected : (\d+)", run.stderr)[1]) / int(run.stdout.split()[1])


def allocations(case):
    """Of the Swift program per operation: two runs of different length, so that setting up cancels out."""
    (few, few_operations), (many, many_operations) = (_allocations(case, count) for count in (1, 5))
    if few == 0:
        raise RuntimeError(f"{COUNTER} sees no allocation")
    return (many - few) / (many_operations - few_operations)


def _allocations(case, passes):
    environment = {**os.environ, "LD_PRELOAD": COUNTER}
    command = [SWIFT, *case.split(), f"passes={passes}", "samples=1"]
    run = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return int(re.search(r"allocations: (\d+)", run.stderr)[1]), int(run.stdout.split()[1])
