"""One thread, no network, and the slow group behind a flag."""

import gc
import os
import signal
import socket
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"

import pytest

pytest.register_assert_rewrite(*(path.stem for path in (Path(__file__).parent / "support").glob("*.py")))

from slowest_files import SlowestFiles, longest_first


def pytest_addoption(parser):
    parser.addoption("--slow", action="store_true", help="also run the proofs that take minutes")
    parser.addoption("--slowest-files", type=int, default=0, metavar="N", help="say the N files that took longest")


def pytest_configure(config):
    # Who starts tests in the background of a shell has them ignore Ctrl-C, which some of them send themselves.
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # The process that starts the workers hears of every test.
    if config.getoption("--slowest-files") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(SlowestFiles(config.getoption("--slowest-files")))


@pytest.hookimpl(hookwrapper=True)
def pytest_collection():
    """Set aside what is imported: the collector went through a million objects of the libraries for a fifth of all time."""
    gc.disable()
    yield
    gc.enable()
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(config, items):
    if hasattr(config, "workerinput"):
        items[:] = longest_first(items)
    if config.getoption("--slow"):
        return
    skip = pytest.mark.skip(reason="a slow proof; run with --slow")
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(scope="session", autouse=True)
def nothing_waits_for_the_disk():
    """Leave out `fsync`: until the power fails, nobody can tell. What is asked of it is tested by calls that are noted."""

    def not_synchronised(descriptor):
        os.fstat(descriptor)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", not_synchronised)
        yield


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Refuse every connection that leaves this machine."""
    connect = socket.socket.connect

    def guarded(self, address, *rest):
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise RuntimeError(f"a test tried to reach {address}")
        return connect(self, address, *rest)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(scope="session")
def save_archive():
    """Writer of tensors as OpenAI's files hold them: a TorchScript archive, in half precision."""
    import warnings

    import torch

    class Holder(torch.nn.Module):
        """Nothing but tensors."""

        def forward(self, images):
            return images

    def save(state, path):
        root = Holder()
        for name, tensor in state.items():
            *parents, leaf = name.split(".")
            module = root
            for parent in parents:
                if not hasattr(module, parent):
                    module.add_module(parent, Holder())
                module = getattr(module, parent)
            module.register_buffer(leaf, tensor.half())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.jit.save(torch.jit.script(root), path)

    return save
