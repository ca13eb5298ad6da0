"""Structures and trajectories of any origin to training shards."""
