"""Causal verification of findings."""
