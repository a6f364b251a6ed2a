"""Training and evaluation on data sets of thick and thin pairs, on one GPU or many, without a display."""
