"""Fixtures that tests of several folders use."""

from __future__ import annotations

import os
import signal

import pytest


def pytest_configure():
    """Take away what the tests' own machine would bring in.

    The user's added weights; and signals that a background job ignores: children inherit that, and tests send
    them to theirs.
    """
    os.environ["THICKTOTHIN_WEIGHTS"] = os.devnull + "/none"
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
