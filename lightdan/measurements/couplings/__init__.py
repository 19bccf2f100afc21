"""Couplings read from a trained network, and what they explain."""
