"""Images of films with a known Hamiltonian, by a synthetic microscope."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lightdan.checks import SMALLEST, check_number
from lightdan.data.cache import warn
from lightdan.data.files import locked, whole_file
from lightdan.data.samples import Samples
from lightdan.images.extras import extra
from lightdan.images.microscope import Microscope, film
from lightdan.lattices.shapes import check_shape
from lightdan.progress import progress_bar
from lightdan.systems.kerr_images import WIDEST, KerrImages

SMALLEST_FILM = 8
"""Smallest side of a film in spins."""


class SyntheticKerrImages(KerrImages):
    """Synthetic microscope images of periodic films in equilibrium at T.

        H = −Σ_<ij> s_i s_j + D Σ_{r ≤ 6} s_i s_j/r³

    A spin is 4 × 4 pixels. The images are written to the cache as pages of one TIFF file, and read like
    any others.

    Args:
        film: Rows and columns of spins.
        num_images: Number of films.
        dipolar: Dipolar coupling D in units of J; stripes appear at D = 0.6 and T = 1.
        contrast: Relative difference in brightness between up and down.
        blur: Standard deviation of the point spread function in pixels.
        photons: Mean number of electrons in a pixel, with shot noise; 0 is no noise.
        gradient: Relative change of the illumination across an image.
        drift: Standard deviation of the film's shift from image to image in pixels.
        scale_bar: Whether to draw a white scale bar.
        temperature: Temperature T in units of J.
        site_size: Side of a site in pixels.
        kwargs: Further arguments of `KerrImages`.
    """

    def __init__(
        self,
        film: tuple[int, int] = (128, 168),
        num_images: int = 135,
        dipolar: float = 0.0,
        contrast: float = 0.2,
        blur: float = 1.0,
        photons: float = 2_000.0,
        gradient: float = 0.3,
        drift: float = 0.0,
        scale_bar: bool = False,
        temperature: float = 2.5,
        site_size: float = 4.0,
        **kwargs: Any,
    ) -> None:
        extra("tifffile")
        super().__init__(
            path="", temperature=temperature, num_images=num_images, site_size=site_size, **kwargs
        )
        if min(check_shape(film, "film")) < SMALLEST_FILM:
            raise ValueError(f"film must have sides of at least {SMALLEST_FILM} spins, not {film}.")
        self.film, self.dipolar = film, check_number("dipolar", dipolar)
        check_number("contrast", contrast, SMALLEST, 2)
        check_number("blur", blur, 0, WIDEST)
        check_number("photons", photons, 0)
        check_number("gradient", gradient, -1, 1)
        check_number("drift", drift, 0)
        self.microscope = Microscope(
            contrast=contrast,
            blur=blur,
            photons=photons,
            gradient=gradient,
            drift=drift,
            scale_bar=scale_bar,
        )
        key = [film, self.temperatures, num_images, dipolar, self.seed, asdict(self.microscope)]
        name = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]
        self.path = str(self.cache_dir / f"kerr-images-{name}.tif")

    def prepare_data(self) -> None:
        """Simulate the films and write their images, unless they are in the cache.

        They are in a temporary directory if the cache cannot be written.
        """
        if Path(self.path).exists():
            return
        try:
            self.cache_dir.mkdir(parents=True, exist_ok=True)
            with locked(Path(f"{self.path}.lock")):
                if not Path(self.path).exists():
                    self._write()
        except OSError as error:
            warn(self.cache_dir, error)
            self._folder = TemporaryDirectory()
            self.path = str(Path(self._folder.name, Path(self.path).name))
            self._write()

    def _write(self) -> None:
        rows, columns = self.film
        number, temperature = self.num_images or 1, self.temperatures[0]
        with progress_bar(f"Simulating films of {rows} × {columns}", number) as advance:
            films = film(self.film, temperature, number, self.dipolar, self.seed, advance)
        with whole_file(Path(self.path)) as temporary, extra("tifffile").TiffWriter(temporary) as tiff:
            for image in self.microscope.images(films, self.seed):
                tiff.write(image, contiguous=True)

    def load(self) -> Samples:
        """Return the patches of the images, written first if they are missing."""
        self.prepare_data()
        return super().load()
