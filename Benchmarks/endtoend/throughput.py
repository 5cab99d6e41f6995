"""How many frames get through: one window of a system and a case, after a look at the bytes that arrive."""

import contextlib
import ipaddress
import time
from dataclasses import asdict, dataclass, replace

from network import FAR_MAC, GATEWAY, UNDERLAY_MAC, Failed, vtep
from procfs import CPUTime, SystemCalls, cpu_time
from traffic import Generator, mac_bytes, send

LEARN_RATE = 100_000  # frames/s: what every system under test keeps up with
WARM_UP = 0.3  # s


@dataclass
class Window:
    """`mpps` arrived of `offered_mpps`, as many as the generator could send; `loss` is the share that does not arrive when no more
    are sent than `mpps`. `user` is the share of the process's CPU time."""

    mpps: float
    gbps: float
    offered_mpps: float
    loss: float
    cpu: float | None = None
    user: float | None = None
    calls: float | None = None
    packets_per_call: float | None = None

    def record(self):
        return {key: value for key, value in asdict(self).items() if value is not None}


def teach(network, case, rate=LEARN_RATE):
    """Every address of the case sends, twice: first those on the LAN, so that nothing is flooded to the LAN for long."""
    addresses = replace(case, size="64", flows=case.macs // 2)
    for direction in ("encap", "decap") * 2:
        send(network, replace(addresses, direction=direction), case.macs // 2, rate)


def measure(network, sinks, system, case, seconds):
    if system.tunnels:
        teach(network, case)
    settled(sinks)  # the frame that is looked at must not be an older one
    check_bytes(network, sinks, system, case)
    pid = system.process.pid if system.process else None
    with sending(network, sinks, case) as (generator, _):
        time.sleep(WARM_UP)
        window = observe(sinks, generator, pid, seconds)
        if pid:
            with SystemCalls(pid) as calls:
                count_calls(window, sinks, calls, min(seconds, 0.3))
    with sending(network, sinks, case, rate=window.mpps * 1e6) as (_, run):
        time.sleep(min(seconds, 0.5))
    system.check_alive()
    window.loss = 1 - run.received / run.offered
    return window


@dataclass
class Run:
    offered: int = 0
    received: int = 0


@contextlib.contextmanager
def sending(network, sinks, case, rate=0):
    """A generator that runs during the block, and a `Run` that is filled in when the last frame has arrived."""
    before, run = sinks.frames(), Run()
    with Generator(network, case, rate=rate) as generator:
        yield generator, run
        generator.stop()
        run.offered, run.received = generator.sent(), settled(sinks) - before
    if run.received > run.offered:
        raise Failed(f"{run.received} frames arrived of {run.offered}: they were flooded")
    if run.received == 0:
        raise Failed(f"none of {run.offered} frames arrived")


def observe(sinks, generator, pid, seconds):
    def look():
        return time.monotonic(), sinks.frames(), sinks.bytes(), generator.sent(), cpu_time(pid) if pid else CPUTime()
    first = look()
    time.sleep(seconds)
    last = look()
    elapsed, frames, octets, sent, cpu = (after - before for before, after in zip(first, last))
    window = Window(frames / elapsed / 1e6, octets * 8 / elapsed / 1e9, sent / elapsed / 1e6, 0)
    if pid:
        window.cpu = cpu.total / elapsed
        window.user = cpu.user / cpu.total if cpu.total else 0.0
    return window


def count_calls(window, sinks, calls, seconds):
    """Beside the window, for being counted makes each call slower."""
    frames, count = sinks.frames(), calls.count()
    time.sleep(seconds)
    frames, count = sinks.frames() - frames, calls.count() - count
    window.calls = count / seconds
    window.packets_per_call = frames / count if count else None


def settled(sinks):
    """The frames that arrived, once no more come."""
    frames = -1
    while frames != (frames := sinks.frames()):
        time.sleep(0.1)
    return frames


def check_bytes(network, sinks, system, case):
    """One frame each way: it must be what it has to be, to the byte."""
    for direction in (["decap"] if case.decapsulates else []) + (["encap"] if case.encapsulates else []):
        one = replace(case, direction=direction)
        sink = sinks.host if direction == "decap" else sinks.far
        sink.request_sample()
        deadline = time.monotonic() + 3
        while not (frame := sink.sample()):
            if time.monotonic() > deadline:
                raise Failed(f"no {direction}sulated frame arrived: {system.last_words()}")
            send(network, one, 1, 1000)
            time.sleep(0.05)
        wrong = fault(frame, one, system.tunnels)
        if wrong:
            raise Failed(f"{direction}sulated frame: {wrong}: {frame[:120].hex()}")


def fault(frame, case, tunnels):
    """What is wrong with the frame that arrived, of the first one that the generator sends; None if nothing is."""
    from_host = case.direction == "encap"
    expected = inner_frame(case, from_host)
    if not tunnels:
        frame, outer = (frame, None) if from_host else (frame[50:], frame[:50])
        return None if frame == expected else "it was changed"
    if not from_host:
        return None if frame == expected else "it is not the inner frame"
    if frame[50:] != expected:
        return "the inner frame was changed"
    if frame[:12] != mac_bytes(FAR_MAC) + mac_bytes(UNDERLAY_MAC):
        return "outer MAC addresses"
    if frame[12:14] + frame[23:24] + frame[36:38] != b"\x08\x00\x11\x12\xb5":
        return "no UDP to port 4789"
    if frame[26:34] != address(GATEWAY) + address(vtep(0)):
        return "outer IP addresses"
    if checksum(frame[14:34]) or int.from_bytes(frame[16:18]) != len(frame) - 14:
        return "outer IP header"
    if frame[42:50] != bytes([8, 0, 0, 0, 0, 0, 100, 0]):
        return "VXLAN header"
    return None


def inner_frame(case, from_host):
    """Of flow 0, as `write_inner` in generator.bpf.c makes it."""
    size = case.sizes[0]
    remote, local = bytes.fromhex("02015e000000"), bytes.fromhex("02025e000000")
    macs = remote + local if from_host else local + remote
    near, far = address(f"198.{18 + from_host}.0.0"), address(f"198.{18 + (not from_host)}.255.255")
    ip = bytes.fromhex("4500") + (size - 14).to_bytes(2) + bytes.fromhex("00000000" "4011" "0000") + near + far
    ip = ip[:10] + checksum(ip).to_bytes(2) + ip[12:]
    udp = (1024).to_bytes(2) + (9).to_bytes(2) + (size - 34).to_bytes(2) + bytes(2)
    return (macs + b"\x08\x00" + ip + udp).ljust(size, b"\0")


def address(text):
    return ipaddress.ip_address(text).packed


def checksum(header):
    total = sum(int.from_bytes(header[index:index + 2]) for index in range(0, len(header), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
