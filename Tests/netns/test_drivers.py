"""`make test-drivers`, on two veth pairs in place of cables: nobody else would notice that the script no longer works."""

import re
import sys
from pathlib import Path

import pytest

from gateway import BINARY
from lab import Lab

SCRIPT = Path(__file__).resolve().parents[2] / "scripts/test-drivers"


@pytest.mark.vxgw_only
def test_drivers_script():
    with Lab() as lab:
        space = lab.namespace("nics")
        for near, far in (("dut0", "far0"), ("dut1", "far1")):
            space.ip("link", "add", near, "type", "veth", "peer", "name", far)
            space.run("ethtool", "-K", far, "gro", "on")  # takes part in the fast path
        done = space.run(sys.executable, SCRIPT, "--vxgw", BINARY, "--require", "auto,xdp,fastpath,xdp-skb,raw", "dut0", "far0", "dut1", "far1")
        printed = {line.split()[0]: line for line in done.stdout.splitlines() if line[0] != " "}
        for mode in ("auto", "xdp", "fastpath", "xdp-skb", "raw"):
            assert "  ping 0 % loss, TCP both ways" in printed[mode], done.stdout
        assert int(re.search(r"(\d+) frames on the fast path", printed["fastpath"])[1]) > 0
        assert "refused: vxgw: error: underlay: AF_XDP bind" in printed["zero-copy"]
        assert {"dut0", "far0", "dut1", "far1"} <= space.links().keys()
