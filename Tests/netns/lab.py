"""Network namespaces, the links between them and the processes in them; all of it goes when the `Lab` is closed.

Nothing is ever made in the namespace that the tests were started in: links are created where they belong, so whatever
happens, deleting the namespaces deletes everything. Their names carry this process's id; two runs never meet.
"""

import contextlib
import ctypes
import json
import os
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
from pathlib import Path

PREFIX = f"vx{os.getpid()}-"
SLOWNESS = float(os.environ.get("LAB_SLOWNESS", "1"))  # multiplies every time limit; emulated machines need 10
CLONE_NEWNET = 0x40000000  # <linux/sched.h>
SOL_PACKET, PACKET_AUXDATA, PACKET_IGNORE_OUTGOING, ETH_P_ALL = 263, 8, 23, 3  # <linux/socket.h>, if_packet.h, if_ether.h
AUXDATA = struct.Struct("=IIIHHHH")  # struct tpacket_auxdata: status, len, snaplen, mac, net, vlan_tci, vlan_tpid
TP_STATUS_VLAN_VALID, SO_RCVBUFFORCE = 0x10, 33  # <linux/if_packet.h>, <asm-generic/socket.h>

libc = ctypes.CDLL(None, use_errno=True)


class CommandFailed(AssertionError):
    """A command ended with another status than 0; the message has all that it said."""


def execute(*command, check=True, timeout=30):
    """Runs a command to its end; with `check`, raises what it printed when its status is not 0."""
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, timeout=timeout * SLOWNESS, stdin=subprocess.DEVNULL)
    if check and done.returncode != 0:
        raise CommandFailed(f"{shlex.join(words)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done


def wait_until(condition, seconds, what):
    """Polls `condition` until it gives something true, and returns that; fails naming `what` after `seconds`."""
    deadline = time.monotonic() + seconds * SLOWNESS
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what() if callable(what) else what}")
        time.sleep(0.02)
    return result


class Lab:
    """Everything that one topology consists of. Use it as a context manager."""

    opened = []  # those not closed yet, for the report of a failed test

    def __init__(self):
        Lab.opened.append(self)
        self.namespaces = []
        self.processes = []
        self.gateways = []
        self.pairs = []
        self.contexts = contextlib.ExitStack()
        self.directory = Path(tempfile.mkdtemp(prefix=PREFIX))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def namespace(self, name):
        """A new namespace with loopback up and IPv6 off: no router solicitation disturbs exact counts. Nor does netfilter look
        into bridged frames, which takes their trailers off and fragments them."""
        space = Namespace(self, name, f"{PREFIX}{self.directory.name[-4:]}-{name}")
        execute("ip", "netns", "add", space.name)
        self.namespaces.append(space)
        settings = ["net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1"]
        if Path("/proc/sys/net/bridge").exists():
            settings += [f"net.bridge.bridge-nf-call-{tables}=0" for tables in ("iptables", "ip6tables", "arptables")]
        space.run("sysctl", "-qw", *settings)
        space.ip("link", "set", "lo", "up")
        return space

    def veth(self, end, other, queues=1):
        """A veth pair with `queues` queues at both ends, up, offloads as they come. An end is (namespace, device, MAC)."""
        (space, device, mac), (other_space, other_device, other_mac) = end, other
        count = ("numrxqueues", queues, "numtxqueues", queues)
        space.ip("link", "add", device, "address", mac, *count, "type", "veth",
                 "peer", "name", other_device, "address", other_mac, *count, "netns", other_space.name)
        space.ip("link", "set", device, "up")
        other_space.ip("link", "set", other_device, "up")
        # The first end got its carrier just now: until the kernel has seen to that, it drops what it is to send.
        wait_until(lambda: "state UP" in space.ip("link", "show", device), 5, f"carrier of {device} in {space}")
        self.pairs.append(((space, device), (other_space, other_device)))

    def peers(self, space):
        """The far ends of the veth pairs that have one end in `space`: (namespace, device)."""
        return [other for pair in self.pairs for (near, _), other in (pair, reversed(pair)) if near is space]

    def start(self, command, **options):
        """Starts a command that `close` will end. Its own session: Ctrl-C reaches the tests, which then end it."""
        words = [str(word) for word in command]
        environment = os.environ | {"VXGW_LAB": PREFIX}
        process = subprocess.Popen(words, start_new_session=True, env=environment, stdin=subprocess.DEVNULL, **options)
        self.processes.append(process)
        return process

    def close(self):
        """Ends the processes, newest first, then deletes the namespaces with all that is in them."""
        for process in reversed(self.processes):
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(3 * SLOWNESS)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
            for stream in (process.stdout, process.stderr):
                if stream:
                    stream.close()
        self.contexts.close()
        for space in self.namespaces:
            execute("ip", "netns", "del", space.name, check=False)
        shutil.rmtree(self.directory)
        Lab.opened.remove(self)


