"""A distribution of directions on the unit sphere from spherical-harmonic coefficients.

p(x) = exp(-beta s(x)^2) / Z with s(x) = sum_lm a_lm Y_lm(x) and coefficients of unit sum of squares (Simm et al., ICLR
2021, arXiv 2011.12747, section 4.2). Here `sharpness` is -beta, so 10 is the paper's beta = -10. Y are the real
orthonormal harmonics of e3nn; rotating the coefficients by the Wigner matrix D(R) rotates the distribution by R.
"""

import math
from dataclasses import dataclass
from functools import cache, cached_property

import gendesign.imports.mace  # noqa: F401  quick and silent

import numpy as np
import torch
from e3nn import o3
from numpy.polynomial import legendre
from scipy.integrate import lebedev_rule
from torch import Tensor

from gendesign.errors import UserError
from gendesign.randomness import Purpose, stream

LEBEDEV = [*range(3, 32, 2), *range(35, 132, 6)]  # degrees for which scipy has a rule
ACCURACY = 1e-6  # relative, of Z
TINY = 1e-6  # added to the sum of squares: coefficients that vanish by symmetry give the uniform distribution
CELL = 0.07  # side of a cell of the sphere, radian
PROPOSALS, ROUNDS = 16, 200  # one proposal in ten is accepted at worst: all fail once in 10^140


def harmonics(vectors: Tensor, max_l: int) -> Tensor:
    """Y_lm (..., (max_l + 1)^2) of the directions of vectors (..., 3), orthonormal on the sphere; for a zero
    vector only the constant.

    Each degree is the coupled product of the one below with l = 1. The values equal those of e3nn's function, whose
    TorchScript takes a second to compile in every process.
    """
    unit = torch.nn.functional.normalize(vectors, dim=-1)
    out = [torch.full_like(unit[..., :1], math.sqrt(1 / (4 * math.pi)))]
    for matrix in _raising_matrices(max_l, unit.dtype, unit.device):
        out.append((out[-1][..., :, None] * unit[..., None, :]).flatten(-2) @ matrix)
    return torch.cat(out, -1)


@cache
def _raising_matrices(max_l: int, dtype: torch.dtype, device: torch.device) -> list[Tensor]:
    """Matrices ((2l + 1) * 3, 2l + 3) from Y_l times the unit vector to Y_(l+1), for l below max_l."""
    out = []
    for degree in range(max_l):
        matrix = o3.wigner_3j(degree, 1, degree + 1, dtype=torch.float64).flatten(0, 1)
        # fixed by the pole of e3nn's axes, y, where only m = 0 is not zero and positive
        top = math.sqrt((2 * degree + 3) / (2 * degree + 1))
        matrix = matrix * (top / matrix[3 * degree + 1, degree + 1])
        out.append(matrix.to(device, dtype))
    return out


@cache
def lebedev_degree(max_l: int, max_sharpness: float) -> int:
    """The smallest degree that integrates every exp(max_sharpness s^2) to 1e-6; raises UserError if there is none.

    Tested on the narrowest peak, s(x) proportional to sum_m Y_lm(u) Y_lm(x), at random u, for which Z is an integral
    over one angle and known exactly.
    """
    terms = (2 * np.arange(max_l + 1) + 1) / (math.sqrt(4 * math.pi) * (max_l + 1))
    nodes, weights = legendre.leggauss(400)
    top = max_sharpness * (max_l + 1) ** 2 / (4 * math.pi)  # exponent at the peak, subtracted in both integrals
    exact = 2 * math.pi * weights @ np.exp(max_sharpness * legendre.legval(nodes, terms) ** 2 - top)
    poles = stream(Purpose.LEBEDEV_TEST).normal(size=(64, 3))
    poles /= np.linalg.norm(poles, axis=1, keepdims=True)
    for degree in LEBEDEV:
        points, area = lebedev_rule(degree)
        integrals = np.exp(max_sharpness * legendre.legval(poles @ points, terms) ** 2 - top) @ area
        if np.abs(integrals / exact - 1).max() < ACCURACY:
            return degree
    raise UserError(
        f"sharpness={max_sharpness} with max_l={max_l} makes peaks too narrow for all Lebedev rules; lower one of them"
    )


