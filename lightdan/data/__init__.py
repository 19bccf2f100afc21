"""Configurations: files, splits, batches and the cache of simulations."""
