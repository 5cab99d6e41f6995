"""The gateway under test: vxgw, or (VXGW_DUT=kernel) the kernel's vxlan device and bridge in its place.

The kernel in vxgw's place proves the tests themselves: what they ask of vxgw, the kernel does. Both know the same verbs:
`start`, `stop`, `kill`; `fdb_change`, `fdb_flush`, `neighbour`, `vtep`, `segment`, `link`; `fdb`, `destinations`, `monitor`,
`check_books`.
"""

import os

import xdp_program
from kernel_gateway import KernelGateway
from settings import FLOOD, Entry, Settings
from vxgw import BINARY, Vxgw

KERNEL = os.environ.get("VXGW_DUT", "vxgw") == "kernel"
IO_MODES = ["kernel"] if KERNEL else ["xdp", "fastpath", "xdp-skb", "raw"]
WORKERS = [1] if KERNEL else [1, 2]
FAR_ENDS = ["kernel"] if KERNEL else ["kernel", "vxgw"]
OUTER_ECN = [0, 1, 2, 2 if KERNEL else 3]  # by the inner ECN; for CE the kernel goes by RFC 3168, vxgw by RFC 6040

__all__ = ["BINARY", "FAR_ENDS", "FLOOD", "IO_MODES", "KERNEL", "OUTER_ECN", "WORKERS", "Entry", "KernelGateway", "Settings",
           "start_gateway"]


def start_gateway(space, settings, far=None):
    """Starts the device under test; or "vxgw" or "kernel" as its far end."""
    if far == "kernel" or (far is None and KERNEL):
        return KernelGateway(space, settings, examined=far is None).start()
    running = Vxgw(space, settings)
    if settings.io == "fastpath":
        # A veth takes the frames of other XDP programs while its peer has one; another gateway has its own.
        for peer, device in ((peer, device) for peer, device in space.lab.peers(space) if "gw" not in peer.role):
            running.while_running(xdp_program.attached(peer, device))
    return running.start()
