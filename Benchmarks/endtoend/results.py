"""Medians and ratios of what was measured, and the tables of the terminal."""

import statistics


def unique(values):
    return list(dict.fromkeys(values))


class Throughput:
    """The rows of `results["throughput"]`, by case and system."""

    def __init__(self, rows):
        self.rows = rows
        self.cases, self.systems = unique(row["case"] for row in rows), unique(row["system"] for row in rows)

    def of(self, case, system):
        """Rows of one system that did not fail, by round."""
        return {row["round"]: row for row in self.rows if row["case"] == case and row["system"] == system and "failed" not in row}

    def failure(self, case, system):
        return next((row["failed"] for row in self.rows if row["case"] == case and row["system"] == system and "failed" in row), None)

    def median(self, case, system, key="mpps"):
        values = [row[key] for row in self.of(case, system).values() if key in row]
        return statistics.median(values) if values else None

    def ratio(self, case, system, base):
        """(median, least, most) of the rounds in which both were measured; None if there are none."""
        ours, theirs = self.of(case, system), self.of(case, base)
        ratios = [row["mpps"] / theirs[number]["mpps"] for number, row in ours.items() if number in theirs]
        return (statistics.median(ratios), min(ratios), max(ratios)) if ratios else None


def format_ratio(ratio):
    return f"{ratio[0]:.2f} ({ratio[1]:.2f}–{ratio[2]:.2f})" if ratio else "–"


def format_number(value, digits=2, factor=1):
    return "–" if value is None else f"{value * factor:.{digits}f}"


HEADINGS = ["system", "Mpps", "Gbit/s", "against base", "offered", "loss %", "CPU %", "user %", "calls/s", "packets/call"]


def throughput_rows(table, case, base):
    """The rows of one case as text, with the failed ones."""
    for system in table.systems:
        def median(key, digits=2, factor=1):
            return format_number(table.median(case, system, key), digits, factor)
        if table.of(case, system):
            yield [system, median("mpps", 3), median("gbps"), format_ratio(table.ratio(case, system, base)), median("offered_mpps"),
                   median("loss", 1, 100), median("cpu", 0, 100), median("user", 0, 100), median("calls", 0),
                   median("packets_per_call", 1)]
        elif failure := table.failure(case, system):
            yield [system, f"failed: {failure}"]


def print_table(title, headings, rows):
    rows = [list(map(str, row)) for row in rows]
    if not rows:
        return
    widths = [max(len(row[column]) for row in [headings, *(row for row in rows if len(row) == len(headings))])
              for column in range(len(headings))]
    print(f"\n{title}")
    for row in [headings, *rows]:
        cells = [cell.ljust(width) if column == 0 else cell.rjust(width) for column, (cell, width) in enumerate(zip(row, widths))]
        print("  " + "  ".join(cells if len(row) == len(headings) else [cells[0], row[1]]).rstrip(), flush=True)


def latency_rows(results):
    for row in results["latency"]:
        if "failed" in row:
            yield [row["system"], f"{row['case']}: failed: {row['failed']}"]
        else:
            yield [row["system"], row["case"], row["load"], f"{row['rate']:.0f}", f"{row['p50']:.1f}", f"{row['p99']:.1f}"]


def resource_rows(results):
    def megabytes(row, key):
        return format_number(row.get(key), 1, 1 / 1024)
    for row in results["resources"]:
        if "failed" in row:
            yield [row["system"], f"failed: {row['failed']}"]
        else:
            yield [row["system"], format_number(row.get("seconds_to_ready"), 0, 1000), format_number(row["idle_cpu"], 1, 100),
                   megabytes(row, "rss_start"), megabytes(row, "rss_fdb_1k"), megabytes(row, "rss_fdb_1m")]


def stream_rows(results):
    for row in results["streams"]:
        if "failed" in row:
            yield [row["system"], f"{row['kind']}: failed: {row['failed']}"]
        else:
            kind = row["kind"] if row["offloads"] else f"{row['kind']} (offloads off)"
            yield [row["system"], kind, f"{row['gbps']:.2f}", format_number(row.get("loss"), 1, 100)]


LATENCY_HEADINGS = ["system", "case", "load", "frames/s", "p50 µs", "p99 µs"]
RESOURCE_HEADINGS = ["system", "ready ms", "idle CPU %", "MiB at start", "at 1 k MACs", "at 1 M MACs"]
STREAM_HEADINGS = ["system", "stream", "Gbit/s", "loss %"]


def print_results(results):
    table = Throughput(results["throughput"])
    for case in table.cases:
        print_table(case, HEADINGS, throughput_rows(table, case, results["base"]))
    print_table("latency", LATENCY_HEADINGS, latency_rows(results))
    print_table("idle, memory, start", RESOURCE_HEADINGS, resource_rows(results))
    print_table("iperf3", STREAM_HEADINGS, stream_rows(results))


def failures(results):
    parts = ("throughput", "latency", "resources", "streams")
    return [row for part in parts for row in results[part] if "failed" in row]
