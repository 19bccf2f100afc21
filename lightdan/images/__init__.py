"""Images of magnetic textures: files, processing and a synthetic microscope, without torch."""
