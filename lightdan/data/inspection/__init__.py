"""Inspection of recorded configurations before a model is fitted: tests and hints."""
