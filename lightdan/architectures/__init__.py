"""Architectures of autoregressive networks, one file each."""
