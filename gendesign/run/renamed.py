"""Keys that have another name now: the old one is refused with the new one named.

A section stands for all of its keys. Where a key was renamed differently in several sections of one name, all new names
are given, and the first that the settings have is named.
"""

RENAMED: dict[str, str | tuple[str, ...]] = {
    "generator.pressure": ("generator.objective_weight", "generator.halving.pressure"),  # of simgen, of perovskites
}
