"""Pairs of thick and thin scans: finding them, checking that they fit, reading them fast."""
