"""Guidance: `guide(denoiser, *, ...)` gives the denoiser that the sampler follows, called like its argument."""

VERSION = 1
