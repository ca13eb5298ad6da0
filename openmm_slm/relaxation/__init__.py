"""Minimise many frames of one protein with OpenMM and report on each."""
