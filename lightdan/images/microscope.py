"""A synthetic microscope: films with a known Hamiltonian, and their camera images."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lightdan.simulation import films, ising

RANGE = 6
"""Range of the dipolar interaction in a film, in lattice spacings."""


def dipolar_couplings(dipolar: float, reach: int = RANGE) -> NDArray[np.float64]:
    """Return J by displacement, with 0 in the middle `(2R + 1, 2R + 1)`.

        H = −Σ_<ij> s_i s_j + D Σ_{r ≤ R} s_i s_j/r³

    Magnetic moments perpendicular to a film repel as 1/r³ at all distances. A cutoff at R = 6 is
    enough to break up the domains.

    Args:
        dipolar: Dipolar coupling D, in units of the exchange.
        reach: Largest distance R.
    """
    row, column = np.indices((2 * reach + 1,) * 2) - reach
    r = np.hypot(row, column)
    far = np.where((r > 0) & (r <= reach), r, np.inf)
    couplings: NDArray[np.float64] = (r == 1) - dipolar / far**3
    return couplings


def film(
    shape: tuple[int, int],
    temperature: float,
    num: int,
    dipolar: float = 0.0,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
    reach: int = RANGE,
) -> NDArray[np.int8]:
    """Simulate nearly independent configurations of a periodic film `(num, *shape)`.

    Without dipoles they are Ising configurations in equilibrium, by a cluster algorithm. Its spacing
    makes energy and magnetisation independent. The overlap of consecutive ones is 0.1 in size, of either
    sign, and so 0.01 in products of two spins; that of others is chance.

    With dipoles each is cooled from 2.5 T to T in 30 steps of 20 heat-bath sweeps and then held at T for
    400 sweeps.

    Args:
        shape: Rows and columns.
        temperature: Temperature T, in units of J.
        num: Number of configurations.
        dipolar: Dipolar coupling D, in units of J.
        seed: Random seed.
        progress: Callback that receives the number of new configurations.
        reach: Largest distance of the dipolar interaction.

    Raises:
        ValueError: A side is shorter than the dipoles reach around the torus.
    """
    if dipolar == 0:
        return ising.simulate(shape, temperature, num, seed=seed, progress=progress).configurations
    stencil = films.Stencil.of_pairs(dipolar_couplings(dipolar, reach))
    spins = np.empty((num, *shape), np.int8)
    for number in range(num):
        state = films.Film.disordered(stencil, shape, np.random.default_rng([seed, 1, number]))
        for factor in np.geomspace(2.5, 1.0, 30):
            state.sweep(20, temperature * factor)
        state.sweep(400, temperature)
        spins[number] = state.spins
        if progress is not None:
            progress(1)
    return spins


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
