"""Builds the two programs and measures them: what `run` and `check` share."""

import os
import re
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.path.join(HERE, ".build")
C, SWIFT = os.path.join(BUILD, "floor"), os.path.join(BUILD, "release", "vxgw-bench")
FRAMES = 4096  # per pass
CASES = [("decapsulate", 1000), ("decapsulate", 65536), ("decapsulate", 1 << 20),
         ("encapsulate", 1000), ("encapsulate", 65536), ("encapsulate", 1 << 20), ("flood", 1000)]  # fmt: skip


def output(command, **options):
    return subprocess.run(command, check=True, capture_output=True, text=True, **options).stdout.strip()


def build():
    """The C program with the Swift toolchain's own clang, for the same processor that Swift compiles for by default."""
    subprocess.run(["swift", "build", "-c", "release", "--package-path", HERE], check=True)
    swift = os.path.realpath(output(["which", "swift"]))
    clang = os.path.join(os.path.dirname(swift), "clang")
    source = os.path.join(HERE, "floor", "floor.c")
    subprocess.run([clang, "-O3", "-std=gnu17", "-Wall", "-Wextra", "-Werror", source, "-o", C], check=True)


def nanoseconds(program, case, macs, passes=64, samples=5):
    """Per packet, the median of `samples`."""
    return float(output(["taskset", "-c", CORE, program, case, str(macs), str(passes), str(samples)]))


# The last core that we may use: interrupts mostly go to the first.
CORE = str(max(os.sched_getaffinity(0)))


def instructions(program, case, macs):
    """Per packet: two runs of different length, so that setting up cancels out."""
    # valgrind's reader of debug information does not know all that Swift writes.
    stripped = program + ".stripped"
    subprocess.run(["strip", "--strip-debug", "-o", stripped, program], check=True)
    return (_collected(stripped, case, macs, 6) - _collected(stripped, case, macs, 2)) / (4 * FRAMES)


def _collected(program, case, macs, passes):
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", program, case, str(macs), str(passes), "1"]
    log = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    return int(re.search(r"Collected : (\d+)", log)[1])
