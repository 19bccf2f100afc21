"""Physical systems: one file each."""