@cache
def quadrature(
    max_l: int, max_sharpness: float, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Points (points, 3), weights (points,) that sum to 4 pi, and Y_lm of the points ((max_l + 1)^2, points)."""
    points, weights = (torch.as_tensor(part) for part in lebedev_rule(lebedev_degree(max_l, max_sharpness)))
    basis = harmonics(points.T, max_l).T
    return tuple(part.to(device, dtype).contiguous() for part in (points.T, weights, basis))


@dataclass(frozen=True)
class Cells:
    """The sphere divided into small rectangles of z and the angle phi about it.

    low (cells, 2) and size (cells, 2) of z and phi; log_area (cells,); basis ((max_l + 1)^2, 4 * cells): Y_lm and its
    three derivatives at the centres; radius: the largest angle between a centre and a point of its cell; curvature: the
    largest second derivative of any s along a great circle.
    """

    low: Tensor
    size: Tensor
    log_area: Tensor
    basis: Tensor
    radius: float
    curvature: float


@cache
def cells(max_l: int, dtype: torch.dtype, device: torch.device) -> Cells:
    """Cells of about CELL radian a side."""
    bands = math.ceil(math.pi / CELL)
    theta = np.linspace(0, math.pi, bands + 1)
    middle = (theta[1:] + theta[:-1]) / 2
    per_band = np.maximum(4, np.ceil(2 * math.pi * np.sin(middle) / CELL)).astype(int)
    band = np.repeat(np.arange(bands), per_band)
    width = 2 * math.pi / per_band
    phi = width[band] * (np.arange(len(band)) - (per_band.cumsum() - per_band)[band])
    centre = _point(np.cos(middle)[band], phi + width[band] / 2)
    # the corners are the points of a cell farthest from its centre
    corners = [_point(np.cos(theta[band + k]), phi) for k in (0, 1)]
    radius = max(float(np.arccos((centre * corner).sum(1)).max()) for corner in corners)
    with torch.enable_grad():
        x = torch.tensor(centre, requires_grad=True)
        value = harmonics(x, max_l)
        gradients = [torch.autograd.grad(column.sum(), x, retain_graph=True)[0] for column in value.unbind(1)]
    basis = torch.cat([value.detach()[:, :, None], torch.stack(gradients, 1)], 2)  # (cells, harmonics, 4)
    low, size = np.stack([np.cos(theta)[band + 1], phi], 1), np.stack([-np.diff(np.cos(theta))[band], width[band]], 1)
    degree = np.arange(max_l + 1)
    square = degree * (degree + 1)
    # sum_m (d^2 Y_lm)^2 is the fourth derivative of the zonal function (2l+1)/(4 pi) P_l at its pole
    curvature = math.sqrt(float(((2 * degree + 1) * square * (3 * square - 2) / 8).sum()) / (4 * math.pi))
    parts = (torch.as_tensor(part).to(device, dtype) for part in (low, size, np.log(size.prod(1))))
    return Cells(*parts, basis.permute(1, 2, 0).flatten(1).to(device, dtype), radius, curvature)


def _point(z: np.ndarray, phi: np.ndarray) -> np.ndarray:
    r = np.sqrt(1 - z * z)
    return np.stack([r * np.cos(phi), r * np.sin(phi), z], -1)


@dataclass(frozen=True)
class Directions:
    """Distributions p(x) = exp(sharpness s(x)^2) / Z on the sphere; densities are per steradian.

    coefficients (batch, (max_l + 1)^2), normalised here; sharpness a number or (batch,), from 0 to
    `max_sharpness`, for which Lebedev quadrature gives Z to 1e-6.
    """

    coefficients: Tensor
    sharpness: Tensor | float
    max_sharpness: float

    @property
    def max_l(self) -> int:
        """Largest degree of the spherical harmonics."""
        return math.isqrt(self.coefficients.shape[-1]) - 1

    @cached_property
    def unit(self) -> Tensor:
        """The coefficients with unit sum of squares (batch, (max_l + 1)^2)."""
        return self.coefficients * torch.rsqrt(self.coefficients.square().sum(-1, keepdim=True) + TINY)

    @cached_property
    def _scale(self) -> Tensor:
        scale = torch.as_tensor(self.sharpness, dtype=self.unit.dtype, device=self.unit.device)
        return scale.expand(len(self.unit))[:, None]

    @cached_property
    def _rule(self) -> tuple[Tensor, Tensor, Tensor]:
        return quadrature(self.max_l, self.max_sharpness, self.unit.dtype, self.unit.device)

    @cached_property
    def _exponents(self) -> Tensor:
        return self._scale * (self.unit @ self._rule[2]).square()

    @cached_property
    def log_z(self) -> Tensor:
        """log Z (batch,)."""
        return torch.logsumexp(self._exponents + self._rule[1].log(), 1)

    def log_prob(self, directions: Tensor) -> Tensor:
        """Log-density (batch,) of unit vectors (batch, 3)."""
        s = (harmonics(directions, self.max_l) * self.unit).sum(-1)
        return self._scale[:, 0] * s.square() - self.log_z

    def entropy(self) -> Tensor:
        """Differential entropy (batch,), by quadrature; log(4 pi) = 2.53 for the uniform distribution."""
        density = torch.exp(self._exponents - self.log_z[:, None]) * self._rule[1]
        return self.log_z - (density * self._exponents).sum(1)

    @torch.no_grad()
    def sample(self, generator: torch.Generator) -> Tensor:
        """One unit vector (batch, 3) of each, exactly, by rejection with a bound for each cell of the sphere.

        In a cell of radius r about c, |s(x)| <= |s(c)| + |grad s(c)| r + curvature r^2 / 2 (Taylor along the great
        circle; Cauchy-Schwarz for the second derivative of unit coefficients). Raises RuntimeError after ROUNDS rounds.
        """
        grid = cells(self.max_l, self.unit.dtype, self.unit.device)
        if not torch.isfinite(self.unit).all():
            raise FloatingPointError("the coefficients of a direction are not finite: the policy has diverged")
        local = (self.unit @ grid.basis).view(len(self.unit), 4, -1)
        bound = (
            local[:, 0].abs() + local[:, 1:].square().sum(1).sqrt() * grid.radius + grid.curvature * grid.radius**2 / 2
        )
        envelope = self._scale * bound.square()
        share = torch.softmax(envelope + grid.log_area, 1)
        out = torch.zeros_like(self.unit[:, :3])
        remaining = torch.arange(len(out), device=out.device)
        for _ in range(ROUNDS):
            if not len(remaining):
                return out
            cell = torch.multinomial(share[remaining], PROPOSALS, replacement=True, generator=generator)
            u = torch.rand(*cell.shape, 3, generator=generator, dtype=out.dtype, device=out.device)
            z, phi = (grid.low[cell] + grid.size[cell] * u[..., :2]).unbind(-1)
            r = (1 - z * z).clamp_min(0).sqrt()
            x = torch.stack([r * phi.cos(), r * phi.sin(), z], -1)
            s = (harmonics(x, self.max_l) * self.unit[remaining, None]).sum(-1)
            accepted = u[..., 2].log() <= self._scale[remaining] * s.square() - envelope[remaining].gather(1, cell)
            done = accepted.any(1)
            first = accepted.long().argmax(1)
            out[remaining[done]] = x[done, first[done]]
            remaining = remaining[~done]
        raise RuntimeError(
            f"{len(remaining)} directions were rejected {PROPOSALS * ROUNDS} times; this should not happen"
        )

    @torch.no_grad()
    def mode(self) -> Tensor:
        """The direction (batch, 3) of highest density: best quadrature point, then a pattern search to 1e-4 radian."""
        x = self._rule[0][self._exponents.argmax(1)]
        turns = torch.arange(8, device=x.device, dtype=x.dtype) * (math.pi / 4)
        step = 2 * math.sqrt(4 * math.pi / len(self._rule[0]))
        while step > 1e-4:
            # an axis that is not along x, from which a basis of the tangent plane is made
            axis = torch.nn.functional.one_hot(x.abs().argmin(1), 3).to(x)
            first = torch.nn.functional.normalize(torch.linalg.cross(x, axis), dim=1)
            second = torch.linalg.cross(x, first)
            ring = turns.cos()[:, None] * first[:, None] + turns.sin()[:, None] * second[:, None]
            trial = torch.nn.functional.normalize(torch.cat([x[:, None], x[:, None] + step * ring], 1), dim=-1)
            best = (harmonics(trial, self.max_l) * self.unit[:, None]).sum(-1).abs().argmax(1)
            x = trial[torch.arange(len(x), device=x.device), best]
            step *= 0.7
        return x
