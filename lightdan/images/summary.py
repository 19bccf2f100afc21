"""Reports on films in the words that are printed before training."""

from collections.abc import Mapping

import numpy as np

from lightdan.data.splits import SPLITS
from lightdan.images.doubts import about
from lightdan.images.series import Series
from lightdan.statistics import Estimate


def in_lines(film: Series, numbers: Mapping[str, Estimate], site: float, unit: str) -> str:
    """Return the report on a film, several lines.

    Args:
        film: The film.
        numbers: Its numbers, lengths in `unit`.
        site: Side of a site in `unit`.
        unit: Unit of length.
    """
    lengths = "; ".join(
        f"{words}: {numbers[name]} {unit}" if name in numbers else f"{words}: none"
        for name, words in (
            ("correlation_length", "correlation length"),
            ("domain_period", "domain period"),
        )
    )
    return (
        f"  area fraction of the bright phase: {numbers['area_fraction']}\n"
        f"  {lengths}\n"
        f"{drift(film, site, unit)}"
        f"  directions: {'; '.join(map(str, film.directions))}\n"
        f"  {patches(film)}"
    )


def in_one_line(film: Series, numbers: Mapping[str, Estimate], unit: str) -> str:
    """Return the report on one of several films.

    Args:
        film: The film.
        numbers: Its numbers, lengths in `unit`.
        unit: Unit of length.
    """
    images = len(film.images)
    period = f", domain period {numbers['domain_period']} {unit}" if "domain_period" in numbers else ""
    return (
        f"{images} image{'s' * (images > 1)}, area fraction {numbers['area_fraction']}{period}; "
        f"{patches(film)}"
    )


def patches(film: Series) -> str:
    """Return the numbers of patches in the splits, and of independent ones, in words."""
    rows, columns = film.cutting.patch
    sizes = [len(part) for part in film.division.places]
    listed = ", ".join(f"{size} {name}" for size, name in zip(sizes, SPLITS, strict=True))
    return (
        f"patches of {rows} × {columns} sites: {listed}, {film.division_in_words}, equivalent to "
        f"{about(film.independent_patches, 'independent one')}"
    )


def drift(film: Series, site: float, unit: str) -> str:
    """Return a line on the drift between images, if there are several."""
    drifts = film.independence.repeats.drifts
    if not len(drifts):
        return ""
    moved = np.hypot(*drifts.T)
    if np.isnan(moved).all():
        words = "not seen, because no image shows the texture of the image before it"
    else:
        words = f"{np.nanmean(moved) * site:.3g} {unit} from one to the next on average"
    return f"  drift between images: {words}\n"
