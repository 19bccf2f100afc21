"""Images of textures: files, what is done to them, and a synthetic microscope; knows no torch."""
