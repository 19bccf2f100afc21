"""Exact thermodynamics of discrete levels on small tori in any dimension, layer by layer."""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from lightdan.checks import check_temperatures
from lightdan.simulation.levels import Levels
from lightdan.simulation.thermodynamics import Thermodynamics

Array = NDArray[np.float64]

MAX_STATES = 2**16
"""Largest number of states of a layer."""
BLOCK = 16
"""Largest number of states of the sites of a layer that are transferred at a time."""
MAX_VALUES = 10**8
"""Largest number of values that `solved` transfers, in about ten seconds."""
VALUES = 2**20
"""Number of values of the states that are transferred together."""


def thermodynamics(levels: Levels, shape: Sequence[int], temperature: float) -> Thermodynamics:
    """Compute the exact thermodynamics of discrete levels on a torus.

    Let a layer r be the configuration of all axes but the longest, of length M. With the energy E_r of
    the bonds and levels in the layer and the bonds E_rs between two layers::

        Z = Tr T^M = Σ_r |T^{M/2} e_r|²,   T_rs = e^{−β(E_r/2 + E_rs + E_s/2)}

    One layer r of each orbit under the symmetries of layer and levels is enough. T is a product over
    sites, and is never written out. Energy and specific heat come from the first two derivatives of
    the same sums in β.

    Args:
        levels: Hamiltonian.
        shape: Side lengths in any number of dimensions. A side of length 2 has each of its bonds twice,
            a side of length 1 has none.
        temperature: Temperature T, in units of the couplings (k_B = 1).

    Raises:
        ValueError: An argument is out of its range, or a layer has more than `MAX_STATES` states.

    Example:
        >>> from lightdan.simulation.levels import potts
        >>> round(thermodynamics(potts(3), (4, 4), 0.9949729).log_partition, 6)
        34.172607
    """
    check_temperatures(temperature)
    if not shape or min(shape) < 1:
        raise ValueError(f"shape must be positive side lengths, not {tuple(shape)}.")
    q = len(levels.single)
    *sides, length = sorted(side for side in (1, *shape) if side > 1) or [1]
    num_sites = math.prod(sides)
    if num_sites * math.log(q) > math.log(MAX_STATES) + 1e-9:
        raise ValueError(
            f"A layer of {' × '.join(map(str, sides))} sites with {q} levels has more than "
            f"{MAX_STATES:,} states: use shorter sides."
        )
    layer = _layer_energies(levels, sides)
    exponents = (levels.coupling if length > 1 else 0.0) * levels.product
    ground = float(length * (layer.min() - num_sites * exponents.max()))
    log_z, first, second = _log_trace(
        layer - layer.min(),
        exponents - exponents.max(),
        _orbits(levels, sides),
        length,
        temperature,
    )
    log_partition = log_z - ground / temperature
    return Thermodynamics(
        log_partition=log_partition,
        free_energy=-temperature * log_partition,
        energy=ground - first,
        specific_heat=second / temperature**2,
        entropy=log_z - first / temperature,
    )


