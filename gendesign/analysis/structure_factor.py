"""Structure factors: Faber-Ziman partials from g(r) or from the cell's own wave vectors, X-ray and neutron totals.

A_ab(q) - 1 = 4 pi rho integral r^2 (g_ab(r) - 1) sin(qr) / (qr) W(r) dr (Faber and Ziman, Phil. Mag. 11, 153 (1965)),
with the window W(r) = sin(pi r / R) / (pi r / R) of Lorch or none. S(q) = sum c_a c_b f_a f_b A_ab / (sum c_a f_a)^2.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from scipy.optimize import curve_fit

from gendesign.analysis.distributions import Radial
from gendesign.analysis.neighbours import Pair, element_pairs
from gendesign.analysis.scattering import weights
from gendesign.errors import UserError

MOST_WAVES = 300_000_000  # products of atoms and wave vectors that the direct sum is allowed
CHUNK = 4_000_000  # of these in memory at once
WINDOWS = ("lorch", "none")


@dataclass(frozen=True)
class StructureFactor:
    """Partial structure factors.

    q (points,): 1/Angstrom. partial: Faber-Ziman A_ab(q) (points,). concentration: by element.
    waves (points,): wave vectors averaged at each point; 0 for a transform of g(r).
    """

    q: np.ndarray
    partial: Mapping[Pair, np.ndarray]
    concentration: Mapping[str, float]
    waves: np.ndarray

    def total(self, kind: str) -> np.ndarray:
        """S(q) (points,) for xray or neutron; 1 at large q."""
        scatter = {symbol: weights(symbol, self.q, kind) for symbol in self.concentration}
        mean = sum(self.concentration[symbol] * scatter[symbol] for symbol in scatter)
        total = np.zeros_like(self.q)
        for (a, b), part in self.partial.items():
            both = 1 if a == b else 2
            total += both * self.concentration[a] * self.concentration[b] * scatter[a] * scatter[b] * part
        return np.asarray(total / mean**2)


def concentrations(atoms: Atoms) -> dict[str, float]:
    """Shares of the elements."""
    symbols = atoms.get_chemical_symbols()
    return {str(symbol): symbols.count(symbol) / len(symbols) for symbol in sorted(set(symbols))}


def from_radial(radial: Radial, concentration: Mapping[str, float], q: np.ndarray, window: str = "lorch"):
    """The transform of g(r) at q (1/Angstrom). Its resolution is about 2 pi / r_max."""
    if window not in WINDOWS:
        raise UserError(f"window={window}: allowed are {', '.join(WINDOWS)}")
    r, width = radial.r, radial.r[1] - radial.r[0]
    shape = np.sinc(r / radial.r_max) if window == "lorch" else np.ones_like(r)
    kernel = np.sinc(np.outer(q, r) / np.pi) * (4 * np.pi * radial.density * r**2 * shape * width)
    partial = {pair: 1 + kernel @ (g - 1) for pair, g in radial.partial.items()}
    return StructureFactor(np.asarray(q), partial, dict(concentration), np.zeros(len(q), dtype=int))


def direct(atoms: Atoms, q_max: float, width: float, per_shell: int = 50, seed: int = 0) -> StructureFactor:
    """Partials from the amplitudes at the wave vectors of the cell, averaged in shells of `width` (1/Angstrom).

    A shell with more than `per_shell` vectors uses so many of them, drawn at random. Where the sum would exceed
    MOST_WAVES products, fewer are drawn, but not below five. Shells without a vector are left out.
    """
    chosen, shell = _wave_vectors(atoms, q_max, width, _allowed(atoms, q_max, width, per_shell), seed)
    if not len(chosen):
        raise UserError(
            f"q_max={q_max:g} 1/Angstrom is below the shortest wave vector of the cell; give a larger q_max"
        )
    symbols = sorted(set(atoms.symbols))
    amplitude = {symbol: _amplitudes(atoms.positions[atoms.symbols == symbol], chosen) for symbol in symbols}
    number = np.bincount(shell)
    present = np.nonzero(number)[0]
    lengths = np.bincount(shell, np.linalg.norm(chosen, axis=1))[present] / number[present]
    partial, concentration = {}, concentrations(atoms)
    for a, b in element_pairs(atoms):
        product = (amplitude[a] * amplitude[b].conj()).real / len(atoms)
        mean = np.bincount(shell, product)[present] / number[present]
        ca, cb = concentration[a], concentration[b]
        partial[a, b] = 1 + (mean - (a == b) * ca) / (ca * cb)
    return StructureFactor(lengths, partial, concentration, number[present])


def _allowed(atoms: Atoms, q_max: float, width: float, per_shell: int) -> int:
    shells = max(1.0, q_max / width)
    return int(max(5, min(per_shell, MOST_WAVES / len(atoms) / shells)))


def _wave_vectors(atoms: Atoms, q_max: float, width: float, per_shell: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Wave vectors (n, 3) of half the space and their shells (n,)."""
    rng = np.random.default_rng([1301, seed])
    reciprocal = 2 * np.pi * np.linalg.inv(atoms.cell.array).T
    most = np.ceil(q_max * np.linalg.norm(atoms.cell.array, axis=1) / (2 * np.pi)).astype(int)
    whole = np.prod(2.0 * most + 1)
    if whole <= 3_000_000:
        grid = np.stack(np.meshgrid(*(np.arange(-m, m + 1) for m in most), indexing="ij"), -1).reshape(-1, 3)
    else:  # a grid too fine to hold: directions at random, uniform in the length of q
        n = int(q_max / width) * per_shell * 4
        way = rng.normal(size=(n, 3))
        way *= rng.uniform(0, q_max, size=(n, 1)) / np.linalg.norm(way, axis=1, keepdims=True)
        grid = np.unique(np.rint(way @ np.linalg.inv(reciprocal)).astype(int), axis=0)
    first = np.where(grid[:, 0] != 0, grid[:, 0], np.where(grid[:, 1] != 0, grid[:, 1], grid[:, 2]))
    grid = grid[first > 0]  # q and -q have the same intensity
    vectors = grid @ reciprocal
    length = np.linalg.norm(vectors, axis=1)
    inside = length < q_max
    vectors, length = vectors[inside], length[inside]
    shell = (length / width).astype(int)
    order = rng.permutation(len(vectors))
    order = order[np.argsort(shell[order], kind="stable")]
    ranked = shell[order]
    place = np.arange(len(ranked)) - np.searchsorted(ranked, ranked)
    kept = order[place < per_shell]
    return vectors[kept], shell[kept]


