"""Shapes, geometry, symmetry groups, angles and orderings of lattices."""
