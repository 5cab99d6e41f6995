"""How long a frame takes through the gateway: the generator writes the time into each frame, the sink takes the difference.

Nothing else runs on the CPUs meanwhile, no receiver has to wake up, and every frame is measured, not a sample.
"""

import time

from network import Failed
from throughput import settled, teach
from traffic import Generator

IDLE_RATE = 1000  # frames/s
BUCKETS = 4096
BATCH = 8  # frames that leave the generator together; most are not due, so that one waits for less than a microsecond


def nanoseconds(bucket):
    """The middle of a bucket of sink.bpf.c: 64 buckets to each power of two."""
    if bucket < 64:
        return bucket
    octave, place = bucket >> 6, bucket & 63
    width = 1 << (octave - 1)
    return (64 + place) * width + width // 2


def percentile(counts, share):
    wanted, seen = share * sum(counts), 0
    for bucket, count in enumerate(counts):
        seen += count
        if count and seen >= wanted:
            return nanoseconds(bucket)
    return 0


def measure(network, sinks, system, case, rate, seconds):
    """Microseconds at so many frames per second, as a record. The sinks have to be stamped."""
    if system.tunnels:
        teach(network, case)
    sink = sinks.host if case.direction == "decap" else sinks.far

    def ages_after(duration):
        """Read when all is quiet: it takes a processor for tens of milliseconds, and no frame shall wait for us."""
        with Generator(network, case, rate=rate, stamp=True, batch=BATCH):
            time.sleep(duration)
        settled(sinks)
        return sink.ages(BUCKETS)

    counts = [after - before for before, after in zip(ages_after(0.2), ages_after(seconds))]
    system.check_alive()
    if not sum(counts):
        raise Failed("no frame arrived")
    return {"p50": percentile(counts, 0.5) / 1000, "p99": percentile(counts, 0.99) / 1000, "frames": sum(counts)}
