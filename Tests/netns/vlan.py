"""VLAN tags, also where the kernel has no VLAN devices (CONFIG_VLAN_8021Q): programs at the NICs' ingress and egress."""

import platform
import socket
from pathlib import Path

from lab import execute

SOURCE = Path(__file__).with_name("vlan.bpf.c")


def in_band(space, device):
    """Tags are sent within frames, as on a cable. Between two veths they would go beside them."""
    space.run("ethtool", "-K", device, "tx-vlan-hw-insert", "off", "tx-vlan-stag-hw-insert", "off")


def add_vlan(space, parent, vlan, name=None, protocol=0x8100):
    """What `ip link add link PARENT name PARENT.VLAN type vlan id VLAN` does. Frames take the way

        PARENT ══ untag ══▶ PARENT.VLAN~ ──▶ PARENT.VLAN        and back: PARENT.VLAN ──▶ PARENT.VLAN~ ══ tag ══▶ PARENT
    """
    name = name or f"{parent}.{vlan}"
    links = space.links()
    space.ip("link", "add", name, "address", links[parent]["address"], "mtu", links[parent]["mtu"],
             "type", "veth", "peer", "name", f"{name}~")
    for device in (f"{name}~", name):
        space.ip("link", "set", device, "up")
    in_band(space, parent)
    _attach(space, parent, "ingress", "untag", vlan, protocol, target=f"{name}~")
    _attach(space, f"{name}~", "ingress", "tag", vlan, protocol, target=parent)
    return name


def tag_vxlan(space, device, vlan, dstport):
    """VXLAN packets on this device carry the tag, and nothing else does: the far end of `--iface IF:VLAN`."""
    in_band(space, device)
    _attach(space, device, "egress", "tag_vxlan", vlan, 0x8100, dstport=dstport)
    _attach(space, device, "ingress", "untag_here", vlan, 0x8100)


def _attach(space, device, hook, section, vlan, protocol, target=None, dstport=0):
    with space.entered():
        index = socket.if_nametoindex(target) if target else 0
    program = space.lab.directory / f"{section}-{vlan}-{protocol}-{dstport}-{index}.o"
    if not program.exists():
        execute("clang", "-target", "bpf", "-O2", "-I", f"/usr/include/{platform.machine()}-linux-gnu", f"-DVLAN={vlan}",
                f"-DPROTOCOL={protocol}", f"-DPORT={dstport}", f"-DTARGET={index}", "-c", SOURCE, "-o", program)
    space.run("tc", "qdisc", "add", "dev", device, "clsact", check=False)  # the second program finds it there
    space.run("tc", "filter", "add", "dev", device, hook, "bpf", "direct-action",
              "object-file", program, "section", f"classifier/{section}")