@lru_cache(maxsize=128)
def solved(
    model: Callable[..., Levels],
    arguments: tuple[float, ...],
    shape: tuple[int, ...],
    temperature: float,
) -> Thermodynamics | None:
    """Return the thermodynamics of a model on a torus, or None if it would take more than seconds.

    Args:
        model: Function that returns the Hamiltonian, such as `levels.potts`.
        arguments: Its arguments.
        shape: Side lengths.
        temperature: Temperature T.
    """
    levels = model(*arguments)
    *sides, length = sorted(shape)
    if math.prod(sides) * math.log(len(levels.single)) > math.log(MAX_STATES) + 1e-9:
        return None
    first, sizes = _orbits(levels, sides)
    if len(first) * int(sizes.sum()) * (length // 2) > MAX_VALUES:
        return None
    try:
        return thermodynamics(levels, shape, temperature)
    except ValueError:
        return None  # all weights underflow at this temperature


def _layer_energies(levels: Levels, sides: Sequence[int]) -> Array:
    """Return the energy of each state of a layer `(q^n,)`, the last site running fastest."""
    q, num_sites = len(levels.single), math.prod(sides)
    sites = np.arange(num_sites).reshape(sides)
    energies = np.zeros((q,) * num_sites)
    for site in range(num_sites):
        energies += levels.single.reshape([q if k == site else 1 for k in range(num_sites)])
    for axis in range(len(sides)):
        for i, j in zip(sites.ravel(), np.roll(sites, -1, axis).ravel(), strict=True):
            shape = [q if k in (i, j) else 1 for k in range(num_sites)]
            energies -= levels.coupling * levels.product.reshape(shape)
    return energies.ravel()


def _orbits(levels: Levels, sides: Sequence[int]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return one state of each orbit of the symmetries of a layer, and the sizes of the orbits."""
    q, num_sites = len(levels.single), math.prod(sides)
    sites = np.arange(num_sites).reshape(sides)
    states = np.arange(q**num_sites).reshape((q,) * num_sites)
    moved = [np.roll(sites, 1, axis) for axis in range(len(sides))]
    moved += [np.flip(sites, axis) for axis in range(len(sides))]
    equal = [axis for axis in range(1, len(sides)) if sides[axis - 1] == sides[axis]]
    moved += [np.swapaxes(sites, axis - 1, axis) for axis in equal]
    images = [states.transpose(places.ravel()) for places in moved]
    images += [states[np.ix_(*[reflection] * num_sites)] for reflection in levels.reflections]
    if not images:
        return states.ravel(), np.ones(states.size, np.intp)
    ends = np.concatenate([image.ravel() for image in images])
    starts = np.tile(states.ravel(), len(images))
    graph = coo_array((np.ones(len(ends), np.int8), (starts, ends)), (states.size, states.size))
    _, label = connected_components(graph, directed=False)
    _, first, sizes = np.unique(label, return_index=True, return_counts=True)
    return first, sizes


def _log_trace(
    layer: Array,
    exponents: Array,
    orbits: tuple[NDArray[np.intp], NDArray[np.intp]],
    length: int,
    temperature: float,
) -> tuple[float, float, float]:
    """Return ln Tr T^M and its first two derivatives in β.

    Args:
        layer: Energy E_r of each state of a layer.
        exponents: Energy −E_ab of a bond between layers `(q, q)`.
        orbits: One state of each orbit, and the sizes of the orbits.
        length: Number M of layers.
        temperature: Temperature T.
    """
    half_layer = _taylor(-layer / 2, temperature)[..., None]
    matrices = [_toeplitz(_taylor(x, temperature)) for x in _blocks(exponents, len(layer))]

    def transfer(vectors: Array, logs: Array) -> tuple[Array, Array]:
        vectors = _product(vectors, half_layer)
        for matrix in matrices:
            # The sites of a block move from the front to the end, so that the next block is in front.
            size = len(matrix) // 3
            moved = (matrix @ vectors.reshape(3 * size, -1)).reshape(3, size, -1, vectors.shape[2])
            vectors = moved.transpose(0, 2, 1, 3).reshape(vectors.shape)
        vectors = _product(vectors, half_layer)
        scale = vectors[0].max(axis=0)
        scale[scale == 0.0] = 1.0  # less than the smallest number
        return vectors / scale, logs + np.log(scale)

    logs, jets = [], []
    representatives, sizes = orbits
    batch = max(1, VALUES // len(layer))
    for start in range(0, len(representatives), batch):
        chosen = representatives[start : start + batch]
        between = _between(exponents, len(layer), chosen)
        column = between - (layer[:, None] + layer[chosen]) / 2
        top = column.max(axis=0)
        left, left_logs = _taylor(column, temperature, top), top / temperature
        if length == 1:
            jets.append(left[:, chosen, np.arange(len(chosen))])
            logs.append(left_logs)
            continue
        for _ in range(length // 2 - 1):
            left, left_logs = transfer(left, left_logs)
        right, right_logs = transfer(left, left_logs) if length % 2 else (left, left_logs)
        jets.append(_product(left, right).sum(axis=1))
        logs.append(left_logs + right_logs)
    exponent = np.concatenate(logs) + np.log(sizes)
    greatest = exponent.max()
    z, first, half_second = (np.concatenate(jets, axis=1) * np.exp(exponent - greatest)).sum(axis=1)
    if z == 0.0:
        raise ValueError(
            f"temperature {temperature:g} is too low for double precision: use a higher one."
        )
    log_z = float(np.log(z) + greatest)
    return log_z, float(first / z), float(2 * half_second / z - (first / z) ** 2)


def _between(exponents: Array, num_states: int, chosen: NDArray[np.intp]) -> Array:
    """Return −E_rs of the bonds from all states of a layer to the chosen ones `(states, chosen)`."""
    total = np.zeros((1, len(chosen)))
    below = num_states
    while below > 1:
        below //= len(exponents)
        level = chosen // below % len(exponents)
        total = (total[:, None] + exponents[:, level]).reshape(-1, len(chosen))
    return total


def _blocks(exponents: Array, num_states: int) -> Iterator[Array]:
    """Yield −E of the bonds between two layers, for one block of sites after another."""
    q = len(exponents)
    left = round(math.log(num_states, q))
    while left:
        size = min(left, max(1, int(math.log(BLOCK, q) + 1e-9)))
        block = np.zeros((1, 1))
        for _ in range(size):
            block = np.add.outer(block, exponents).transpose(0, 2, 1, 3).reshape(len(block) * q, -1)
        yield block
        left -= size


def _taylor(exponents: Array, temperature: float, top: Array | float = 0.0) -> Array:
    """Return the Taylor coefficients of e^{βx} in β of order 0, 1 and 2, over e^{top/T} `(3, …)`."""
    values = np.exp((exponents - top) / temperature)
    return values * np.stack([exponents**0, exponents, exponents**2 / 2])


def _toeplitz(coefficients: Array) -> Array:
    """Return the matrix `(3n, 3m)` that multiplies Taylor coefficients by others `(3, n, m)`."""
    zero = np.zeros_like(coefficients[0])
    padded = [zero, zero, *coefficients]
    return np.block([[padded[2 + row - column] for column in range(3)] for row in range(3)])


def _product(a: Array, b: Array) -> Array:
    """Return the Taylor coefficients of a product `(3, …)`."""
    return np.stack([sum(a[k] * b[n - k] for k in range(n + 1)) for n in range(3)])
