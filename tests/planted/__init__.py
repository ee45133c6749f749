"""Planted worlds: samples whose relation to the training images is known, with what must be read and said of them."""
