"""What the settings leave open: cutoffs by composition, ideal coordination, and which parts apply."""

from collections.abc import Mapping, Sequence

from ase import Atoms
from ase.data import atomic_numbers, covalent_radii

from gendesign.analysis.distributions import first_minimum, radial_distribution
from gendesign.analysis.neighbours import Pair, check_cutoff, element_pairs, heights
from gendesign.analysis.settings import PARTS, Analysis
from gendesign.errors import UserError

SILICON, SILICA, SUBOXIDE = 2.85, 2.0, 2.65  # Angstrom: Si-Si in silicon, Si-O, Si-Si in SiO_x with x < 1.9
RICH = 1.9  # oxygen per silicon from which Si-Si bonds are no part of the network
LONGEST_BOND = 1.35  # first minima beyond so many sums of covalent radii are no bonds
SEARCHED = 6.0  # Angstrom, in which first minima are looked for
USUAL_R_MAX, LONG_R_MAX = 10.0, 18.0  # Angstrom; the longer one for models of up to FEW atoms
FEW = 5_000


def cutoffs_of(atoms: Atoms, settings: Analysis) -> tuple[dict[Pair, float], str]:
    """Cutoffs by pair of elements in Angstrom, and where they come from."""
    if settings.cutoffs:
        return _stated(settings.cutoffs, atoms), "as given"
    counts = {symbol: list(atoms.symbols).count(symbol) for symbol in set(atoms.symbols)}
    if set(counts) == {"Si"}:
        return {("Si", "Si"): SILICON}, "usual for silicon"
    if set(counts) == {"Si", "O"}:
        if counts["O"] >= RICH * counts["Si"]:
            return {("Si", "O"): SILICA}, "usual for silica"
        return {("Si", "O"): SILICA, ("Si", "Si"): SUBOXIDE}, "usual for silicon suboxides"
    reach = min(SEARCHED, float(heights(atoms.cell.array).min()) / 2)
    radial = radial_distribution(atoms, reach, 0.05)
    found = {}
    for a, b in element_pairs(atoms):
        minimum = first_minimum(radial.r, radial.partial[a, b])
        longest = LONGEST_BOND * (covalent_radii[atomic_numbers[a]] + covalent_radii[atomic_numbers[b]])
        if minimum is not None and minimum <= longest:
            found[a, b] = minimum
    if not found:
        pairs = ",".join(f"{a}-{b}:LENGTH" for a, b in element_pairs(atoms))
        raise UserError(f"no minimum of g(r) could end a bond; give cutoffs in Angstrom, some of cutoffs=[{pairs}]")
    return found, "first minima of g(r)"


def _stated(words: Sequence[str], atoms: Atoms) -> dict[Pair, float]:
    out: dict[Pair, float] = {}
    for word in words:
        names, _, number = word.partition(":")
        parts = names.split("-")
        try:
            length = float(number)
        except ValueError:
            length = 0.0
        if len(parts) != 2 or any(part not in atomic_numbers for part in parts) or not length > 0:
            raise UserError(f"cutoffs=[{word}]: give pairs of elements with a length above 0, such as [Si-O:2.0]")
        first, second = sorted(parts, key=lambda symbol: -atomic_numbers[symbol])
        out[first, second] = length
        check_cutoff(atoms, length, "cutoffs")
    if not any(set(pair) <= set(atoms.symbols) for pair in out):
        elements = ", ".join(sorted(set(atoms.symbols)))
        raise UserError(f"cutoffs=[{','.join(words)}] names no pair of the elements {elements}")
    return out


def ideal_of(words: Sequence[str]) -> dict[str, int]:
    """Ideal numbers of bonds by element."""
    out = {}
    for word in words:
        symbol, _, number = word.partition(":")
        if symbol not in atomic_numbers or not number.isdigit():
            raise UserError(f"ideal=[{word}]: give elements with a whole number, such as [Si:4]")
        out[symbol] = int(number)
    return out


def r_max_of(models: Sequence[Atoms], settings: Analysis) -> float:
    """The end of g(r), the same for all models; UserError beyond half the smallest height of any."""
    if settings.r_max is not None:
        for atoms in models:
            check_cutoff(atoms, settings.r_max, "r_max")
        return settings.r_max
    usual = LONG_R_MAX if all(len(atoms) <= FEW for atoms in models) else USUAL_R_MAX
    return min(usual, *(float(heights(atoms.cell.array).min()) / 2 for atoms in models))


def parts_of(settings: Analysis, available: Mapping[str, bool]) -> tuple[str, ...]:
    """The parts to compute. available: whether there is a `potential`, a `trajectory`, and `velocities` in it.

    Raises UserError for a part that was asked for without what it needs.
    """
    needs = {
        "energy": ("potential", "give potential=NAME"),
        "elastic": ("potential", "give potential=NAME"),
        "diffusion": ("trajectory", "give trajectory=true and a file with several frames"),
    }
    wanted = settings.parts or tuple(part for part in PARTS if part not in ("elastic", "vibrations"))
    if not settings.parts and available["velocities"]:
        wanted = (*wanted, "vibrations")
    out = []
    for part in wanted:
        need, remedy = needs.get(part, ("", ""))
        if part == "vibrations" and not (available["velocities"] or available["potential"]):
            raise UserError("vibrations need velocities in a trajectory or a potential; give potential=NAME")
        if need and not available[need]:
            if part in settings.parts:
                raise UserError(f"parts=[{part}] needs a {need}; {remedy}")
            continue
        out.append(part)
    return tuple(out)


def bridge_of(word: str, automatic: str | None) -> str | None:
    """The element that bridges the network, from the setting."""
    if word == "auto":
        return automatic
    if word == "none":
        return None
    if word not in atomic_numbers:
        raise UserError(f"bridge={word}: give an element, auto or none")
    return word
