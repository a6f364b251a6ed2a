"""Pairs of thick and thin scans: where they lie, whether they fit, how they are read fast."""
