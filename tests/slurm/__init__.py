"""Tests on a real SLURM cluster of a few virtual nodes on this machine; lab/README.md says how it is made.

DIFGEN_SLURM_TESTS says how many: `short` (the default, a few minutes), `all` (`make slurm-test`) or `none`.
"""
