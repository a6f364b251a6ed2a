"""Segmentations of the thick slices, carried to the thin ones."""
