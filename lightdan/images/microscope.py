"""A synthetic microscope: films with a known Hamiltonian, and their camera images."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lightdan.simulation import ising, terms
from lightdan.simulation.heat_bath import sweep

RANGE = 6.0
"""Range of the dipolar interaction in a film, in lattice spacings."""


def dipolar_pairs(shape: tuple[int, int], dipolar: float) -> list[tuple[NDArray[np.intp], float]]:
    """Return the pairs of a film on a torus, with their couplings J.

        H = −Σ_<ij> s_i s_j + D Σ_{r ≤ 6} s_i s_j/r³

    Magnetic moments perpendicular to a film repel as 1/r³ at all distances. A cutoff at r = 6 is
    enough to break up the domains.

    Args:
        shape: Rows and columns.
        dipolar: Dipolar coupling D, in units of the exchange.
    """
    sites = np.arange(shape[0] * shape[1]).reshape(shape)
    reach = int(RANGE)
    terms = []
    for row in range(reach + 1):
        for column in range(-reach, reach + 1):
            r = np.hypot(row, column)
            if not 0 < r <= RANGE or (row == 0 and column < 0):
                continue
            pairs = np.stack([sites.ravel(), np.roll(sites, (-row, -column), (0, 1)).ravel()], axis=1)
            coupling = (1.0 if r == 1 else 0.0) - dipolar / r**3
            if coupling:
                terms.append((pairs, coupling))
    return terms


def film(
    shape: tuple[int, int],
    temperature: float,
    num: int,
    dipolar: float = 0.0,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> NDArray[np.int8]:
    """Simulate nearly independent configurations of a periodic film `(num, *shape)`.

    Without dipoles they are Ising configurations in equilibrium, by a cluster algorithm. With dipoles
    each is cooled from 2.5 T to T in 30 steps of 20 heat-bath sweeps and then held at T for 400 sweeps.

    Args:
        shape: Rows and columns.
        temperature: Temperature T, in units of J.
        num: Number of configurations.
        dipolar: Dipolar coupling D, in units of J.
        seed: Random seed.
        progress: Callback that receives the number of new configurations.
    """
    if dipolar == 0:
        return ising.simulate(shape, temperature, num, seed=seed, progress=progress).configurations
    groups = [terms.Terms(sites, (1, 1), j) for sites, j in dipolar_pairs(shape, dipolar)]
    interactions = terms.gather("spin", shape[0] * shape[1], groups)
    rng = np.random.default_rng([seed, 1])
    spins = rng.choice(np.array([-1, 1], np.int8), (num, shape[0] * shape[1]))
    for start in range(0, num, 8):
        part = spins[start : start + 8]
        for step, factor in enumerate([*np.geomspace(2.5, 1.0, 30), *[1.0] * 20]):
            at = np.full(len(part), temperature * factor)
            sweep(part, interactions, at, 20, seed * 1_000_003 + start * 100 + step)
        if progress is not None:
            progress(len(part))
    return spins.reshape(num, *shape)


@dataclass(frozen=True)
class Microscope:
    """Optics and camera of a microscope that makes 16-bit images of films.

    Args:
        pixels_per_site: Number of camera pixels along each side of a site.
        contrast: Relative difference in brightness between up and down.
        blur: Standard deviation of the point spread function, in pixels.
        photons: Mean number of photoelectrons per pixel; its square root is the noise, and 0 means none.
        gradient: Relative change of the illumination across the image.
        drift: Standard deviation of the shift of the film between images, in pixels.
        scale_bar: Whether the images have a white scale bar.
        wall: Width δ of a domain wall in pixels, with m_z = tanh(2 x/δ) at the distance x.
        dirt: Number of dark specks of 2 to 5 pixels' radius, at the same places in all images.
    """

    pixels_per_site: int = 4
    contrast: float = 0.2
    blur: float = 1.0
    photons: float = 2_000.0
    gradient: float = 0.3
    drift: float = 0.0
    scale_bar: bool = False
    wall: float = 0.0
    dirt: int = 0

    def images(self, films: NDArray[np.int8], seed: int = 0) -> Iterator[NDArray[np.uint16]]:
        """Yield one image of each periodic film."""
        rng = np.random.default_rng([seed, 2])
        place = np.zeros(2)
        n = self.pixels_per_site
        for spins in films:
            moment = np.repeat(np.repeat(spins, n, 0), n, 1).astype(np.float64)
            light = 1 + self.contrast / 2 * self._with_walls(moment)
            light = np.roll(light, np.rint(place).astype(int), (0, 1))
            place = place + self.drift * rng.normal(size=2)
            if self.blur:
                light = ndimage.gaussian_filter(light, self.blur, mode="wrap")
            y, x = (np.linspace(-1, 1, side) for side in light.shape)
            light *= 1 + self.gradient / 2 * (x + 0.5 * y[:, None] - 0.5 * x**2)
            light *= self._specks(light.shape, seed)
            if self.photons:
                light = rng.poisson(self.photons * light) / self.photons
            image = np.clip(20_000 * light, 0, 65_535).astype(np.uint16)
            if self.scale_bar:
                high, wide = light.shape
                image[int(0.92 * high) : int(0.95 * high), int(0.75 * wide) : int(0.95 * wide)] = 65_535
            yield image

    def _with_walls(self, moment: NDArray[np.float64]) -> NDArray[np.float64]:
        if self.wall == 0 or np.ptp(moment) == 0:
            return moment
        rim = min(*moment.shape, int(np.ceil(3 * self.wall)))
        up = np.pad(moment, rim, mode="wrap") > 0
        # The wall is between two pixels, half a pixel from the centre of each.
        inside, outside = (ndimage.distance_transform_edt(x) - 0.5 for x in (up, ~up))
        distance = np.where(up, inside, -outside)[rim:-rim, rim:-rim]
        profile: NDArray[np.float64] = np.tanh(2 * distance / self.wall)
        return profile

    def _specks(self, shape: tuple[int, ...], seed: int) -> NDArray[np.float64]:
        rng = np.random.default_rng([seed, 3])
        light = np.ones(shape)
        y, x = np.indices(shape)
        for _ in range(self.dirt):
            row, column = rng.uniform(size=2) * shape
            light[(y - row) ** 2 + (x - column) ** 2 < rng.uniform(2, 5) ** 2] = 0.6
        return light
