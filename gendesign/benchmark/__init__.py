"""Tables of a capability against its targets and references; each module named here has `run(config)`."""

NAMES = ("conditional", "molecules", "potentials", "pretraining", "speed")
