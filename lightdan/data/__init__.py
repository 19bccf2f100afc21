"""Files, splits, batches and the cache of simulated configurations."""
