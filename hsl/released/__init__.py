"""What other people's code and files need: their formats, and their steps where these differ."""
