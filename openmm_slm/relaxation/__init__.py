"""Minimisation of many frames of one protein with OpenMM, and a report of each."""
