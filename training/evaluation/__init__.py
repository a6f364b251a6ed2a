"""Evaluation of systems on pairs by two protocols, with statistics, tables and figures."""
