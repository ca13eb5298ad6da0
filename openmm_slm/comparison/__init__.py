"""Comparison of ensembles with simulations; needs SciPy, MDTraj, deeptime and pandas, not torch."""