def _amplitudes(positions: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Sum of exp(i q r) over positions, for every vector."""
    out = np.empty(len(vectors), dtype=complex)
    step = max(1, CHUNK // max(1, len(positions)))
    for low in range(0, len(vectors), step):
        phase = vectors[low : low + step] @ positions.T
        out[low : low + step] = np.cos(phase).sum(1) + 1j * np.sin(phase).sum(1)
    return out


@dataclass(frozen=True)
class Peak:
    """A peak of S(q): position and full width at half maximum (1/Angstrom), and its height in S."""

    position: float
    height: float
    width: float


def first_peak(q: np.ndarray, s: np.ndarray, low: float = 0.9, high: float = 2.6) -> Peak | None:
    """The first sharp diffraction peak between `low` and `high`: a Lorentzian on a constant, fitted about the maximum.

    The first maximum of at least 1 that is also half as high above 1 as the highest in the range. None without one.
    """
    inside = (q >= low) & (q <= high)
    if inside.sum() < 6:
        return None
    x, y = q[inside], s[inside]
    smooth = np.convolve(np.pad(y, 1, mode="edge"), [0.25, 0.5, 0.25], mode="valid")
    tops = [k for k in range(1, len(x) - 1) if smooth[k - 1] <= smooth[k] >= smooth[k + 1] and smooth[k] > 1]
    if not tops:
        return None
    highest = max(smooth[k] for k in tops)
    top = next(k for k in tops if smooth[k] - 1 >= 0.5 * (highest - 1))
    near = np.abs(x - x[top]) <= 0.35
    if near.sum() < 5:
        return None
    start = [x[top], max(0.1, y[top] - 0.5), 0.2, 0.5]
    try:
        best, _ = curve_fit(_lorentzian, x[near], y[near], start, bounds=([low, 0, 0.01, -1], [high, 1e3, 2, 2]))
    except RuntimeError:  # no convergence
        return None
    return Peak(float(best[0]), float(best[1] + best[3]), float(2 * best[2]))


def _lorentzian(q: np.ndarray, centre: float, height: float, half: float, base: float) -> np.ndarray:
    return base + height / (1 + ((q - centre) / half) ** 2)
