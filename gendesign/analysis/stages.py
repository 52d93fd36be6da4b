"""The parts of an analysis that need no potential: each adds numbers and curves of one model to `Found`."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from ase import Atoms

from gendesign.analysis.choices import bridge_of, ideal_of
from gendesign.analysis.coordination import Coordination, coordination, defect_mask
from gendesign.analysis.defects import classify, clustering
from gendesign.analysis.distributions import Radial, bond_angles, bond_lengths, radial_distribution
from gendesign.analysis.neighbours import Bonds, Pair, bonds
from gendesign.analysis.network import Network, bridging_element, network
from gendesign.analysis.order import steinhardt
from gendesign.analysis.results import Curve, Found
from gendesign.analysis.rings import ring_statistics
from gendesign.analysis.settings import Analysis
from gendesign.analysis.structure_factor import concentrations, direct, first_peak, from_radial
from gendesign.analysis.templates import identify_diamond, template_matching
from gendesign.analysis.voids import radii_of, surface_area, voids

DENSITY = 1.66053906660  # g/cm3 of one u per Angstrom^3
PLAIN = "fraction"


@dataclass
class Case:
    """One model with its settings; what several parts need is made once. energies: local energies in eV, or None."""

    atoms: Atoms
    settings: Analysis
    cutoffs: dict[Pair, float]
    r_max: float
    energies: np.ndarray | None = None

    @cached_property
    def bonds(self) -> Bonds:
        """Bonds at the cutoffs."""
        return bonds(self.atoms, self.cutoffs)

    @cached_property
    def radial(self) -> Radial:
        """Radial distribution functions."""
        return radial_distribution(self.atoms, self.r_max, self.settings.r_width)

    @cached_property
    def coordination(self) -> list[Coordination]:
        """Coordination by element."""
        return coordination(self.atoms, self.bonds, ideal_of(self.settings.ideal))

    @cached_property
    def excess(self) -> np.ndarray:
        """Bonds of each atom beyond the ideal number."""
        return defect_mask(self.atoms, self.bonds, self.coordination)

    @cached_property
    def bridge(self) -> str | None:
        """The element that bridges the network."""
        return bridge_of(self.settings.bridge, bridging_element(self.atoms))

    @cached_property
    def network(self) -> Network:
        """The network, as large as the model."""
        return network(self.atoms, self.bonds, self.bridge)

    @property
    def stated(self) -> str:
        """The cutoffs in words."""
        return ", ".join(f"{a}-{b} {length:.3g} A" for (a, b), length in self.cutoffs.items())


def add_coordination(case: Case, found: Found) -> None:
    """Coordination numbers, their shares, and defects."""
    for one in case.coordination:
        found.add(f"{one.element} coordination", one.total, "", case.stated)
        for other, mean in one.mean.items():
            if mean and len(one.mean) > 1:
                found.add(f"{one.element}-{other} coordination", mean, "", case.stated)
        for number, share in enumerate(one.histogram):
            if share:
                found.add(f"{one.element} with {number} bonds", share, PLAIN, case.stated)
        found.add(f"{one.element} defects", one.defects, PLAIN, f"not {one.ideal} bonds; {case.stated}")
    longest = max(len(one.histogram) for one in case.coordination)
    columns = {one.element: np.pad(one.histogram, (0, longest - len(one.histogram))) for one in case.coordination}
    found.curves["coordination"] = Curve("coordination", "bonds", np.arange(longest), columns)
    found.labels["coordination"] = case.bonds.counts


def add_distributions(case: Case, found: Found) -> None:
    """g(r), bond lengths and bond angles, of all vertices and of those without defect."""
    radial = case.radial
    columns = {f"{a}-{b}": g for (a, b), g in radial.partial.items()} | {"total": radial.total}
    found.curves["rdf"] = Curve("rdf", "r (Angstrom)", radial.r, columns)
    if radial.sampled < 1:
        found.notes.append(f"g(r) about {100 * radial.sampled:.0f} % of the atoms")
    for one in bond_lengths(case.atoms, case.bonds):
        found.add(f"{'-'.join(one.pair)} bond length", one.mean, "Angstrom", case.stated)
        found.add(f"{'-'.join(one.pair)} bond length, deviation", one.deviation, "Angstrom", case.stated)
    every = bond_angles(case.atoms, case.bonds, case.settings.angle_width)
    fair = bond_angles(case.atoms, case.bonds, case.settings.angle_width, case.excess == 0)
    for angles, which in ((every, ""), (fair, ", at atoms without defect")):
        for angle in angles:
            found.add(f"{angle.name} angle{which}", angle.mean, "degrees", case.stated)
            found.add(f"{angle.name} angle, deviation{which}", angle.deviation, "degrees", case.stated)
    if every:
        middle = (every[0].edges[:-1] + every[0].edges[1:]) / 2
        columns = {angle.name: angle.density for angle in every}
        found.curves["angles"] = Curve("angles", "angle (degrees)", middle, columns)


def add_rings(case: Case, found: Found) -> None:
    """King and primitive rings of the network."""
    longest = max(case.settings.ring_max, case.settings.primitive_max)
    graph = network(case.atoms, case.bonds, case.bridge, reach=longest)
    rings = ring_statistics(graph, longest, case.settings.primitive_max)
    sizes = np.arange(longest + 1)
    about = f"{case.stated}; up to {longest} (primitive {case.settings.primitive_max})"
    for kind in ("king", "primitive"):
        counts, shares = getattr(rings, kind), rings.shares(kind)
        name = "King" if kind == "king" else kind
        found.add(f"{name} rings per node", counts.sum(), "", about)
        if counts.any():
            found.add(f"{name} rings, mean size", float((sizes * shares).sum()), "nodes", about)
            found.add(f"{name} rings, most frequent size", float(shares.argmax()), "nodes", about)
        for size in range(3, longest + 1):
            if counts[size]:
                found.add(f"{name} rings of {size} per node", counts[size], "", about)
    columns = {"king": rings.king, "primitive": rings.primitive, "corners": rings.corners}
    found.curves["rings"] = Curve("rings", "nodes", sizes[3:], {key: value[3:] for key, value in columns.items()})


def add_structure_factor(case: Case, found: Found) -> None:
    """S(q) directly and from g(r), and the first sharp diffraction peak."""
    settings = case.settings
    limit = settings.q_max
    one = direct(case.atoms, limit, settings.q_width, settings.q_vectors, settings.seed)
    columns = {f"{a}-{b}": part for (a, b), part in one.partial.items()}
    for kind in ("neutron", "xray"):
        columns[kind] = one.total(kind)
        peak = first_peak(one.q, columns[kind], settings.peak_low, settings.peak_high)
        if peak is not None:
            about = f"direct sum, fitted within {settings.peak_low:g} to {settings.peak_high:g} 1/A"
            found.add(f"first diffraction peak, {kind}", peak.position, "1/Angstrom", about)
            found.add(f"first diffraction peak height, {kind}", peak.height, "", about)
            found.add(f"first diffraction peak width, {kind}", peak.width, "1/Angstrom", about)
    found.curves["sq"] = Curve("sq", "q (1/Angstrom)", one.q, columns)
    q = np.arange(0.3, limit, settings.q_width)
    other = from_radial(case.radial, concentrations(case.atoms), q, settings.window)
    columns = {f"{a}-{b}": part for (a, b), part in other.partial.items()}
    columns |= {kind: other.total(kind) for kind in ("neutron", "xray")}
    found.curves["sq_from_rdf"] = Curve("sq_from_rdf", "q (1/Angstrom)", q, columns)


def add_order(case: Case, found: Found) -> None:
    """Bond-orientational order of the bonds."""
    l = case.settings.order_l  # noqa: E741 - the name of the field
    for average, name in ((False, f"q{l}"), (True, f"q{l}, averaged over neighbours")):
        values = steinhardt(case.bonds, l, average)
        for symbol in sorted(set(case.atoms.symbols)):
            own = values[case.atoms.symbols == symbol]
            found.add(f"{symbol} {name}", own.mean(), "", case.stated)
    found.labels[f"q{l}"] = values


def add_crystallinity(case: Case, found: Found) -> None:
    """Share of diamond-like nodes of the network."""
    about = f"second neighbours of the network; {case.stated}"
    crystallinity = identify_diamond(case.atoms, case.network)
    if crystallinity.fits:
        found.add("diamond-like nodes", crystallinity.diamond, PLAIN, about)
        found.add("bonded to diamond-like nodes", crystallinity.near, PLAIN, about)
    found.notes.append(f"by its diamond-like nodes: {crystallinity.kind}")
    if case.settings.templates == "ovito":
        nodes = case.atoms[case.atoms.symbols != case.bridge] if case.bridge else case.atoms
        found.add("diamond-like nodes, ovito", template_matching(nodes), PLAIN, "template matching, deviation 0.1")


def add_voids(case: Case, found: Found) -> None:
    """Void fraction, pore sizes and accessible surface."""
    radii = radii_of(case.atoms)
    about = f"probe {case.settings.probe:g} A; radii " + ", ".join(f"{s} {r:.2f}" for s, r in radii.items())
    result = voids(case.atoms, case.settings.probe, case.settings.grid, radii)
    found.add("void fraction", result.fraction, PLAIN, f"{about}; grid {result.spacing:.2f} A")
    found.add("largest sphere in a void", result.largest, "Angstrom", f"diameter; grid {result.spacing:.2f} A")
    area = surface_area(case.atoms, case.settings.probe, radii, seed=case.settings.seed)
    found.add("accessible surface", area, "m2/g", about)
    if len(result.volume) and result.fraction > 0:
        found.add("median pore diameter", result.median_diameter, "Angstrom", about)
        found.curves["pores"] = Curve("pores", "diameter (Angstrom)", result.diameter, {"volume": result.volume})


def add_defects(case: Case, found: Found) -> None:
    """Classes of the defects of the network's nodes, and their clusters."""
    nodes = np.zeros(len(case.atoms), dtype=bool)
    nodes[case.network.atoms] = True
    four = [one.element for one in case.coordination if one.ideal == 4]
    of = nodes & np.isin(case.atoms.get_chemical_symbols(), four)
    if not of.any():
        found.notes.append("defect classes left out: no element with an ideal coordination of four")
        return
    length = float(case.bonds.distance[of[case.bonds.i]].mean()) if of[case.bonds.i].any() else 1.0
    classes, labels = classify(case.bonds, of, case.excess, length, case.energies, seed=case.settings.seed)
    about = f"most similar ideal environment; {case.stated}"
    for one in classes:
        found.add(f"defect class {one.name}", one.share, PLAIN, about)
        if one.similarity:
            nearest = max(one.similarity.values())
            found.add(f"similarity of {one.name}", nearest, "", "mean kernel with the most similar ideal environment")
        if one.energy is not None:
            found.add(f"local energy of {one.name}", one.energy, "eV", "above atoms without defect")
    found.labels["defect"] = labels
    graph = case.network
    place = np.full(len(case.atoms), -1)
    place[graph.atoms] = np.arange(len(graph.atoms))
    i = np.repeat(np.arange(graph.roots), graph.degree)
    edges = (i, graph.neighbours)
    among, excess = of[graph.atoms], case.excess[graph.atoms]
    for label, mask in (("undercoordinated", among & (excess < 0)), ("overcoordinated", among & (excess > 0))):
        result = clustering(edges, among, mask, label, case.settings.placements, case.settings.seed)
        found.add(f"{label} nodes", result.n / max(1, int(among.sum())), PLAIN, case.stated)
        if result.n < 2:
            continue
        found.add(f"{label} next to their like", result.neighbour, PLAIN, "share of these defects")
        found.add(f"{label} next to their like, at random", result.expected, PLAIN, "as many, placed at random")
        found.add(f"{label} clustering z", result.z, "", "excess over random placement in its deviations")
        found.add(f"{label} clustering p", result.p, "", "one-sided, of random placements")
        found.add(f"{label} largest cluster", result.largest, "atoms", "directly linked in the network")
