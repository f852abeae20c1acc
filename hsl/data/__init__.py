"""Images: data modules, and image files."""
