"""Measurements on microscope images: preparation, structure factor, domains."""
