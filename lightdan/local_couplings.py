"""Couplings from local conditionals: logistic regression of spins, or of what a network says of them."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lightdan.spin_hamiltonian import Operator
from lightdan.types import Configurations

CHUNK = 1_000
"""Configurations at a time."""
UNDETERMINED = (
    "The configurations leave a coupling undetermined, for instance where a spin never changes: give "
    "more of them, or fewer operators."
)


def uniform_operators(
    shape: Sequence[int], boundary: str, symmetries: Sequence[str], max_distance: float
) -> list[Operator]:
    """Field, pairs up to a distance, each class of displacements alike, and plaquettes.

    Displacements that a rotation or a reflection maps onto each other are one class, where the system
    declares these. On a periodic lattice distances are those on the torus.

    Args:
        shape: Numbers of sites along the axes.
        boundary: ``periodic`` or ``open``.
        symmetries: Of the system.
        max_distance: Largest distance of a pair.
    """
    sites = np.arange(np.prod(shape)).reshape(shape)
    places = np.stack(np.unravel_index(sites.ravel(), tuple(shape)), axis=1)
    sides = np.array(shape)

    def shifted(step: Sequence[int]) -> np.ndarray:
        """Sites and those displaced from them by a step `(terms, 2)`, where there are such."""
        moved = places + np.array(step)
        inside = ((moved >= 0) & (moved < sides)).all(axis=1)
        if boundary == "periodic":
            moved, inside = moved % sides, np.ones(len(moved), bool)
        return np.stack([sites.ravel()[inside], sites[tuple(moved[inside].T)]], axis=1)

    # On a rectangle the rotation is that by 180°, which tells no two bonds apart.
    turns = "rotation" in symmetries and len(set(shape)) < len(shape)
    mirrors = "reflection" in symmetries
    classes: dict[tuple[int, ...], list[np.ndarray]] = {}
    reach = [min(int(max_distance), side // 2 if boundary == "periodic" else side - 1) for side in shape]
    for step in np.ndindex(*(2 * r + 1 for r in reach)):
        displacement = [int(x) - r for x, r in zip(step, reach, strict=True)]
        if 0 < np.linalg.norm(displacement) <= max_distance:
            classes.setdefault(_class(displacement, turns, mirrors), []).append(shifted(displacement))
    operators = [Operator("field", sites.reshape(-1, 1))]
    for name in sorted(classes, key=lambda step: (np.linalg.norm(step), step)):
        pairs = np.sort(np.concatenate(classes[name]), axis=1)
        pairs = np.unique(pairs[pairs[:, 0] != pairs[:, 1]], axis=0)
        operators.append(Operator(f"pair {name}", pairs))
    if len(shape) == 2 and min(shape) > 2:
        right, down = ({int(i): int(j) for i, j in shifted(step)} for step in ((0, 1), (1, 0)))
        corners = [
            [i, right[i], down[i], down[right[i]]]
            for i in sites.ravel().tolist()
            if i in right and i in down and right[i] in down
        ]
        operators.append(Operator("plaquette", np.array(corners)))
    return operators


def _class(displacement: Sequence[int], turns: bool, mirrors: bool) -> tuple[int, ...]:
    """That which stands for all that symmetries, or the exchange of the two sites, make of it."""
    images = {tuple(displacement)}
    if mirrors:
        images |= {tuple(abs(x) for x in displacement)}
    if turns:
        images |= {(y, -x) for x, y in images} | {(y, x) for x, y in images if mirrors}
    images |= {tuple(-x for x in image) for image in images}
    return max(images)


class LocalFields:
    """x_ia = ∂O_a/∂s_i, so that p(s_i | all others) = σ(2 s_i Σ_a βJ_a x_ia).

    Args:
        operators: The O_a.
        num_sites: N.
        device: Where to compute.
    """

    def __init__(
        self, operators: Sequence[Operator], num_sites: int, device: torch.device | None = None
    ) -> None:
        self.operators, self.num_sites = operators, num_sites
        self.neighbours: dict[int, Tensor] = {}
        self.sites = [torch.as_tensor(operator.sites, device=device) for operator in operators]
        for index, sites in enumerate(self.sites):
            if sites.shape[1] == 2:
                matrix = torch.zeros(num_sites, num_sites, dtype=torch.float64, device=device)
                matrix.index_put_((sites[:, 0], sites[:, 1]), matrix.new_ones(()), accumulate=True)
                self.neighbours[index] = matrix + matrix.T

    def __call__(self, configurations: Configurations) -> Tensor:
        """X of configurations `(B, *lattice)`: `(B, N, operators)`."""
        flat = configurations.flatten(1).double()
        columns = []
        for index, sites in enumerate(self.sites):
            if index in self.neighbours:
                columns.append(flat @ self.neighbours[index])
                continue
            spins, field = flat[:, sites], torch.zeros_like(flat)
            for place in range(sites.shape[1]):
                others = [k for k in range(sites.shape[1]) if k != place]
                field.index_add_(1, sites[:, place], spins[:, :, others].prod(2))
            columns.append(field)
        return torch.stack(columns, dim=2)


class Fit(NamedTuple):
    """Couplings βJ, and what each configuration adds to them.

    Args:
        couplings: βJ `(operators,)`.
        influence: Of each configuration on them `(M, operators)`; the covariance is that of its mean.
    """

    couplings: np.ndarray
    influence: np.ndarray

    @property
    def covariance(self) -> np.ndarray:
        """Of the couplings `(operators, operators)`, whatever the true distribution."""
        num, parameters = self.influence.shape
        covariance: np.ndarray = np.cov(self.influence.T).reshape(parameters, parameters) / num
        return covariance


def fit(
    fields: LocalFields,
    configurations: Configurations,
    targets: Tensor | None = None,
    offset: Tensor | None = None,
    initial: np.ndarray | None = None,
    progress: Callable[[int], None] = lambda n: None,
) -> Fit:
    """The βJ that maximise Σ_{s,i} [t ln σ(z) + (1 − t) ln σ(−z)], z_i = h_i + 2 Σ_a βJ_a x_ia.

    Newton's method. With the spins themselves for targets, t_i = (1 + s_i)/2, and no offset h this is
    the maximum of the pseudo-likelihood. With t_i = p_θ(s_i = 1 | all others) it is the projection of
    a network on the operators: of all Hamiltonians made of them that with the smallest mean divergence
    of the local conditionals. A configuration weighs most where a spin is undecided, unlike in least
    squares of the energy differences, which is ruled by rare flips that a network knows least. Standard
    errors are those of the sandwich, each configuration being one independent observation.

    Args:
        fields: x of the operators.
        configurations: s `(M, *lattice)`.
        targets: t `(M, N)`; by default of the spins.
        offset: h `(M, N)`.
        initial: βJ to begin with; by default 0.
        progress: Told how many more configurations are passed.

    Raises:
        ValueError: the data leave a coupling undetermined.

    Source: J. Besag, The Statistician 24, 179 (1975).
    """
    num = len(configurations)
    parameters = len(fields.operators)
    couplings = torch.zeros(parameters, dtype=torch.float64, device=configurations.device)
    if initial is not None:
        couplings += torch.as_tensor(initial, device=configurations.device)
    for _ in range(30):
        gradient = torch.zeros_like(couplings)
        curvature = torch.zeros(parameters, parameters, dtype=torch.float64, device=couplings.device)
        scores = []
        for start in range(0, num, CHUNK):
            part = configurations[start : start + CHUNK]
            rows = slice(start, start + len(part))
            x = 2 * fields(part)
            z = x @ couplings
            if offset is not None:
                z = z + offset[rows]
            p = torch.sigmoid(z)
            t = (part.flatten(1) > 0).double() if targets is None else targets[rows]
            score = torch.einsum("bia,bi->ba", x, t - p)
            weighted = (x * (p * (1 - p)).unsqueeze(2)).flatten(0, 1)
            curvature += weighted.T @ x.flatten(0, 1)
            gradient += score.sum(0)
            scores.append(score)
            progress(len(part))
        try:
            step = torch.linalg.solve(curvature, gradient)
        except RuntimeError as error:
            raise ValueError(UNDETERMINED) from error
        # From far away Newton's method may overshoot to where all conditionals are certain.
        couplings += step / max(1.0, 2.0 * step.abs().max().item())
        if step.abs().max() < 1e-7:
            break
    else:
        raise ValueError(UNDETERMINED)
    influence = num * torch.linalg.solve(curvature, torch.cat(scores).T).T
    return Fit(couplings.cpu().numpy(), influence.cpu().numpy())
