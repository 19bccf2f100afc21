"""Microscope images: preparation, structure factor, domains."""
