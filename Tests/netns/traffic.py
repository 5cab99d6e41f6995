"""What crosses the gateway: pings, streams, single frames, and captures of them."""

import contextlib
import json
import os
import re
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lab import SLOWNESS, CommandFailed, execute, wait_until

CHECKSUM_ERRORS = ("TcpInCsumErrors", "UdpInCsumErrors", "IcmpInCsumErrors", "Udp6InCsumErrors", "Icmp6InCsumErrors")


def ping(space, address, count=20, size=56, interval=0.01, flags=()):
    """Percent of echo requests that no reply came to within a second after the last."""
    before = echo_replies(space)
    done = space.run("ping", "-n", "-q", "-c", count, "-i", interval, "-s", size, "-W", max(1, SLOWNESS), *flags, address,
                     check=False)
    counts = re.search(r"(\d+) packets transmitted, (\d+) received(?:, \+(\d+) duplicates)?", done.stdout)
    if not counts:
        raise CommandFailed(f"ping {address} in {space}: {done.stdout}{done.stderr}")
    sent, received, duplicates = (int(text or 0) for text in counts.groups())
    if 0 < received < sent:
        # Once there was a reply, ping waits for the last one an interval or two round trips, not -W (iputils: __schedule_exit).
        # The kernel counts those that come later.
        with contextlib.suppress(AssertionError):
            wait_until(lambda: echo_replies(space) - before >= sent + duplicates, 1, "late replies")
        received = min(sent, echo_replies(space) - before - duplicates)
    return 100 * (sent - received) / sent


def echo_replies(space):
    """How many the kernel has received in the namespace, over IPv4 and IPv6."""
    with space.entered():
        rows = [line.split() for line in Path("/proc/thread-self/net/snmp").read_text().splitlines() if line.startswith("Icmp:")]
        lines = Path("/proc/thread-self/net/snmp6").read_text().splitlines()
    return int(rows[1][rows[0].index("InEchoReps")]) + sum(int(line.split()[1]) for line in lines if line.startswith("Icmp6InEchoReplies "))


