"""The systems under test. Each is started in a `Network`, says which processes are its own, and ends with the network."""

import os
import re
import shutil
import socket
import struct
import subprocess
import time
from pathlib import Path

from build import program
from libbpf import Object
from network import FAR_MAC, GATEWAY, GATEWAY_CPU, VNI, Failed, execute, wait_until

BINARY = Path(os.environ.get("VXGW", Path(__file__).resolve().parents[2] / ".build/release/vxgw")).absolute()


class System:
    """What every system has. `tunnels`: it has VTEPs and an FDB; otherwise it forwards frames as they are."""

    tunnels = True
    partial_checksums = True  # it takes packets whose checksum is left to the NIC, as hosts with offloads send them
    in_kernel = False  # frames are forwarded where they are received, in the kernel, and no process sees them

    def __init__(self, name, about):
        self.name, self.about = name, about
        self.process, self.log = None, None

    def missing(self):
        """Why it can't run on this machine, or an empty string."""
        return ""

    def start(self, network, pinned=True):
        raise NotImplementedError

    def close(self):
        """Ends what the network does not end."""

    def output(self):
        return self.log.read_text(errors="replace") if self.log else ""

    def launch(self, network, *command, ready, seconds=20, pinned=True, environment=None):
        """Starts a process of the system's, and waits for `ready` (a regular expression) in what it says."""
        self.log = network.lab.directory / f"{self.name}-{Path(str(command[0])).name}.log"
        words = ["env", *(f"{key}={value}" for key, value in (environment or {}).items()), *command]
        with open(self.log, "w") as log:
            self.process = network.start(*words, pinned=pinned, stdout=log, stderr=subprocess.STDOUT)
        def settled():
            return re.search(ready, self.output()) or self.process.poll() is not None
        try:
            wait_until(settled, seconds, "")
        except AssertionError:
            raise Failed(f"{command[0]} was not ready after {seconds} s: {self.last_words()}") from None
        if self.process.poll() is not None:
            raise Failed(f"{command[0]} ended with {self.process.returncode}: {self.last_words()}")

    def last_words(self):
        lines = [line.strip() for line in self.output().splitlines() if line.strip()]
        telling = [line for line in lines if re.search(r"err|fail|cannot|not ", line, re.IGNORECASE)]
        return " / ".join((telling or lines)[-3:]) or "it said nothing"

    def check_alive(self):
        if self.process and self.process.poll() is not None:
            raise Failed(f"{self.name} ended with {self.process.returncode} while it was measured: {self.last_words()}")


class Kernel(System):
    """The vxlan device and a bridge. No outer UDP checksum, as vxgw sends none for whole frames."""

    in_kernel = True

    def start(self, network, pinned=True):
        gw, device = network.gw, f"vxlan{VNI}"
        gw.ip("link", "add", device, "type", "vxlan", "id", VNI, "local", GATEWAY, "dstport", 4789, "dev", "underlay", "noudpcsum")
        gw.ip("link", "add", "br0", "type", "bridge", "mcast_snooping", 0)
        for port in (device, "lan"):
            gw.ip("link", "set", port, "master", "br0", "up")
        gw.ip("link", "set", "br0", "up")
        floods = network.lab.directory / "floods"
        floods.write_text("".join(f"fdb append 00:00:00:00:00:00 dev {device} dst {vtep}\n" for vtep in network.vteps))
        gw.run("bridge", "-batch", floods)


class Vxgw(System):
    """vxgw with given options. It is told to run on the gateway's CPU."""

    def __init__(self, name, about, *options):
        super().__init__(name, about)
        self.options, self.seconds_to_ready, self.socket = options, None, None
        self.in_kernel = "on" in options  # --fastpath on

    def missing(self):
        return "" if BINARY.exists() else f"{BINARY} is not built: make build"

    def start(self, network, pinned=True):
        self.socket = network.lab.directory / f"{self.name}.sock"
        words = ["--iface", "underlay", "--local", GATEWAY, "--vni", VNI, "--lan", "lan", "--remote", ",".join(network.vteps)]
        words += ["--workers", 1, "--cpus", GATEWAY_CPU] if pinned else []
        begin = time.monotonic()
        self.launch(network, BINARY, "run", *words, "--socket", self.socket, *self.options, ready="vxgw: ready:", pinned=pinned)
        self.seconds_to_ready = time.monotonic() - begin
        network.receive_xdp_frames()  # with generic XDP vxgw switches GRO off

    def ask(self, *words):
        return execute(BINARY, *words, "--socket", self.socket, timeout=120).stdout


