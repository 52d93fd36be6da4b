"""Keys that have another name now: the old one is refused with the new one named.

A section stands for all of its keys. Where a key was renamed differently in several sections of one name, all new names
are given, and the first that the settings have is named.
"""

RENAMED: dict[str, str | tuple[str, ...]] = {
    "generator.a_site": "generator.composition.a_site",
    "generator.cap": "generator.start.cation_angle",
    "generator.cation": "generator.composition.cation",
    "generator.cell": "generator.start.cells",
    "generator.compact": "generator.start.densest_of",
    "generator.conformers": "generator.composition.conformers",
    "generator.contact": "generator.start.contact",
    "generator.distortion": "generator.start.distortion",
    "generator.halide": "generator.composition.halide",
    "generator.keep": "generator.halving.keep",
    "generator.known_cell": "generator.start.known_cell",
    "generator.layers": "generator.start.layers",
    "generator.max_atoms": "generator.halving.max_atoms",  # of perovskites; SimGen has the old key
    "generator.metal": "generator.composition.metal",
    "generator.offspring": "generator.evolution.share",
    "generator.orientations": "generator.start.orientations",
    "generator.padding": "generator.start.padding",
    "generator.pressure": ("generator.objective_weight", "generator.halving.pressure"),
    "generator.redraws": "generator.start.redraws",
    "generator.rungs": "generator.halving.rounds",
    "generator.space_group": "generator.start.space_group",
    "generator.steps": "generator.halving.steps",  # of perovskites; SimGen has the old key
    "generator.symmetry": "generator.start.symmetry",
    "generator.thickness": "generator.composition.thickness",
    "generator.tilt": "generator.start.tilt",
    "generator.tilted": "generator.start.tilted",
    "perovskites.cell": "perovskites.cells",
    "perovskites.rungs": "perovskites.rounds",
    "screening.rivals": "screening.competing_phases",
}
