"""HalfPlane: a network with the same weights at every site of a film, drawn in raster order."""

from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightdan.architectures.base import Architecture
from lightdan.lattices import groups
from lightdan.objectives import Problem
from lightdan.types import Batch, Conditions, Configurations, PerConfiguration

PATCH_SITES = 500
"""Number of sites at random places of the patches that are learned in one step."""
FILM_SITES = 1_500
"""Number of sites in the middle of squares of the film that are learned in one step."""


class HalfPlane(Architecture):
    """Network with the same weights at every site, which sees the half plane before it if it is known.

        (z_i, l_i) = Σ_{j<i} W_{i−j} f(s_j) + Σ_{j unknown} E_{i−j} / n
        h_i = g_i + tanh(c' + B g_i),    g_i = tanh(c + z_i)
        a_i = b + V h_i + l_i

    The sums go over the n sites of the rows above and to the left, up to `reach` rows and columns away.
    Sites beyond the edge of a patch or a film are unknown. All weights depend on the displacement only,
    so the network draws films of any size, and a patch is a small film.

    Each training step learns 500 sites at random places of the patches. If the system has squares of a
    film that are larger than a patch, it also learns the middles of 1,500 of them. All operations among
    z2, rotation and reflection that the system declares once its data are read change both at random,
    all squares of a step in the same way.

    Args:
        units: Number of hidden units per site in each of two layers.
        reach: Largest distance in rows and columns that a site sees; best one and a half periods.
        kwargs: Arguments of `Architecture`.

    Raises:
        ValueError: units or reach is below 1, or the lattice has more than two axes or sites per cell.

    Example:
        >>> model = HalfPlane(lattice_shape=(4, 4), units=2, reach=3)
        >>> tuple(model.sample(3, seed=0).shape)
        (3, 4, 4)
    """

    def __init__(self, units: int = 32, reach: int = 24, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.check_positive(units=units, reach=reach)
        self.units, self.reach = units, reach
        cells, basis = self.torus(2)
        if basis > 1:
            raise ValueError(f"HalfPlane needs one site per cell, not {basis}: use PixelCNN.")
        self.plane = cells[0], cells[1]
        outputs, width = self.conditional.num_parameters, 2 * reach + 1
        self.seen = reach * width + reach
        """Number of sites that a site sees, row by row."""
        scale = 0.3 / (self.seen * self.num_features) ** 0.5
        hidden = scale * torch.randn(units, self.num_features, self.seen)
        linear = torch.zeros(outputs, self.num_features, self.seen)
        self.weight = nn.Parameter(torch.cat([hidden, linear]))
        self.edge = nn.Parameter(torch.zeros(units + outputs, self.seen))
        self.bias_first = nn.Parameter(torch.zeros(units))
        self.second = nn.Linear(units, units)
        self.readout = nn.Parameter(0.3 / units**0.5 * torch.randn(outputs, units))
        self.add_bias(outputs)

    def forward(self, configurations: Configurations, conditions: Conditions | None = None) -> Tensor:
        """Return the parameters of all sites `(B, sites, parameters)`."""
        x = self.features(configurations.flatten(1), conditions).mT.unflatten(2, self.plane)
        rows, columns = (min(self.reach, side - 1) for side in self.plane)  # farther is unknown
        weight, edge = (self._kernel(w) for w in (self.weight, self.edge.unsqueeze(1)))
        near = slice(self.reach - columns, self.reach + columns + 1)
        kernel = weight[:, :, self.reach - rows :, near]
        z = F.conv2d(F.pad(x, (columns, columns, rows, 0)), kernel)
        unknown = F.pad(x.new_zeros(1, 1, *self.plane), self._rim, value=1.0)
        z = z + F.conv2d(unknown, edge) / self.seen
        return self._outputs(z.flatten(2).mT, conditions)

    def incremental(
        self, num: int, conditions: Conditions | None = None
    ) -> Generator[Tensor, Tensor, None]:
        """Yield the parameters site by site; all sites together cost about one pass."""
        x = self.weight.new_zeros(num, self.num_features, *self.plane)
        for site in range(self.num_sites):
            values = yield self._at_site(x, site, conditions).unsqueeze(1)
            row, column = divmod(site, self.plane[1])
            x[:, :, row, column] = self.features(values[:, 0], conditions)

    def at_place(self, place: int) -> Callable[[Configurations, Conditions | None], Tensor]:
        """Return a function for the parameters of one site."""

        def parameters(configurations: Configurations, conditions: Conditions | None) -> Tensor:
            x = self.features(configurations.flatten(1), conditions).mT.unflatten(2, self.plane)
            return self._at_site(x, place, conditions)

        return parameters

    def draw_films(
        self,
        shape: tuple[int, int],
        num: int,
        generator: torch.Generator,
        conditions: Conditions | None,
        progress: Callable[[int], None],
    ) -> Tensor:
        """Draw films of any size `(num, *shape)`.

        Sites on a line of slope −1/(reach + 1) do not see each other and are drawn at once.

        Args:
            shape: Rows and columns.
            num: Number of films.
            generator: Random numbers.
            conditions: Conditions of each film.
            progress: Function called with 1 after each of `num_steps`.
        """
        rows, columns = shape
        like = self.weight.detach()
        films = like.new_zeros(num, rows, columns)
        x = F.pad(like.new_zeros(num, self.num_features, rows, columns), self._rim)
        unknown = F.pad(like.new_zeros(rows, columns), self._rim, value=1.0)
        every = torch.arange(num, device=like.device)
        for step in range(self.num_steps(shape)):
            row = torch.arange(
                max(0, -((columns - 1 - step) // (self.reach + 1))),
                min(rows - 1, step // (self.reach + 1)) + 1,
                device=like.device,
            )
            places = torch.stack([row, step - (self.reach + 1) * row], 1)
            film, at = every.repeat_interleave(len(row)), places.repeat(num, 1)
            given = None if conditions is None else conditions[film]
            z = self._sums(
                self._windows(x, film, at), self._windows(unknown, None, places).repeat(num, 1)
            )
            parameters = self._outputs(z.unsqueeze(1), given)[:, 0]
            uniforms = torch.rand(len(film), generator=generator, dtype=like.dtype, device=like.device)
            values = self.sample_sites(parameters, uniforms)
            films[film, at[:, 0], at[:, 1]] = values
            inside = film, slice(None), at[:, 0] + self.reach, at[:, 1] + self.reach
            x[inside] = self.features(values, given)
            progress(1)
        return films

    def num_steps(self, shape: tuple[int, int]) -> int:
        """Return the number of steps in which a film is drawn."""
        return shape[1] + (self.reach + 1) * (shape[0] - 1)

    # Training

    def setup(self, stage: str) -> None:
        """Take the symmetries of the training batches from the data."""
        super().setup(stage)
        system = getattr(self.trainer, "datamodule", None)
        if stage != "fit" or system is None or self.reference_frame:
            return
        _ = system.data  # may refuse symmetries
        names = [name for name in ("z2", "rotation", "reflection") if name in system.symmetries]
        names += [name for name in self.augment if name not in names]
        self._augmentations = [groups.OPERATIONS[name](self.lattice) for name in names]
        square = (2 * self.reach + 1,) * 2
        self._of_squares = groups.group([name for name in names if name != "translation"], square)

    def training_step(self, batch: Batch) -> Tensor:
        """Return the mean loss of some sites of the patches and of the film around them, per patch."""
        loss = super().training_step(batch)
        seed = self._step_generator(2).initial_seed()
        system, side = self.trainer.datamodule, 2 * self.reach + 1
        squares = system.film_squares(FILM_SITES, side, seed) if self.ordering.is_raster else None
        if squares is None:
            return loss
        film = FILM_SITES / (PATCH_SITES + FILM_SITES)
        return (1 - film) * loss + film * self.film_loss(squares, batch, seed)

    def film_loss(self, squares: Tensor, batch: Batch, seed: int) -> Tensor:
        """Return −ln p of the middle sites of squares, per patch.

        Args:
            squares: Values `(squares, 2 reach + 1, 2 reach + 1)`.
            batch: Patches of the film, with its conditions.
            seed: Random seed of the symmetry operations.
        """
        squares, generator = squares.to(self.device), self._generator(seed)
        squares = self._of_squares.act(squares, self._of_squares.random_elements(1, generator)[0])
        flat = squares.flatten(1)[:, : self.seen + 1].to(batch.configurations)
        conditions = batch.conditions[:1].expand(len(flat), *batch.conditions.shape[1:])
        x = self.features(flat[:, : self.seen], conditions)
        z = x.mT.flatten(1) @ self.weight.flatten(1).T
        parameters = self._outputs(z.unsqueeze(1), conditions)[:, 0]
        return -self.num_sites * self.site_log_prob(flat[:, self.seen], parameters).mean()

    def problem(self, generator: torch.Generator) -> Problem:
        """Return what an objective sees; the bound is estimated from sites at random places."""
        problem = super().problem(generator)
        if self.reference_frame or not self.training:
            return problem

        def some_sites(configurations: Tensor, conditions: Tensor) -> PerConfiguration:
            elements = self.group.random_elements(len(configurations), generator)
            return self.some_log_prob(self.group.act(configurations, elements), conditions, generator)

        return replace(problem, log_prob_bound=some_sites)

    def some_log_prob(
        self, configurations: Configurations, conditions: Conditions | None, generator: torch.Generator
    ) -> PerConfiguration:
        """Return an estimate of ln p before symmetrisation `(B,)` from sites at random places."""
        s = self.ordering.arrange(configurations)
        number = min(self.num_sites, max(1, PATCH_SITES // len(s)))
        order = torch.rand(len(s), self.num_sites, generator=generator, device=s.device)
        sites = order.topk(number).indices.flatten()
        rows = torch.arange(len(s), device=s.device).repeat_interleave(number)
        x = self.features(s.flatten(1), conditions).mT.unflatten(2, self.plane)
        places = torch.stack([sites // self.plane[1], sites % self.plane[1]], 1)
        parameters = self._at(x, rows, places, conditions)
        terms = self.site_log_prob(s.flatten(1)[rows, sites], parameters)
        return self.num_sites * terms.unflatten(0, (-1, number)).mean(1)

    # Parts

    @property
    def _rim(self) -> tuple[int, int, int, int]:
        """Columns and rows that are added around a plane."""
        return self.reach, self.reach, self.reach, 0

    def _kernel(self, weight: Tensor) -> Tensor:
        """Return the weights of a convolution `(channels, features, reach + 1, 2 reach + 1)`."""
        return F.pad(weight, (0, self.reach + 1)).unflatten(-1, (self.reach + 1, 2 * self.reach + 1))

    def _windows(self, padded: Tensor, rows: Tensor | None, places: Tensor) -> Tensor:
        """Return what sites see `(places, [features,] seen)` in padded planes.

        Args:
            padded: Planes with a rim `(B, features, rows, columns)`, or one `(rows, columns)`.
            rows: Plane of each site, None for one.
            places: Row and column of each site `(places, 2)`.
        """
        height, width = self.reach + 1, 2 * self.reach + 1
        windows = padded.unfold(-2, height, 1).unfold(-2, width, 1)
        row, column = places.T
        found = windows[row, column] if rows is None else windows[rows, :, row, column]
        return found.flatten(-2)[..., : self.seen]

    def _sums(self, seen: Tensor, unknown: Tensor) -> Tensor:
        """Return z and l of sites `(places, channels)` from what they see."""
        return seen.flatten(1) @ self.weight.flatten(1).T + unknown @ self.edge.T / self.seen

    def _at(self, x: Tensor, rows: Tensor, places: Tensor, conditions: Conditions | None) -> Tensor:
        """Return the parameters `(places, parameters)` of single sites of planes x."""
        unknown = F.pad(x.new_zeros(self.plane), self._rim, value=1.0)
        seen = self._windows(F.pad(x, self._rim), rows, places)
        z = self._sums(seen, self._windows(unknown, None, places))
        return self._outputs(z.unsqueeze(1), None if conditions is None else conditions[rows])[:, 0]

    def _at_site(self, x: Tensor, site: int, conditions: Conditions | None) -> Tensor:
        """Return the parameters `(B, parameters)` of one site of planes x, from known sites alone."""
        row, column = divmod(site, self.plane[1])
        top, left = max(0, row - self.reach), max(0, column - self.reach)
        seen = x[:, :, top : row + 1, left : column + self.reach + 1]
        near = slice(self.reach - column + left, self.reach - column + left + seen.shape[3])
        weight, edge = (self._kernel(w) for w in (self.weight, self.edge))
        weight, known = (w[..., self.reach - row + top :, near].flatten(1) for w in (weight, edge))
        unknown = (edge.flatten(1).sum(1) - known.sum(1)) / self.seen
        z = seen.flatten(1) @ weight.T + unknown
        return self._outputs(z.unsqueeze(1), conditions)[:, 0]

    def _outputs(self, z: Tensor, conditions: Conditions | None) -> Tensor:
        """Return the parameters `(B, sites, parameters)` from z and l `(B, sites, channels)`."""
        hidden = torch.tanh(z[..., : self.units] + self.bias_first)
        hidden = hidden + torch.tanh(self.second(hidden))
        bias = self.biases(len(z), conditions).unsqueeze(1)
        return bias + hidden @ self.readout.T + z[..., self.units :]
