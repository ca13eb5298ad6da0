"""Disordered residues: which they are, and chains, tails and linkers in all their conformations."""
