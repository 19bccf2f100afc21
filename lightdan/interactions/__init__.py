"""Explicit Hamiltonians: operators, fits, the search for terms."""
