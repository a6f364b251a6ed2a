"""Architectures, one file each; :mod:`~ThickToThinSRLib.networks.registry` has them by name."""
