"""LAMMPS as a program of its own, installed by `gendesign install lammps`.

locate.py   where the program lies, and the environment that it needs
"""
