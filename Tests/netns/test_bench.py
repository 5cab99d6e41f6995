"""The end-to-end benchmark: that it measures, fails in words, and leaves nothing behind. Of what it measures only what repeats
on any machine is a test: packets per system call."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from gateway import BINARY
from lab import SLOWNESS, execute, wait_until

RUN = Path(__file__).parents[2] / "Benchmarks/endtoend/run"
pytestmark = pytest.mark.vxgw_only

# Overloaded, a worker does everything in full batches of 64: one call to send each. Raw sockets decapsulate faster than the kernel fills their
# ring, in smaller batches; that each batch is one call is a unit test (RawPortTests).
PROCESSES = ["vxgw-xdp", "vxgw-raw"]
FULL_BATCHES = {("vxgw-xdp", "decap-64"), ("vxgw-xdp", "encap-64"), ("vxgw-raw", "encap-64")}


def start(*words, binary=BINARY):
    environment = os.environ | {"VXGW": str(binary)}
    return subprocess.Popen([RUN, *map(str, words)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def namespaces(process):
    return [line for line in execute("ip", "netns", "list").stdout.splitlines() if line.startswith(f"vx{process.pid}-")]


def test_measures(tmp_path):
    """A round of two systems in the kernel and two in user space: frames arrive, and are accounted for."""
    systems = ["kernel", "redirect", *PROCESSES]
    process = start("--quick", "--systems", ",".join(systems), "--seconds", 0.5, "--json", tmp_path / "results.json")
    output = process.communicate(timeout=60 * SLOWNESS)[0]
    assert process.returncode == 0, output
    rows = json.loads((tmp_path / "results.json").read_text())["throughput"]
    assert {(row["system"], row["case"]) for row in rows} == {
        (system, case) for system in systems for case in ("decap-64", "encap-64")}
    for row in rows:
        assert 0 < row["mpps"] and 0 < row["offered_mpps"] and 0 <= row["loss"] < 1, row
        # A frame is 64 bytes, or 114 with outer headers.
        assert 500 <= row["gbps"] * 1000 / row["mpps"] <= 920, row
        assert ("packets_per_call" in row) == (row["system"] in PROCESSES), row
        if (row["system"], row["case"]) in FULL_BATCHES:
            assert row["packets_per_call"] >= 0.8 * 64, row
    assert namespaces(process) == []


def test_failure_has_a_row(tmp_path):
    """A system that does not start is a row that says why, and exit status 1."""
    process = start("--quick", "--systems", "vxgw-raw", "--json", tmp_path / "results.json", binary="/bin/false")
    output = process.communicate(timeout=30 * SLOWNESS)[0]
    assert process.returncode == 1, output
    [row] = json.loads((tmp_path / "results.json").read_text())["throughput"]
    assert row["system"] == "vxgw-raw" and "ended with 1" in row["failed"]
    assert "failed" in output and namespaces(process) == []


def test_interrupted():
    """SIGTERM in the middle of a measurement: the namespaces go, and the processes in them."""
    process = start("--quick", "--systems", "vxgw-xdp", "--seconds", 20)
    wait_until(lambda: any(line.endswith("-host") or "-host " in line for line in namespaces(process)), 10, "namespaces")
    process.terminate()
    output = process.communicate(timeout=20 * SLOWNESS)[0]
    assert process.returncode == 130, output
    assert namespaces(process) == []


def test_times_the_program():
    """Every case of `Benchmarks/fastpath` ends as it has to, which it checks itself, and takes some time."""
    lines = execute(RUN.parents[1] / "fastpath", "--rounds", 1).stdout.splitlines()
    assert [line.split("  ")[0] for line in lines] == [
        "floor", "steer in", "steer out", "decapsulate", "encapsulate", "encapsulate, UDP checksum"]
    assert all(int(line.split()[-2]) > 0 and line.endswith(" ns") for line in lines)
