"""Tables of a capability against its targets and references; each module named here has `run(config)`."""

NAMES = ("agent", "conditional", "molecules", "perovskites", "potentials", "pretraining", "speed")
