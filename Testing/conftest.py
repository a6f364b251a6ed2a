"""Fixtures that tests of several folders use."""

from __future__ import annotations

import os
import signal

import pytest


def pytest_configure():
    """Make the tests independent of the machine.

    Tests that run in parallel, and the processes that they start, compute with one thread each. The user's
    added weights are not used. Signals that a background job ignores are handled again: the tests send them
    to child processes, which inherit the handling.
    """
    if "PYTEST_XDIST_WORKER" in os.environ:
        os.environ["OMP_NUM_THREADS"] = "1"
    os.environ["THICKTOTHIN_WEIGHTS"] = os.devnull + "/none"
    for name, action in (("SIGINT", signal.default_int_handler), ("SIGHUP", signal.SIG_DFL)):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, action)


@pytest.fixture
def no_bundled_weights(monkeypatch):
    """An installation from which the weights are missing."""
    monkeypatch.setattr("ThickToThinSRLib.weights.bundled._index", dict)


@pytest.fixture
def one_thread():
    """Use one thread: on busy cores, threads that wait for each other make small operations much slower."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
