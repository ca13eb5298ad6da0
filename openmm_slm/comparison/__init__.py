"""An ensemble against MD or experiment. NumPy, SciPy, MDTraj, deeptime and pandas; no torch."""
