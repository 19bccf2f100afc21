"""Large films of the network and of the explicit Hamiltonian, beside the held-out film."""

import math

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lightdan.architectures.films import draw_films, num_steps
from lightdan.checks import check_integer, check_seed
from lightdan.images.comparison import compared
from lightdan.images.film import FilmNumbers
from lightdan.images.patches import TEST
from lightdan.interactions.films import simulate_film
from lightdan.interactions.hamiltonian import ExplicitHamiltonian
from lightdan.measurements.base import Measurement
from lightdan.measurements.couplings.couplings import MEASURED
from lightdan.measurements.ensemble import Ensemble, NotMeasurable
from lightdan.measurements.figures import DATA, EXACT, MODEL, dress, legends
from lightdan.measurements.report import Result
from lightdan.measurements.table import Reference
from lightdan.progress import progress_bar
from lightdan.statistics import Bound, Estimate
from lightdan.systems.kerr_images import KerrImages

LENGTHS = ("domain_period", "correlation_length")
"""Lengths of a film, the first of which that it has is the scale of its texture."""
COMPARED = 2
"""Distance up to which C(r) is compared, in such lengths."""
SHOWN = 256
"""Largest side of a film in the figure, in sites."""
COLOURS = {"film": DATA, "network": MODEL, "hamiltonian": EXACT}


