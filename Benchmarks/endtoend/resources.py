"""What a system takes when there is nothing to do, and for its FDB."""

import json
import time

from cases import FDB_SMALL, Case
from network import Failed
from procfs import cpu_time, resident_kilobytes
from systems import Vxgw
from throughput import teach

FDB_HUGE = 1 << 20
SETTLE, IDLE = 1.0, 2.0  # s


def measure(network, system, huge):
    """A record; `huge`: also with 1 M addresses in the FDB."""
    pid = system.process.pid
    record = {"rss_start": resident_kilobytes(pid)}
    if getattr(system, "seconds_to_ready", None):
        record["seconds_to_ready"] = system.seconds_to_ready
    time.sleep(SETTLE)
    before = cpu_time(pid)
    time.sleep(IDLE)
    record["idle_cpu"] = (cpu_time(pid) - before).total / IDLE
    teach(network, Case("both", macs=FDB_SMALL))
    record["rss_fdb_1k"] = resident_kilobytes(pid)
    if huge and isinstance(system, Vxgw):
        teach(network, Case("both", macs=FDB_HUGE), rate=200_000)
        record["rss_fdb_1m"] = resident_kilobytes(pid)
        record["fdb_entries"] = len(json.loads(system.ask("fdb", "show", "-j")))
        if record["fdb_entries"] < 0.9 * FDB_HUGE:
            raise Failed(f"only {record['fdb_entries']} of {FDB_HUGE} addresses were learned")
    return record
