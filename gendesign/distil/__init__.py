"""Fast copies of a potential for LAMMPS, and decks that run a potential there.

settings.py   the keys of `gendesign distil`
copies.py     structures to learn from: those of files, strained and displaced
labels.py     energies and forces of the potential; structures that are dropped
pod.py        the fit of a proper orthogonal descriptor (POD) by LAMMPS, and its folder
student.py    evaluates and times a folder with pair.in by LAMMPS
distilling.py from structures to a folder with its card
export.py     `gendesign export lammps`: decks for a student, files and decks for a MACE
"""
