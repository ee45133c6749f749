"""The cost of work: FLOPs of a network, limits of a machine, the share reached, and how long unfinished work takes."""
