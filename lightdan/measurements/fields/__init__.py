"""Angles and fields: vortices, actions, kinks, correlators, predictions."""
