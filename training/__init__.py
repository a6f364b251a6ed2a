"""Training and evaluation on pairs of thick-slice and thin-slice scans, on one GPU or many, without a display."""