class Films(Measurement):
    """Numbers of large films of the network and of the explicit Hamiltonian.

    The network's film grows site by site, each drawn from the network's conditional given the sites
    before it (`draw_films`). If `Couplings` has been measured before, a film of its Hamiltonian is
    cooled from disorder (`simulate_film`).

    Both are measured like the held-out part of the images: area fraction, walls, widths, chords, Euler
    number, correlation length, domain period and bubbles. Errors come from tiles, and lengths are in
    the unit of the images. Estimates begin with ``network_`` and ``hamiltonian_``; the references are
    the numbers of the held-out film. ``…_correlation_max_deviation`` is the largest difference of
    C(r)/C(0) up to two periods.

    Args:
        side: Rows and columns of the films in sites.
        seed: Random seed.
        every_n_epochs: Number of epochs between measurements on validation data; by default none.
    """

    name = "films"

    def __init__(self, side: int = 512, seed: int = 0, every_n_epochs: int | None = None) -> None:
        super().__init__(every_n_epochs)
        self.side = check_integer("side", side, 2)
        self.seed = check_seed("seed", seed)

    def measure(self, ensemble: Ensemble) -> Result:
        """Draw the films and measure them."""
        system = ensemble.system
        if not isinstance(system, KerrImages):
            raise NotMeasurable(f"{type(system).__name__} has no images of films.")
        if len(system.films) > 1:
            raise NotMeasurable("The images are films at different controls, with too few patches each.")
        textures, seen = held_out(system)
        films: dict[str, NDArray[np.int16]] = {}
        notes = [f"Lengths are in {system.unit}, a site being {system.site:.4g} {system.unit}."]
        try:
            films["network"] = self.drawn(ensemble)
        except ValueError as reason:
            notes.append(f"The network has no film. {reason}")
        if (hamiltonian := ensemble.kept(MEASURED)) is not None:
            try:
                films["hamiltonian"] = self.simulated(hamiltonian, notes)
            except ValueError as reason:
                notes.append(f"The Hamiltonian has no film. {reason}")
        if not films:
            raise NotMeasurable(" ".join(notes[1:]))
        whole = {name: ([film], [np.ones(film.shape, bool)]) for name, film in films.items()}
        geometry = system.series.survey.films[0]
        numbers = {
            name: compared(
                *parts,
                geometry.lags,
                bright=geometry.bright,
                rare=geometry.rare,
                length=system.series.independence.reach + 1,
            )
            for name, parts in {"film": (textures, seen), **whole}.items()
        }
        scaled = {name: each.scaled(system.site) for name, each in numbers.items()}
        estimates: dict[str, Estimate] = {}
        reference: dict[str, Reference] = {}
        for name in films:
            estimates |= {f"{name}_{key}": estimate for key, estimate in scaled[name].items()}
            reference |= {
                f"{name}_{key}": scaled["film"][key] for key in scaled[name].keys() & scaled["film"]
            }
            deviation = f"{name}_correlation_max_deviation"
            estimates[deviation] = largest_deviation(numbers[name], numbers["film"])
            reference[deviation] = Bound(0.0, "≥")
        arrays = arrays_of(numbers, system.site)
        figure = self.figure({"film": textures[0], **films}, arrays, system)
        return Result(estimates, arrays | films, figure, reference, notes=notes)

    def drawn(self, ensemble: Ensemble) -> NDArray[np.int16]:
        """Return a film of the network `(side, side)`."""
        model, shape = ensemble.model, (self.side, self.side)
        temperature = ensemble.temperature if model.temperature_input else None
        with progress_bar("Drawing a film", num_steps(model, shape)) as advance:
            film = draw_films(model, shape, 1, self.seed, temperature, advance)
        return film[0].cpu().numpy().astype(np.int16)

    def simulated(self, hamiltonian: ExplicitHamiltonian, notes: list[str]) -> NDArray[np.int16]:
        """Return a film of the Hamiltonian `(side, side)`, and note if it was not in equilibrium."""
        with progress_bar("Simulating a film", None):
            cooled = simulate_film(hamiltonian, (self.side, self.side), self.seed)
        if not cooled.settled:
            notes.append(
                f"The energy of the Hamiltonian's film still changed, by {cooled.drift} per site, after "
                f"{cooled.sweeps} sweeps."
            )
        return cooled.spins.astype(np.int16)

    @staticmethod
    def figure(
        films: dict[str, np.ndarray], arrays: dict[str, np.ndarray], system: KerrImages
    ) -> Figure:
        """Plot squares of the films, C(r) and S(k)."""
        figure = Figure(figsize=(7.0, 4.8), layout="constrained")
        grid = figure.add_gridspec(2, 6, height_ratios=(1.2, 1))
        side = min(SHOWN, *(n for film in films.values() for n in film.shape))
        length = side * system.site
        letters = iter("abcde")
        for place, (name, film) in enumerate(films.items()):
            axes = figure.add_subplot(grid[0, 2 * place : 2 * place + 2])
            top, left = ((n - side) // 2 for n in film.shape)
            square = film[top : top + side, left : left + side]
            axes.imshow(square, cmap="gray", interpolation="nearest", extent=(0, length, length, 0))
            dress(axes, f"({next(letters)}) {name}")
            axes.set(xlabel=system.unit, yticks=[])
        curves = [figure.add_subplot(grid[1, :3]), figure.add_subplot(grid[1, 3:])]
        for name in films:
            r, k = arrays["r"], arrays["k"]
            for panel, x, y in zip(
                curves, (r, k), (f"{name}_correlation", f"{name}_structure_factor"), strict=True
            ):
                values, errors = arrays[y]
                panel.plot(x, values, lw=1, color=COLOURS[name], label=name)
                panel.fill_between(
                    x, values - errors, values + errors, color=COLOURS[name], alpha=0.3, lw=0
                )
        for panel in curves:
            dress(panel, f"({next(letters)})")
        curves[0].set(xlabel=f"$r$ ({system.unit})", ylabel="$C(r)/C(0)$")
        curves[1].set(xlabel=f"$k$ (radians/{system.unit})", ylabel="$S(k)$")
        heights = arrays["film_structure_factor"][0]
        curves[1].set_xlim(0, 3 * arrays["k"][max(1, int(heights.argmax()))])
        legends(curves[:1])
        return figure


def held_out(system: KerrImages) -> tuple[list[np.ndarray], list[NDArray[np.bool_]]]:
    """Return the images with held-out sites, and which sites of each are held out."""
    division = system.series.division
    seen = [sites & (division.role_of_sites(k) == TEST) for k, sites in enumerate(system.series.sites)]
    some = [k for k, each in enumerate(seen) if each.any()]
    return [system.textures[k] for k in some], [seen[k] for k in some]


def largest_deviation(film: FilmNumbers, reference: FilmNumbers) -> Estimate:
    """Return the largest |ΔC(r)/C(0)| up to two periods, or so many correlation lengths."""
    (c, error), (d, other) = (x.correlation / x.correlation[0, 0] for x in (film, reference))
    lengths = [reference.estimates[name].value for name in LENGTHS if name in reference.estimates]
    near = film.radii <= COMPARED * (lengths[0] if lengths else math.inf)
    worst = int(np.where(near, np.abs(c - d), 0.0).argmax())
    return Estimate(float(abs(c - d)[worst]), math.hypot(error[worst], other[worst]))


def arrays_of(numbers: dict[str, FilmNumbers], site: float) -> dict[str, np.ndarray]:
    """Return r, C(r)/C(0), k and S(k) with errors, in the unit in which a site has the side `site`."""
    arrays = {"r": numbers["film"].radii * site, "k": numbers["film"].k / site}
    for name, each in numbers.items():
        arrays[f"{name}_correlation"] = each.correlation / each.correlation[0, 0]
        arrays[f"{name}_structure_factor"] = each.structure_factor * site**2
    return arrays
