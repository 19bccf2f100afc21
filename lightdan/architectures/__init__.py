"""Autoregressive architectures: one file each."""
