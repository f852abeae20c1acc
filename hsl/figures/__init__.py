"""Pictures that matplotlib draws: grids of images, heat maps, curves."""
