"""Fixtures that tests of several folders use."""

from __future__ import annotations

import signal

import pytest


def pytest_configure():
    """A background job ignores these signals, and children inherit that; tests send them to theirs."""
    for name, action in (("SIGINT", signal.default_int_handler), ("SIGHUP", signal.SIG_DFL)):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, action)


@pytest.fixture
def one_thread():
    """Where the cores are busy, threads that wait for each other make small products many times slower."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
