"""Fixtures that all tests share. `make test` runs them; `make test-oracle` runs them on the kernel in vxgw's place."""

import contextlib
import json
import os

import pytest

import gateway
from lab import Lab, execute, interrupt_on_sigterm, leftovers, wait_until


def pytest_configure(config):
    config.addinivalue_line("markers", "vxgw_only: asks for something that the kernel in vxgw's place does not do")


def pytest_collection_modifyitems(config, items):
    """The kernel in vxgw's place: what it cannot answer is deselected. With vxgw nothing ever is, and nothing skips."""
    if gateway.KERNEL:
        config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("vxgw_only")])
        items[:] = [item for item in items if not item.get_closest_marker("vxgw_only")]


def pytest_sessionstart():
    if os.geteuid() != 0:
        pytest.exit("the network tests make network namespaces: run them as root", 2)
    if not gateway.KERNEL and not gateway.BINARY.exists():
        pytest.exit(f"{gateway.BINARY} is not built: make build", 2)


@pytest.fixture(scope="session", autouse=True)
def nothing_stays():
    """At the end no namespace, process or link of ours is left on this machine."""
    def links():
        return {link["ifname"] for link in json.loads(execute("ip", "-j", "link", "show").stdout)}
    interrupt_on_sigterm()
    before = links()
    yield
    wait_until(lambda: not leftovers(), 5, lambda: f"clean-up of {leftovers()}")
    ours = {"underlay", "lan", "lan2", "tap0", "br0", "port", "vxlan0"}
    assert not (links() - before) & ours


@pytest.fixture
def lab():
    with Lab() as lab:
        yield lab


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    """A failed test shows what the gateways said and counted, and what the kernel counted on the links around them."""
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for lab in Lab.opened:
            for running in lab.gateways:
                report.sections.append((f"vxgw in {running.space}", running.output()[-8000:]))
                with contextlib.suppress(Exception):  # it may be what failed
                    report.sections.append((f"statistics of vxgw in {running.space}", running.ask("stats")))
            for space in lab.namespaces:
                text = "".join(space.ip(*words, check=False) for words in (["-s", "-s", "link"], ["-s", "neigh"]))
                report.sections.append((f"links and neighbours in {space}", text))
