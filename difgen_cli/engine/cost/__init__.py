"""How near to its machine's limit a network runs: `count` its work, `machine` the limits, `roofline` the share."""
