"""Measurements on angles and fields: vortices, actions, kinks, correlators, predictions."""
