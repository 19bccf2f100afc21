"""Readers of file formats; none of them runs code in a file."""
