"""difgen: when does a diffusion model copy its training set, and when does it generalise?"""

__version__ = "0.2.0"
