"""TCP and UDP as users run them: iperf3 between a host on the LAN and a kernel VTEP, offloads on, no process pinned. A system that
can't do with offloads gets them switched off at both ends, and a row that says so."""

import json
import subprocess

from network import GATEWAY, VNI, Failed

FAR, HOST = "198.51.100.2", "198.51.100.3"
KINDS = {"tcp": [], "tcp-reverse": ["-R"], "udp": ["-u", "-b", "0", "-l", "1400"], "udp-reverse": ["-u", "-b", "0", "-l", "1400", "-R"]}


def add_hosts(network, offloads):
    device = f"vxlan{VNI}"
    network.far.ip("link", "add", device, "type", "vxlan", "id", VNI, "local", network.vteps[0], "remote", GATEWAY,
                   "dstport", 4789, "dev", "underlay")
    network.far.address(device, FAR)
    network.host.ip("link", "set", "eth0", "mtu", 1450)
    network.host.address("eth0", HOST)
    if not offloads:
        network.far.run("ethtool", "-K", "underlay", "tx", "off")
        network.host.run("ethtool", "-K", "eth0", "tx", "off")


def measure(network, system, kind, seconds):
    """A record: what the receiver got. Forward is from the LAN to the far VTEP: encapsulation."""
    server = network.far.start("iperf3", "-s", "-1", "--forceflush", stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    while "listening" not in (line := server.stdout.readline().decode()):
        if not line:
            raise Failed("iperf3 did not start")
    try:
        done = network.host.run("iperf3", "-c", FAR, "-J", "--connect-timeout", 3000, "-t", seconds, *KINDS[kind],
                                check=False, timeout=seconds + 15)
    except subprocess.TimeoutExpired:
        raise Failed(f"iperf3 {kind} did not end") from None
    finally:
        server.kill()
        server.wait()
    report = json.loads(done.stdout)
    if "error" in report:
        raise Failed(f"iperf3 {kind}: {report['error']}")
    system.check_alive()
    if kind.startswith("udp"):
        total = report["end"]["sum"]
        arrived = 1 - total["lost_packets"] / max(total["packets"], 1)
        return {"gbps": total["bits_per_second"] * arrived / 1e9, "loss": 1 - arrived}
    return {"gbps": report["end"]["sum_received"]["bits_per_second"] / 1e9}
