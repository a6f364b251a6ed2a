"""One command that checks, measures and trains on a machine with an NVIDIA card: see :mod:`.__main__`."""
