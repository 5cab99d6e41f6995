"""Compiles the programs beside this file, with the Swift toolchain's own clang: it has the BPF target."""

import os
import platform
import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent
OUTPUT = HERE.parent / ".build" / "endtoend"
WARNINGS = ["-Wall", "-Wextra", "-Werror"]
HEADERS = ["-idirafter", f"/usr/include/{platform.machine()}-linux-gnu"]


def build():
    swift = shutil.which("swift")
    if not swift:
        raise FileNotFoundError("no Swift toolchain in PATH, whose clang compiles the benchmark's programs: https://www.swift.org/install")
    clang = Path(os.path.realpath(swift)).with_name("clang")
    OUTPUT.mkdir(parents=True, exist_ok=True)
    for source in (HERE / "bpf").glob("*.bpf.c"):
        compile_if_older(OUTPUT / f"{source.name.removesuffix('.c')}.o", [source, *HERE.glob("bpf/*.h"), *HERE.parents[1].glob("bpf/*.[ch]")],
                         [clang, "-O2", "-g", *WARNINGS, "-target", "bpf", "-mcpu=v3", *HEADERS, "-c", source])
    forwarder = HERE / "forward.c"
    compile_if_older(OUTPUT / "forward", [forwarder], [clang, "-O3", "-std=gnu17", *WARNINGS, forwarder, "-lxdp", "-lbpf"])


def compile_if_older(output, sources, command):
    if not output.exists() or output.stat().st_mtime < max(source.stat().st_mtime for source in sources):
        subprocess.run([*command, "-o", output], check=True)


def program(name):
    """The path of an object or a program."""
    return str(OUTPUT / name)
