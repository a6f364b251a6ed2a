"""Fixtures that tests of several folders use."""

from __future__ import annotations

import pytest


@pytest.fixture
def one_thread():
    """Where the cores are busy, threads that wait for each other make small products many times slower."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
