"""Parts of every run: its directory, configuration, checkpoints, predictions and end."""
