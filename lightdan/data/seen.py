"""Rows that a model was trained on, as its checkpoint keeps them."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from scipy.special import bdtrc, gammainc
from torch import Tensor

from lightdan.data.rows import Rows
from lightdan.data.samples import Samples
from lightdan.data.splits import SPLITS

SIMULATED = "simulation-"
"""Start of the identity of simulated data."""
NUM_HASHES = 2048
"""Number of training rows whose hashes a checkpoint keeps, 16 kB."""
MOST_STATES = 8192
"""Largest number of different rows whose numbers a checkpoint keeps, 128 kB."""
MAX_VALUES = 100_000_000
"""Number of values that are read for the hashes of one set of rows."""
WINDOWS = (1, 8, 64)
"""Numbers of consecutive rows with one hash; longer ones are for rows that repeat by chance."""
CHANCE = 0.01
"""Largest fraction of new windows that may agree with training windows by chance."""
OVERLAP = 0.05
"""Fraction of the rows from which on an agreement is one, if it is well above chance."""
CERTAIN = 1e-3
"""Probability of new data to agree as well, below which rows are taken for known ones."""


def identity(array: Rows) -> str:
    """Return a name of an array by its shape and by 64 rows spread over it."""
    rows = spread(np.arange(array.shape[0]), 64)
    values = np.ascontiguousarray(array[rows])
    return f"file-{_digest(repr((tuple(array.shape), values.dtype.str)).encode(), values)}"


def simulation_name(key: Mapping[str, Any]) -> str:
    """Return a name of a simulation by its parameters, the same one for all numbers of rows."""
    parameters = {name: value for name, value in key.items() if name != "num_configurations"}
    return SIMULATED + _digest(json.dumps(parameters, sort_keys=True).encode())


@dataclass(frozen=True)
class SeenRows:
    """Rows for training and validation: where they come from, their split, and hashes of some.

    Args:
        splits: Name of each source of rows → hash of the split of its rows.
        window: Number of consecutive rows that a hash is of; 0 if these data repeat so often that
            hashes tell nothing.
        hashes: Hashes of windows that begin with a row for training or validation, ascending.
        share: Fraction of the rows for training and validation that begin such a window.
        chance: Fraction of the test rows that agree with them by chance.
        matched: Number of windows of the test rows that do.
        pairs: Number of pairs of windows among which these agreements were found.
        states: Hashes of all different rows, ascending, if they are few.
        counts: Number of times that each of them occurs in the data.
    """

    splits: dict[str, str]
    window: int
    hashes: Tensor
    share: float
    chance: float
    matched: int
    pairs: int
    states: Tensor
    counts: Tensor

    @classmethod
    def of(cls, samples: Samples) -> "SeenRows":
        """Return what a checkpoint keeps of these data.

        At most 2,048 rows for training and as many of the others are read, or windows of them if rows
        repeat. Data on disk are not read as a whole.
        """
        seen = torch.cat([samples.indices["train"], samples.indices["validation"]]).unique().numpy()
        splits, test = split_by_source(samples), samples.indices["test"].numpy()
        states = (torch.zeros(0, dtype=torch.int64),) * 2
        for window in WINDOWS:
            starts = _starts(samples, seen, window, NUM_HASHES)
            others = _starts(samples, test, window, NUM_HASHES)
            if not len(starts) or not len(others):
                break
            hashes, new = (window_hashes(samples.configurations, of, window) for of in (starts, others))
            matched, pairs = _agreements(new, hashes)
            hashes, new = np.unique(hashes), np.unique(new)
            chance, share = matched / len(new), len(starts) / len(seen)
            if chance <= CHANCE:
                kept = torch.from_numpy(hashes)
                return cls(splits, window, kept, share, chance, matched, pairs, *states)
            if window == 1:
                states = _counts(samples)
        return cls(splits, 0, torch.zeros(0, dtype=torch.int64), 0.0, 1.0, 0, 0, *states)

    @property
    def simulated(self) -> bool:
        """Whether all rows are simulated."""
        return all(name.startswith(SIMULATED) for name in self.splits)

    def is_of(self, samples: Samples) -> bool:
        """Return whether these are the rows of some data in their split."""
        return split_by_source(samples) == self.splits

    def compare(
        self, samples: Samples, split: str
    ) -> tuple[Literal["same", "resplit", "overlap", "new", "unknown"], float]:
        """Return how a split of some data is related to these rows, and the fraction that it shares.

        The data are the ``same``, the same in another split (``resplit``), in part the same rows from
        another source (``overlap``), ``new``, or ``unknown`` because rows repeat too often to tell. With
        new data, the fraction is the largest one that would not be told.

        Args:
            samples: Data that may be others than those of the training.
            split: ``validation`` or ``test``.
        """
        others = dict(split_by_source(samples).items() - self.splits.items())
        if not others:
            return "same", 0.0
        if not self.splits.keys().isdisjoint(others):
            return "resplit", self._overlap(samples, split)
        if self.simulated and all(name.startswith(SIMULATED) for name in others):
            return "new", 0.0
        fraction, least = self._overlap(samples, split), self._least(samples, split)
        if fraction > 0 or self._counts_agree(samples):
            return "overlap", fraction
        return ("unknown", math.nan) if math.isnan(fraction) else ("new", least)

    def _overlap(self, samples: Samples, split: str) -> float:
        """Return the fraction of a split among these rows, or NaN if it is not known.

        By chance, new data agree with these in no larger share of all pairs of windows than data agree
        with themselves. Pairs of training and test rows, and of the split and other new rows, tell the
        two shares. Given the sum of two numbers of agreements, each is binomial.
        """
        new, rest = self._windows(samples, split), self._windows(samples, split, others=True)
        if not len(new):
            return math.nan
        distinct = np.unique(new)
        matched = int(np.isin(distinct, self.hashes.numpy()).sum())
        fraction = matched / (len(distinct) * self.share)
        many = matched > 1 and fraction > OVERLAP and matched > 5 * self.chance * len(distinct)
        references = (self.matched, self.pairs), _agreements(new, rest)
        chance = max(self._chance(matched, len(distinct), *each) for each in references)
        return min(1.0, fraction) if many or chance < CERTAIN else 0.0

    def _least(self, samples: Samples, split: str) -> float:
        """Return the smallest fraction of a split that is told from chance if its rows all differ."""
        num = len(np.unique(self._windows(samples, split)))
        told = (m for m in range(num) if self._chance(m, num, self.matched, self.pairs) < CERTAIN)
        return min(1.0, next(told, num) / (num * self.share)) if num else math.nan

    def _windows(self, samples: Samples, split: str, *, others: bool = False) -> np.ndarray:
        """Return hashes of windows of a split, or of the other splits."""
        parts = [part for name, part in samples.indices.items() if (name == split) != others]
        rows = torch.cat(parts).unique().numpy()
        starts = _starts(samples, rows, self.window, 10 * NUM_HASHES)
        if not self.window or not len(starts):
            return np.zeros(0, np.int64)
        return window_hashes(samples.configurations, starts, self.window)

    def _chance(self, matched: int, num: int, others: int, pairs: int) -> float:
        """Return the probability that at least as many of `num` new windows agree with these.

        Args:
            matched: Number of new windows that agree.
            num: Number of new windows.
            others: Number of agreements by chance.
            pairs: Number of pairs of windows among which those are.
        """
        own = num * len(self.hashes)
        if not matched:
            return 1.0
        return float(bdtrc(matched - 1, matched + others, own / (own + pairs)))

    def _counts_agree(self, samples: Samples) -> bool:
        """Return whether few different rows occur as often as in these data, more so than by chance.

        With the numbers n and m of a row, Σ (n √(M/N) − m √(N/M))²/(n + m) has the χ² distribution if
        the data are independent. It is larger for correlated rows and for other data, and smaller if
        rows are in part the same.
        """
        if not len(self.states):
            return False
        states, counts = (each.numpy() for each in _counts(samples))
        every = np.union1d(states, self.states.numpy())
        table = np.zeros((2, len(every)))
        table[0, np.searchsorted(every, self.states.numpy())] = self.counts.numpy()
        table[1, np.searchsorted(every, states)] = counts
        if not len(states) or len(every) < 2:
            return False
        scale = math.sqrt(table[1].sum() / table[0].sum())
        squares = (table[0] * scale - table[1] / scale) ** 2 / table.sum(0)
        return bool(gammainc((len(every) - 1) / 2, squares.sum() / 2) < CERTAIN)


def split_by_source(samples: Samples) -> dict[str, str]:
    """Return the hash of the split of each source of the rows, by name of the source.

    Data without a named source are named by the hashes of some of their rows.
    """
    sources: Sequence[Sequence[str]] = samples.sources
    rows = [
        [samples.rows_of(split, temperature).numpy() for split in SPLITS]
        for temperature in samples.temperatures
    ]
    weights = [
        [samples.weights(split, temperature) for split in SPLITS] for temperature in samples.temperatures
    ]
    if len(sources) != len(rows):  # one source has several temperatures
        sources = [[name for names in sources for name in names]]
        rows = [[np.concatenate(parts) for parts in zip(*rows, strict=True)]]
        weights = [[samples.row_weights[split] for split in SPLITS]] if samples.row_weights else [[]]
    splits: dict[str, str] = {}
    for names, parts, own_weights in zip(sources, rows, weights, strict=True):
        start = min(int(part.min()) for part in parts)
        content = [part - start for part in parts]
        content += [weight.numpy() for weight in own_weights if weight is not None]
        if not names or not all(name.startswith(SIMULATED) for name in names):
            some = np.sort(spread(np.sort(parts[0]), 64))
            content.append(window_hashes(samples.configurations, some, 1))
        if not names:
            some = spread(np.sort(np.concatenate(parts)), 64)
            names = [f"rows-{_digest(window_hashes(samples.configurations, some, 1))}"]
        splits |= dict.fromkeys(names, _digest(*content))
    return splits


def window_hashes(configurations: Tensor | Rows, starts: np.ndarray, window: int) -> np.ndarray:
    """Return a hash of each window of consecutive rows `(K,)`.

    It is a linear function of the values, modulo 2⁶⁴. Reals enter with eleven binary digits, so that
    copies in another format have the same hash.

    Args:
        configurations: Configurations `(M, *lattice)`.
        starts: Numbers of the first rows, ascending.
        window: Number of rows in a window.
    """
    numbers = np.unique(starts[:, None] + np.arange(window))
    step = max(1, 4_000_000 // math.prod(configurations.shape[1:]))
    parts = [_row_hashes(_read(configurations, part)) for part in _pieces(numbers, step)]
    single = np.concatenate(parts)[np.searchsorted(numbers, starts)[:, None] + np.arange(window)]
    return (single @ _factors(window)).view(np.int64)


def spread(rows: np.ndarray, num: int) -> np.ndarray:
    """Return at most `num` of the rows, from the first to the last."""
    return rows[np.unique(np.linspace(0, len(rows) - 1, min(num, len(rows))).astype(int))]


def _pieces(numbers: np.ndarray, step: int) -> list[np.ndarray]:
    return [numbers[start : start + step] for start in range(0, len(numbers), step)]


def _starts(samples: Samples, rows: np.ndarray, window: int, num: int) -> np.ndarray:
    """Return some of the rows with which a whole window begins."""
    num_rows, *sites = samples.configurations.shape
    most = max(64, MAX_VALUES // (max(window, 1) * math.prod(sites)))
    return spread(np.sort(rows[rows <= num_rows - window]), min(num, most))


def _agreements(new: np.ndarray, others: np.ndarray) -> tuple[int, int]:
    """Return how many different hashes are among others, and the number of pairs that this is out of.

    If the others all differ from each other, so do their pairs.
    """
    distinct, known = np.unique(new), np.unique(others)
    num = len(known)
    pairs = len(distinct) * num + (num * (num - 1) // 2 if num == len(others) else 0)
    return int(np.isin(distinct, known).sum()), pairs


def _counts(samples: Samples) -> tuple[Tensor, Tensor]:
    """Return the hashes of all different rows and their numbers, both empty if they are many.

    Rows with weights, and data of which not all rows may be read, have none.
    """
    num, *sites = samples.configurations.shape
    none = torch.zeros(0, dtype=torch.int64)
    if samples.row_weights is not None or num * math.prod(sites) > MAX_VALUES:
        return none, none
    rows = torch.cat([samples.indices[split] for split in SPLITS]).unique().numpy()
    states, counts = np.unique(window_hashes(samples.configurations, rows, 1), return_counts=True)
    if len(states) > MOST_STATES:
        return none, none
    return torch.from_numpy(states), torch.from_numpy(counts)


def _read(configurations: Tensor | Rows, numbers: np.ndarray) -> np.ndarray:
    if isinstance(configurations, Tensor):
        return configurations[torch.from_numpy(numbers).to(configurations.device)].cpu().numpy()
    return np.asarray(configurations[numbers])


def _row_hashes(rows: np.ndarray) -> np.ndarray:
    flat = np.ascontiguousarray(rows.reshape(len(rows), -1))
    if flat.dtype.kind == "f":
        flat = ((flat.astype(np.float32) + np.float32(0)).view(np.uint32) + 0x800) >> 12
    product: np.ndarray = flat.astype(np.uint64) @ _factors(flat.shape[1])
    return product


def _factors(num: int) -> np.ndarray:
    """Return odd random numbers `(num,)`, the same ones for ever."""
    return np.random.SeedSequence(17).generate_state(num, np.uint64) | np.uint64(1)


def _digest(*parts: bytes | np.ndarray) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part if isinstance(part, bytes) else np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()[:16]