class Streams:
    """iperf3 between two namespaces, running since it was made."""

    def __init__(self, client, server, address, *flags):
        self.server = server.start("iperf3", "-s", "-1", "--forceflush", stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        while "listening" not in (line := self.server.stdout.readline().decode()):
            assert line, f"iperf3 did not start in {server}"
        self.client = client.start("iperf3", "-c", address, "-J", "--connect-timeout", int(5000 * SLOWNESS), *flags,
                                   stdout=subprocess.PIPE)

    def result(self, seconds=30):
        """iperf3's own report, once all streams have ended."""
        text = self.client.communicate(timeout=seconds * SLOWNESS)[0]
        self.end()
        report = json.loads(text)
        assert "error" not in report, report["error"]
        return report["end"]

    def end(self):
        for process in (self.client, self.server):
            process.kill()
            process.wait()


def tcp(client, server, address, parallel=1, reverse=False, amount=("-t", 1)):
    """TCP streams; all must deliver. Returns bits per second."""
    end = Streams(client, server, address, "-P", parallel, *amount, *(["-R"] if reverse else [])).result()
    delivered = [stream["receiver"]["bytes"] for stream in end["streams"]]
    assert len(delivered) == parallel and all(delivered), f"streams without a byte: {delivered}"
    return end["sum_received"]["bits_per_second"]


def udp(client, server, address, reverse=False, rate="20M", size=1350, amount=("-n", "1M")):
    """A UDP stream at a rate that anything carries. Returns percent lost on the way: not what came and found the receiver's
    socket buffer full, which happens on a busy machine and says nothing about the gateway."""
    receiver = client if reverse else server
    overflows = receiver.counter("UdpRcvbufErrors")
    flags = ("-u", "-b", rate, "-l", size, *amount, *(["-R"] if reverse else []))
    total = Streams(client, server, address, *flags).result()["sum"]
    assert total["packets"] > 0, "no datagram was sent"
    lost = total["lost_packets"] - (receiver.counter("UdpRcvbufErrors") - overflows)
    return 100 * lost / total["packets"]


def udp_flows(client, server, address, flows=64):
    """One datagram from each of `flows` source ports; returns how many arrive."""
    with server.entered():
        receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with receiver:
        receiver.bind((address, 7000))
        receiver.settimeout(2 * SLOWNESS)
        for port in range(20000, 20000 + flows):
            with client.entered():
                sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            with sender:
                sender.bind(("", port))
                sender.sendto(b"flow", (address, 7000))
        try:
            return len({receiver.recvfrom(64)[1] for _ in range(flows)})
        except TimeoutError:
            return 0  # the caller wants all of them


def transfer(client, server, address, amount=1 << 20, seconds=10):
    """Sends bytes over TCP, super-frames and all; they must arrive as they were sent."""
    family, data = socket.AF_INET6 if ":" in address else socket.AF_INET, os.urandom(amount)
    with server.entered():
        listener = socket.create_server((address, 0), family=family)
    with client.entered():
        sender = socket.socket(family, socket.SOCK_STREAM)
    with listener, sender, ThreadPoolExecutor(1) as pool:
        for end in (listener, sender):
            end.settimeout(seconds * SLOWNESS)
        sender.connect(listener.getsockname()[:2])
        receiver, _ = listener.accept()
        receiver.settimeout(seconds * SLOWNESS)
        with receiver:
            def send():
                sender.sendall(data)
                sender.shutdown(socket.SHUT_WR)
            sent = pool.submit(send)
            received = b"".join(iter(lambda: receiver.recv(1 << 16), b""))
            sent.result()
    assert received == data, f"{len(received)} of {amount} bytes, or others"


class ChecksumWatch:
    """Fails when a receiver counted a wrong checksum during the block: someone passed a partial one on."""

    def __init__(self, *spaces):
        self.spaces = set(spaces)

    def _errors(self):
        return {space: space.counter(*CHECKSUM_ERRORS) for space in self.spaces}

    def __enter__(self):
        self.before = self._errors()

    def __exit__(self, kind, *_):
        if kind is None:
            assert self._errors() == self.before, f"checksum errors: {self.before} became {self._errors()}"


class Capture:
    """tcpdump of what comes in on a device during the block. What this side sends (with checksums not yet complete) is
    not in it."""

    def __init__(self, space, device, expression="udp", dstport=4789):
        self.dstport = dstport
        self.path = space.lab.directory / f"{space.role}-{device}.pcap"
        self.process = space.start("tcpdump", "-n", "-p", "-U", "--immediate-mode", "-B", 16384, "-s", 0, "-Q", "in",
                                   "-i", device, "-w", self.path, expression, stderr=subprocess.PIPE)

    def __enter__(self):
        while b"listening" not in (line := self.process.stderr.readline()):
            assert line, "tcpdump did not start"
        return self

    def __exit__(self, *_):
        time.sleep(0.2)
        self.process.terminate()
        self.process.wait()

    def fields(self, expression, *names):
        """What tshark decodes: one tuple of `names` (each its first, outermost occurrence) per frame that `expression` selects."""
        command = ["tshark", "-n", "-r", self.path, "-T", "fields", "-E", "occurrence=f", "-Y", expression]
        # Random payloads and ports are nobody's protocol: without this, tshark guesses one and finds it malformed.
        command += ["-d", "tcp.port==0-65535,data", "-d", "udp.port==5201,data", "-d", f"udp.port=={self.dstport},vxlan"]
        for protocol in ("ip", "udp", "tcp"):
            command += ["-o", f"{protocol}.check_checksum:TRUE"]
        for name in names:
            command += ["-e", name]
        return [tuple(line.split("\t")) for line in execute(*command, timeout=60).stdout.splitlines()]
