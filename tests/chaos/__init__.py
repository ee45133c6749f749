"""A sweep under random faults, each really caused: it must end with what an undisturbed one leaves, at a bounded cost.

`test_chaos` holds the claims, `faults` what is done to the sweep, `disturbed` the sweep it is done to, `plugins` the
network that counts every training image and can be slowed down, `skew.c` a wall clock that is wrong.
"""
