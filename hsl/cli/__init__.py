"""What stands between the parsed options of `hsl.train` and the objects made of them."""
