"""Other temperatures: phase structure, free energy, critical temperatures."""
