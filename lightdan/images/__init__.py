"""Images of two-phase textures: files, what is done to them, and a synthetic microscope; knows no torch."""
