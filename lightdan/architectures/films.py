"""Films of any size, drawn from a network of patches."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import cache

import torch
from torch import Tensor

from lightdan.architectures.base import Architecture
from lightdan.architectures.half_plane import HalfPlane
from lightdan.lattices import groups


@torch.no_grad()
def draw_films(
    model: Architecture,
    shape: Sequence[int],
    num: int = 1,
    seed: int = 0,
    temperature: float | None = None,
    progress: Callable[[int], None] = lambda n: None,
) -> Tensor:
    """Draw films `(num, *shape)` that are larger than the patches of the network.

        p(film) = Π_x p(s_x | the sites of a patch around x that precede it)

    Sites are drawn in raster order, each from the network's own conditional. In its patch, x is in the
    last row and in the middle column; near an edge of the film the patch is moved inside. A film of
    the size of a patch therefore has exactly the distribution of the network. The patches of a larger
    film have it as far as the conditionals at different places of a patch are those of one film.
    `HalfPlane` sees the film itself instead, as far as its reach.

    If the network averages over symmetries, each whole film is changed by a random one.

    Sites on a line of slope −1/columns of a patch do not see each other and are drawn at once.

    Args:
        model: Network of patches of a plane, in raster order.
        shape: Rows and columns of the film, at least those of a patch.
        num: Number of films.
        seed: Random seed.
        temperature: T, for a network with temperature input.
        progress: Function called with 1 after each of `num_steps`.

    Raises:
        ValueError: The network has no plane in raster order or measures angles from the first one, or
            the film is smaller than a patch.
    """
    if len(model.lattice_shape) != 2 or not model.ordering.is_raster or model.reference_frame:
        raise ValueError(
            "Films are drawn from a network of plane patches in raster order: set model.ordering to "
            "raster and model.reference_frame to false."
        )
    (height, width), (rows, columns) = model.lattice_shape, shape
    if rows < height or columns < width:
        raise ValueError(
            f"A film of {rows} × {columns} sites is smaller than a patch of {height} × {width}: draw a "
            "larger one."
        )
    conditions = model.conditions(num, temperature)
    device, generator = model.device, torch.Generator(model.device).manual_seed(seed)
    if isinstance(model, HalfPlane):
        films = model.draw_films((rows, columns), num, generator, conditions, progress)
        return _turned(model, films, generator)
    like, some_value = next(model.parameters()), float(model.levels[0]) if model.levels else 0.0
    films = like.detach().new_full((num, rows, columns), some_value)
    at_place = cache(model.at_place)
    down, right = torch.arange(height, device=device), torch.arange(width, device=device)
    for step in steps((height, width), (rows, columns)):
        for place, sites in step.items():
            top, left, row, column = torch.tensor(sites, device=device).T
            patches = films[:, (top[:, None] + down)[:, :, None], (left[:, None] + right)[:, None]]
            flat = patches.flatten(0, 1)
            uniforms = torch.rand(len(flat), generator=generator, dtype=like.dtype, device=device)
            parameters = at_place(place)(flat, model.conditions(len(flat), temperature))
            films[:, row, column] = model.sample_sites(parameters, uniforms).reshape(num, -1)
        progress(1)
    return _turned(model, films, generator)


def _turned(model: Architecture, films: Tensor, generator: torch.Generator) -> Tensor:
    """Return films after random symmetry operations over which the network averages."""
    for name in model.symmetrize:
        if name != "translation":  # the film has edges
            operation = groups.OPERATIONS[name](films.shape[1:])
            films = operation.act(films, operation.random_elements(len(films), generator))
    return films


def steps(
    patch: tuple[int, int], film: tuple[int, int]
) -> Iterator[dict[int, list[tuple[int, int, int, int]]]]:
    """Yield the sites of a film that are drawn at once.

    Args:
        patch: Rows and columns of a patch.
        film: Rows and columns of the film.

    Yields:
        Raster index in the patch → first row and column of the patch, row and column of the site.
    """
    (height, width), (rows, columns) = patch, film
    for step in range(columns + width * (rows - 1)):
        sites = defaultdict(list)
        # At the left edge, the patch of a site reaches `width` columns far in the row above.
        for row in range(max(0, -((columns - 1 - step) // width)), min(rows - 1, step // width) + 1):
            column = step - width * row
            top = min(max(row - height + 1, 0), rows - height)
            left = min(max(column - width // 2, 0), columns - width)
            sites[(row - top) * width + column - left].append((top, left, row, column))
        yield sites


def num_steps(model: Architecture, film: tuple[int, int]) -> int:
    """Return the number of steps in which a film is drawn."""
    if isinstance(model, HalfPlane):
        return model.num_steps(film)
    return film[1] + model.lattice_shape[-1] * (film[0] - 1)