class Namespace:
    """One network namespace: a host, a switch, or the gateway."""

    def __init__(self, lab, role, name):
        self.lab, self.role, self.name = lab, role, name

    def __repr__(self):
        return self.role

    def inside(self, command):
        return ["ip", "netns", "exec", self.name, *command]

    def run(self, *command, **options):
        return execute(*self.inside(command), **options)

    def start(self, *command, **options):
        return self.lab.start(self.inside(command), **options)

    def ip(self, *words, check=True):
        return execute("ip", "-n", self.name, *words, check=check).stdout

    def json(self, *command):
        return json.loads(self.run(*command).stdout or "[]")

    def links(self):
        """`ip -d -j link`, by name."""
        return {link["ifname"]: link for link in self.json("ip", "-d", "-j", "link", "show")}

    def mac(self, device):
        return self.links()[device]["address"]

    def address(self, device, address, up=True):
        """Adds an address, /24 or /64 unless it says so."""
        if ":" in address:
            self.enable_ipv6(device)
        length = "" if "/" in address else "/64" if ":" in address else "/24"
        self.ip("address", "add", f"{address}{length}", "dev", device, *(["nodad"] if ":" in address else []))
        if up:
            self.ip("link", "set", device, "up")

    def enable_ipv6(self, device):
        """No advertisement is listened to and no duplicate looked for, so that addresses can be used at once."""
        settings = {"accept_ra": 0, "accept_dad": 0, "dad_transmits": 0, "disable_ipv6": 0}
        self.run("sysctl", "-qw", *[f"net/ipv6/conf/{device}/{key}={value}" for key, value in settings.items()])

    def offloads(self, device):
        """`ethtool -k` as {feature: on/off}."""
        lines = self.run("ethtool", "-k", device).stdout.splitlines()[1:]
        return dict(line.strip().split(": ", 1) for line in lines)

    def state(self):
        """What a gateway may change on the links and must put back, per link."""
        keys = ("flags", "mtu", "promiscuity", "allmulti", "address", "xdp")
        return {
            name: {key: link.get(key) for key in keys} | {"offloads": self.offloads(name)}
            for name, link in self.links().items()
        }

    def counter(self, *names):
        """Sum of kernel counters as `nstat` names them."""
        values = self.json("nstat", "-asz", "-j")["kernel"]
        return sum(values[name] for name in names)

    @contextlib.contextmanager
    def entered(self):
        """Runs the block's own code in this namespace. A socket opened there stays there."""
        with open("/proc/thread-self/ns/net") as home, open(f"/run/netns/{self.name}") as there:
            enter(there.fileno())
            try:
                yield
            finally:
                enter(home.fileno())


def enter(descriptor):
    if libc.setns(descriptor, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


class PacketSocket:
    """An AF_PACKET socket: sends frames out of a device exactly as given, and sees those that come in; or only those that go
    out, with `outgoing`, for a bridge's port: at the other end of its cable AF_XDP may take them before any socket."""

    def __init__(self, space, device, outgoing=False):
        self.outgoing = outgoing
        with space.entered():
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            self.socket.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, int(not outgoing))
            self.socket.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
            self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 16 << 20)
            self.socket.bind((device, ETH_P_ALL))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, *frames):
        for frame in frames:
            self.socket.send(bytes(frame))

    def receive(self, matching, count=None, seconds=2.0):
        """Frames for which `matching(frame)` holds: the first `count` of them (an error if fewer come), or with no count
        all that come within `seconds`."""
        found, deadline = [], time.monotonic() + seconds * (SLOWNESS if count else 1)
        while (count is None or len(found) < count) and (left := deadline - time.monotonic()) > 0:
            self.socket.settimeout(left)
            with contextlib.suppress(TimeoutError):
                frame, outgoing = self._receive()
                if outgoing == self.outgoing and matching(frame):
                    found.append(frame)
        assert count is None or len(found) == count, f"{len(found)} of {count} frames came within {seconds} s"
        return found


    @contextlib.contextmanager
    def streaming(self, frame_of, interval=0.001):
        """Sends `frame_of(0)`, `frame_of(1)`, … during the block. Gives a list whose length is the number of frames so far."""
        sent, over = [], threading.Event()
        def send():
            while not over.wait(interval):
                self.send(frame_of(len(sent)))
                sent.append(time.monotonic())
        sender = threading.Thread(target=send)
        sender.start()
        try:
            yield sent
        finally:
            over.set()
            sender.join()

    def _receive(self):
        """A frame as it was on the wire, for the kernel takes the outermost VLAN tag off and tells it beside the frame; and
        whether it went out."""
        frame, [(_, _, extra)], _, (_, _, kind, *_) = self.socket.recvmsg(65536, socket.CMSG_SPACE(AUXDATA.size))
        status, *_, tag, protocol = AUXDATA.unpack(extra)
        if status & TP_STATUS_VLAN_VALID:
            frame = frame[:12] + struct.pack(">HH", protocol, tag) + frame[12:]
        return frame, kind == socket.PACKET_OUTGOING


def leftovers():
    """Namespaces and processes of ours that still exist."""
    spaces = [line for line in execute("ip", "netns", "list").stdout.splitlines() if line.startswith(PREFIX)]
    marker = f"VXGW_LAB={PREFIX}\0".encode()
    processes = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended while we looked
            if marker in (path / "environ").read_bytes():
                processes.append((path / "cmdline").read_text().replace("\0", " "))
    return spaces + processes


def interrupt_on_sigterm():
    """SIGTERM ends the tests as Ctrl-C does: with everything cleaned up."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
