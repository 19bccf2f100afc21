"""Measurements: questions put to a trained model, one file each."""
