"""``python -m hsl.study latents``: are inverted latents standard Gaussian, as sampled ones are?
And where on the way to noise would the mixing step be?

``python -m hsl.study profile``: how far are P_t and x_t from the image, and where do Asyrp's
editing and boosting begin?
"""
