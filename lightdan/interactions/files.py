"""Reading of the files of explicit Hamiltonians."""

import cmath
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightdan.interactions.factors import Harmonic, factor_of
from lightdan.interactions.operators import Operator, Product
from lightdan.lattices.lattice import Displacement
from lightdan.simulation.terms import KINDS

FORMAT = 3
"""Version of the files."""


def read(path: str | Path) -> dict[str, Any]:
    """Return the arguments of the Hamiltonian in a file.

    Raises:
        ValueError: The file is damaged, of another format, or names sites beyond the lattice.
    """
    try:
        content = json.loads(Path(path).read_text())
        if content["format"] != FORMAT:
            raise ValueError(f"its format is {content['format']}, not {FORMAT}; measure it again")
        return _arguments(content)
    except RecursionError:
        raise ValueError(
            f"{path} cannot be read as a Hamiltonian, because it is nested too deeply: measure it again."
        ) from None
    except (OSError, KeyError, TypeError, ValueError) as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else error
        raise ValueError(f"{path} cannot be read as a Hamiltonian: {reason}.") from error


def _arguments(content: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a Hamiltonian.

    Raises:
        KeyError, TypeError, ValueError: The content is damaged.
    """
    shape = tuple(int(side) for side in content["lattice_shape"])
    kind = content["site_kind"]
    if kind not in KINDS:
        raise ValueError(f"its kind of site is {kind!r}")
    levels = tuple(int(level) for level in content["levels"])
    if list(levels) != sorted(set(levels)) or (kind in ("spin", "level")) != bool(levels):
        raise ValueError("its levels do not fit the kind of site")
    operators = [_operator(entry, shape, kind) for entry in content["operators"]]
    temperature = _finite("temperature", content["temperature"])
    if temperature <= 0:
        raise ValueError("its temperature is not positive")
    covariance = content["covariance"]
    if covariance is not None:
        covariance = np.array(covariance, dtype=np.float64)
        if covariance.shape != (len(operators),) * 2:
            raise ValueError("its covariance does not fit its operators")
        if not np.isfinite(covariance).all():
            raise ValueError("its covariance has a number that is not finite")
    return {
        "lattice_shape": shape,
        "operators": operators,
        "temperature": temperature,
        "site_kind": kind,
        "levels": levels,
        "covariance": covariance,
    }


def _operator(entry: dict[str, Any], shape: tuple[int, ...], kind: str) -> Operator:
    """Return the operator that an entry of a file describes.

    Raises:
        KeyError, TypeError, ValueError: The entry is damaged.
    """
    name = str(entry["name"])
    sites = _checked_sites(name, np.array(entry["sites"]), math.prod(shape))
    displacement: Displacement | None = None
    if entry["displacement"] is not None:
        displacement = tuple(int(step) for step in entry["displacement"])
        # With a basis, two places in it take the position of one axis.
        if len(displacement) - len(shape) not in (0, 1) or sites.shape[1] != 2:
            raise ValueError(f"the displacement of {name} does not fit its pairs and the lattice")
    products = tuple(
        Product(tuple(map(factor_of, product["factors"])), complex(*map(float, product["weight"])))
        for product in entry["products"] or ()
    )
    for product in products:
        if not cmath.isfinite(product.weight):
            raise ValueError(f"a weight of {name} is not a finite number")
        if len(product.factors) != sites.shape[1]:
            raise ValueError(f"the factors of {name} do not fit its terms")
        if any(isinstance(factor, Harmonic) != (kind == "angle") for factor in product.factors):
            raise ValueError(f"the factors of {name} do not fit sites of kind {kind!r}")
    return Operator(
        name,
        sites,
        _finite(name, entry["coupling"]),
        math.nan if entry["error"] is None else float(entry["error"]),
        displacement,
        products,
        _finite(f"the distance of {name}", entry["distance"]) if "distance" in entry else math.nan,
    )


def _checked_sites(name: str, sites: NDArray[Any], num_sites: int) -> NDArray[np.intp]:
    """Return the terms of an operator.

    Raises:
        ValueError: The sites are not terms of one order, are beyond the lattice, or repeat in a term.
    """
    if sites.ndim != 2 or not sites.size or sites.dtype.kind != "i":
        raise ValueError(f"the sites of {name} are not a list of terms of equal length")
    if sites.min() < 0 or sites.max() >= num_sites:
        raise ValueError(f"{name} names a site beyond the {num_sites} of the lattice")
    ordered = np.sort(sites, axis=1)
    if (ordered[:, 1:] == ordered[:, :-1]).any():
        raise ValueError(f"{name} has a term with a site twice")
    return sites.astype(np.intp)


def _finite(name: str, value: Any) -> float:
    """Return a number from a file.

    Raises:
        ValueError: The value is not finite.
    """
    if not math.isfinite(float(value)):
        raise ValueError(f"{name} is not a finite number")
    return float(value)
