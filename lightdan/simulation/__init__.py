"""Monte-Carlo simulations and exact solutions on plain numpy arrays."""
