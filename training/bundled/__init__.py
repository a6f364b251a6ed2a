"""How the weights that ship with the project are trained: one trainer, one recipe for each set of weights."""
