"""One SVG plot for each question, by matplotlib (Debian's python3-matplotlib)."""

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams.update({
    "svg.hashsalt": "vxgw", "svg.fonttype": "none", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False,
    "axes.titlesize": 11, "axes.titlelocation": "left", "legend.frameon": False,
})

from matplotlib import pyplot  # noqa: E402

COLOURS = pyplot.get_cmap("tab20").colors
SIZES = ["64", "512", "1450", "imix"]


def colour(system):
    """Ours stand out; the others are grey."""
    return {"vxgw-fast": "#b3261e", "vxgw-xdp": "#d9731a", "vxgw-xdp-skb": "#e8a33d", "vxgw-raw": "#f2cf8d"}.get(system, "#8a8f98")


def save(figure, path):
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None})
    pyplot.close(figure)


def label(value):
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def bars(path, title, unit, panels, scale="linear"):
    """Panels side by side: [(heading, {system: value or (value, least, most)})]."""
    panels = [(heading, values) for heading, values in panels if values]
    if not panels:
        return False
    height = 1.4 + 0.28 * max(len(values) for _, values in panels)
    figure, all_axes = pyplot.subplots(1, len(panels), figsize=(4.4 * len(panels), height), squeeze=False)
    for axes, (heading, values) in zip(all_axes[0], panels):
        names = list(values)[::-1]
        triples = [value if isinstance(value, tuple) else (value, value, value) for value in (values[name] for name in names)]
        errors = [[middle - least for middle, least, _ in triples], [most - middle for middle, _, most in triples]]
        drawn = axes.barh(names, [triple[0] for triple in triples], color=[colour(name.split(" ")[0]) for name in names],
                          xerr=errors if any(map(any, errors)) else None, error_kw={"linewidth": 0.8})
        axes.bar_label(drawn, labels=[label(triple[0]) for triple in triples], padding=4, fontsize=8)
        axes.set(title=heading, xlabel=unit, xscale=scale)
        axes.margins(x=0.15)
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold", y=1)
    figure.tight_layout()
    save(figure, path)
    return True


def medians(table, case, key="mpps"):
    """With the least and the most of the rounds."""
    found = {}
    for system in table.systems:
        values = sorted(row[key] for row in table.of(case, system).values())
        if values:
            found[system] = (table.median(case, system, key), values[0], values[-1])
    return found


def sizes(path, table):
    """Mpps over frame size, a line for each system."""
    if not any(f"decap-{size}" in table.cases for size in SIZES[1:]):
        return False
    figure, all_axes = pyplot.subplots(1, 2, figsize=(9, 3.4), sharey=True)
    for axes, direction in zip(all_axes, ("decap", "encap")):
        for number, system in enumerate(table.systems):
            points = [(size, table.median(f"{direction}-{size}", system)) for size in SIZES]
            points = [(size, value) for size, value in points if value is not None]
            ours = system.startswith("vxgw")
            axes.plot(*zip(*points) if points else ([], []), marker="o", markersize=3, label=system, linewidth=1.8 if ours else 1,
                      color=colour(system) if ours else COLOURS[2 * number % 20], linestyle="-" if ours else "--")
        axes.set(title=f"{direction}sulate", xlabel="inner frame, bytes", yscale="log")
    all_axes[0].set_ylabel("Mpps")
    all_axes[1].legend(loc="center left", bbox_to_anchor=(1, 0.5))
    save(figure, path)
    return True


def tables(path, table):
    """What many flows, VTEPs and addresses cost: relative to one flow."""
    panels = []
    for direction in ("decap", "encap"):
        plain = f"{direction}-64"
        for case in (case for case in table.cases if case.startswith(f"{plain}-")):
            panels.append((case, {system: ratio for system in table.systems
                                  if (ratio := _against(table, system, case, plain))}))
    return bars(path, "Many flows, VTEPs and MAC addresses", "of the rate with one flow", panels)


def _against(table, system, case, plain):
    ours, base = table.median(case, system), table.median(plain, system)
    return ours / base if ours and base else None


def latency(path, rows):
    panels = []
    for load in ("idle", "half"):
        values = {}
        for row in rows:
            if row.get("load") == load:
                values[f"{row['system']} {row['case'].split('-')[0]}"] = (row["p50"], row["p50"], row["p99"])
        panels.append((f"{load}" if load == "idle" else "at half load", values))
    return bars(path, "Latency through the gateway: median, and up to the 99th percentile", "µs", panels, scale="log")


def draw_all(directory, results, table, comparisons):
    """Draws what there are results for; gives (file name, question) of each plot."""
    resources = [row for row in results["resources"] if "failed" not in row]
    streams = [row for row in results["streams"] if "failed" not in row]
    ratios = [(direction, {f"{ours} / {base}": ratio for _, ours, base, *_ in comparisons
                           if (ratio := table.ratio(f"{direction}-64", ours, base))}) for direction in ("decap", "encap")]
    jobs = [
        ("ratios.svg", "How does vxgw compare?", lambda path: bars(path, "64 bytes, ratio of frames per second", "times", ratios)),
        ("throughput.svg", "How many small frames per second?", lambda path: bars(
            path, "64 bytes, one flow", "Mpps", [(case, medians(table, f"{case}-64")) for case in ("decap", "encap", "both")])),
        ("sizes.svg", "How does it change with the size of the frames?", lambda path: sizes(path, table)),
        ("tables.svg", "What do many flows, VTEPs and MAC addresses cost?", lambda path: tables(path, table)),
        ("latency.svg", "How long does a frame take?", lambda path: latency(path, results["latency"])),
        ("idle.svg", "What does it take when there is nothing to do?", lambda path: bars(path, "Without traffic", "", [
            ("CPU %", {row["system"]: row["idle_cpu"] * 100 for row in resources}),
            ("MiB resident", {row["system"]: row["rss_start"] / 1024 for row in resources})])),
        ("memory.svg", "How much memory does the FDB take?", lambda path: bars(path, "Memory", "MiB resident", [
            (title, {row["system"]: row[key] / 1024 for row in resources if key in row})
            for title, key in (("1 k MAC addresses", "rss_fdb_1k"), ("1 M MAC addresses", "rss_fdb_1m"))])),
        ("streams.svg", "What do TCP and UDP get?", lambda path: bars(path, "iperf3", "Gbit/s", [
            (kind, {row["system"]: row["gbps"] for row in streams if row["kind"] == kind})
            for kind in ("tcp", "tcp-reverse", "udp", "udp-reverse")])),
    ]
    directory.mkdir(parents=True, exist_ok=True)
    return [(name, question) for name, question, draw in jobs if draw(directory / name)]