class OpenVSwitch(System):
    """A user-space datapath of its own: ovsdb-server and ovs-vswitchd with their own directory."""

    partial_checksums = False  # Documentation/intro/install/afxdp.rst: switch tx offload off
    SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"

    def __init__(self, name, about, port_type):
        super().__init__(name, about)
        self.port_type = port_type

    def missing(self):
        return needs("ovs-vswitchd", "openvswitch-switch")

    def start(self, network, pinned=True):
        self.directory = network.lab.directory / self.name
        self.directory.mkdir()
        own = {f"OVS_{kind}DIR": self.directory for kind in ("RUN", "LOG", "DB")}
        database, self.remote = self.directory / "conf.db", f"unix:{self.directory}/db.sock"
        execute("ovsdb-tool", "create", database, self.SCHEMA)
        network.lab.start(["env", *(f"{key}={value}" for key, value in own.items()), "ovsdb-server", database,
                           f"--remote=p{self.remote}", f"--unixctl={self.directory}/db.ctl", f"--log-file={self.directory}/db.log"],
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until((self.directory / "db.sock").exists, 5, "ovsdb-server")
        self.configure("--no-wait", "init")
        self.configure("--no-wait", "set", "Open_vSwitch", ".", f"other_config:pmd-cpu-mask={1 << GATEWAY_CPU:#x}")
        # PMD threads choose their CPU themselves; raw sockets are served by the main thread, which is pinned here.
        self.launch(network, "ovs-vswitchd", self.remote, f"--unixctl={self.directory}/control", "-vconsole:info",
                    ready="connected", environment=own)
        self.add_bridges(network)

    def add_bridges(self, network):
        nic = ["type=afxdp", "options:n_rxq=1"] if self.port_type == "afxdp" else []
        words = ["add-br", "br-underlay", "--", "set", "bridge", "br-underlay", "datapath_type=netdev",
                 "--", "add-port", "br-underlay", "underlay", "--", "set", "interface", "underlay", *(nic or ["type=system"]),
                 "--", "add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=netdev", "other-config:mac-table-size=1048576",
                 "--", "add-port", "br0", "lan", "--", "set", "interface", "lan", *(nic or ["type=system"])]
        for number, vtep in enumerate(network.vteps):
            name = f"vtep{number}"
            # Protected ports don't talk to each other: what comes from a VTEP is not flooded to the others.
            words += ["--", "add-port", "br0", name, "--", "set", "interface", name, "type=vxlan", f"options:remote_ip={vtep}",
                      f"options:key={VNI}", "--", "set", "port", name, "protected=true"]
        self.configure(*words)
        errors = self.configure("--columns=name,error", "--format=csv", "--no-headings", "find", "interface", "error!=[]")
        if errors.strip():
            raise Failed(f"ovs-vswitchd: {errors.strip()} ({self.last_words()})")
        network.gw.ip("address", "flush", "dev", "underlay")
        network.gw.address("br-underlay", GATEWAY)
        for vtep in network.vteps:
            execute("ovs-appctl", "-t", self.directory / "control", "tnl/arp/set", "br-underlay", vtep, FAR_MAC)

    def configure(self, *words):
        done = execute("ovs-vsctl", f"--db={self.remote}", "--timeout=20", *words, check=False)
        if done.returncode:
            raise Failed(f"ovs-vsctl: {done.stderr.strip() or done.stdout.strip()} ({self.last_words()})")
        return done.stdout


class Testpmd(System):
    """DPDK's forwarding engine on its AF_XDP driver: out of the other port as it came in."""

    tunnels = False

    def missing(self):
        return needs("dpdk-testpmd", "dpdk-dev librte-net-af-xdp23")

    def start(self, network, pinned=True):
        cores = ",".join(f"{core}@{GATEWAY_CPU}" for core in (0, 1))
        devices = [f"--vdev=net_af_xdp{number},iface={nic}" for number, nic in enumerate(("underlay", "lan"))]
        # With a period of statistics it does not wait for a key to end. In a file, its words would come when a buffer is full.
        self.launch(network, "stdbuf", "-oL", "dpdk-testpmd", "--no-huge", "-m", 1024, "--no-pci", f"--lcores={cores}", *devices,
                    "--no-shconf", "--", "--forward-mode=io", "--auto-start",
                    "--total-num-mbufs=16384", "--stats-period=3600", ready="forwards packets on 2 streams")


class Forwarder(System):
    """forward.c"""

    tunnels = False

    def start(self, network, pinned=True):
        self.launch(network, program("forward"), program("redirect.bpf.o"), "underlay", "lan", ready="ready")


class Redirect(System):
    """redirect.bpf.c: never leaves the kernel, and looks at nothing."""

    tunnels, in_kernel = False, True

    def __init__(self, *words):
        super().__init__(*words)
        self._objects = []

    def start(self, network, pinned=True):
        with network.gw.entered():
            for device, other in (("underlay", "lan"), ("lan", "underlay")):
                self._objects.append(redirect := Object(program("redirect.bpf.o")))
                redirect.write("other", struct.pack("=I", socket.if_nametoindex(other)))
                redirect.attach_xdp("redirect", device)

    def close(self):
        for each in self._objects:
            each.close()


def needs(command, packages):
    return "" if shutil.which(command) else f"{command} is missing: apt-get install --no-install-recommends {packages}"


def all_systems():
    """What makes each system, by name, in the order of the table."""
    def vxgw(name, *options):
        return name, lambda: Vxgw(name, f"vxgw {' '.join(options)}", *options)
    return dict([
        ("kernel", lambda: Kernel("kernel", "vxlan device and bridge")),
        ("ovs-afxdp", lambda: OpenVSwitch("ovs-afxdp", "Open vSwitch, user-space datapath, AF_XDP", "afxdp")),
        ("ovs-raw", lambda: OpenVSwitch("ovs-raw", "Open vSwitch, user-space datapath, raw sockets", "system")),
        ("testpmd", lambda: Testpmd("testpmd", "DPDK testpmd, io forwarding without tunnel, AF_XDP driver")),
        ("forwarder", lambda: Forwarder("forwarder", "bare AF_XDP forwarder in C, without tunnel")),
        ("redirect", lambda: Redirect("redirect", "bare XDP redirect in the kernel, without tunnel")),
        vxgw("vxgw-xdp", "--io", "xdp", "--fastpath", "off"),
        vxgw("vxgw-xdp-skb", "--io", "xdp-skb", "--fastpath", "off"),
        vxgw("vxgw-raw", "--io", "raw", "--fastpath", "off"),
        vxgw("vxgw-fast", "--io", "xdp", "--fastpath", "on"),
    ])
