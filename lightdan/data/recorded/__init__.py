"""Configurations in a user's files as they are meant, with temperatures and controls of their rows."""
