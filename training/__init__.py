"""Training and evaluation on pairs of thick and thin scans, on one GPU or many, without display."""
