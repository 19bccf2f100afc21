"""Symmetry groups, angles and orderings of lattices."""
