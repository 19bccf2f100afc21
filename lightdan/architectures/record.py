"""Record of the training of a model: its rows, its system and its recipe."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from lightning import LightningDataModule, Trainer
from lightning.pytorch.utilities import rank_zero_only

from lightdan.data.samples import Samples
from lightdan.data.seen import SeenRows
from lightdan.objectives import Objective
from lightdan.provenance import constructor_defaults, differences, recipe_of


class TrainingRecord:
    """Rows, system and recipe of a training, kept in the checkpoints of its model.

    Args:
        rows: Rows of the training, followed by those of earlier ones that the first weights come from.
        system: Class and arguments of the system, or None.
        recipe: Optimizer, objective, batch size and other settings of the training, or None.
        ranges: Lowest and highest T and controls of the training rows by name.
        resumes: Whether a run that begins now continues this training.
    """

    def __init__(
        self,
        rows: list[SeenRows] | None = None,
        system: dict[str, Any] | None = None,
        recipe: dict[str, Any] | None = None,
        ranges: Mapping[str, Sequence[float]] | None = None,
        resumes: bool = False,
    ) -> None:
        self.rows = rows or []
        self.system, self.recipe, self.resumes = system, recipe, resumes
        self.ranges = {name: (low, high) for name, (low, high) in (ranges or {}).items()}

    @classmethod
    def read(cls, origin: Mapping[str, Any], resumes: bool = False) -> "TrainingRecord":
        """Return the record in the origin of a checkpoint.

        Raises:
            ValueError: A part of it is missing or of another kind.
        """
        try:
            rows = [SeenRows(**rows | {"splits": dict(rows["splits"])}) for rows in origin["rows"]]
            # The first checkpoints of this format have no ranges.
            return cls(rows, origin["system"], origin["recipe"], origin.get("ranges"), resumes)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(
                "The checkpoint is damaged, because its record of the training is not complete: use "
                "another one."
            ) from error

    def plain(self) -> dict[str, Any]:
        """Return the record for a checkpoint."""
        rows = [asdict(rows) for rows in self.rows]
        ranges = {name: list(ends) for name, ends in self.ranges.items()}
        return {"rows": rows, "system": self.system, "recipe": self.recipe, "ranges": ranges}

    def begin(self, trainer: Trainer, objective: Objective) -> None:
        """Note rows, system and recipe of a training that begins, or check those of one that resumes.

        Raises:
            ValueError: A resumed run has other rows or another recipe.
        """
        recipe, samples = recipe_of(trainer, objective), _samples(trainer)
        if not self.resumes:
            self.system, self.recipe = _spec(trainer), recipe
            self.ranges = {} if samples is None else _ranges(trainer.datamodule)
            if samples is not None:
                for rows in self.rows:
                    _warn_of_earlier(rows, samples, "test")
                new = SeenRows.of(samples)
                self.rows = [new, *(rows for rows in self.rows if rows.splits != new.splits)]
            return
        self.resumes = False
        remedy = "resume with the options of its training, or pass it to --start_from for a new run."
        # Other versions of PyTorch have other options.
        common = (self.recipe or {}).keys() & recipe.keys()
        theirs, ours = ({name: of[name] for name in common} for of in (self.recipe or {}, recipe))
        if changed := [*differences(theirs, ours)]:
            raise ValueError(f"The checkpoint was trained with {'; '.join(changed)}: {remedy}")
        if samples is not None and self.rows and not self.rows[0].is_of(samples):
            raise ValueError(
                "The checkpoint was trained on other rows than those of this run"
                f"{self._changes(trainer)}: {remedy}"
            )

    def check(self, trainer: Trainer, split: str) -> None:
        """Check that a split has no row of the training, and say if all its rows are new.

        Raises:
            ValueError: Rows of the training would be measured.
        """
        samples = _samples(trainer)
        if samples is None or not self.rows:
            return
        own, *others = self.rows
        kind, fraction = own.compare(samples, split)
        if kind == "same":
            for rows in others:
                _warn_of_earlier(rows, samples, split)
            return
        for rows in others:
            if kind in ("new", "unknown"):
                kind, fraction = rows.compare(samples, split)
        if kind in ("resplit", "overlap"):
            part = f"about {100 * fraction:.0f} %" if fraction > 0 else "some"
            remedy = "another seed, which simulates new ones" if own.simulated else "a file of new ones"
            raise ValueError(
                f"The model was trained on {part} of the {split} configurations{self._changes(trainer)}"
                f": use the data, splits and seed of its training, or {remedy}."
            )
        if kind == "new":
            told = "it was trained on none of them"
            if own.window > 1:
                told = f"no {own.window} in a row were in its training, and single ones repeat by chance"
            elif fraction > 0:
                told = f"at most about {100 * fraction:.2g} %, too few to tell, were in its training"
            _say(f"The {split} configurations are new to the model: {told}.")
        elif kind == "unknown":
            warnings.warn(
                f"The {split} configurations repeat so often that it is not known whether the model was "
                "trained on some of them: use the data of its training, or a file of which you know.",
                stacklevel=2,
            )

    def _changes(self, trainer: Trainer) -> str:
        """Return in brackets how the system differs from that of the training."""
        ours, defaults = _spec(trainer), constructor_defaults(type(trainer.datamodule))
        if not self.system or not ours or self.system["class_path"] != ours["class_path"]:
            return ""
        changes = differences(*(defaults | spec["init_args"] for spec in (self.system, ours)))
        return f" ({listed})" if (listed := "; ".join(changes)) else ""


def _samples(trainer: Trainer) -> Samples | None:
    """Return the data of a trainer if their rows are known."""
    samples = getattr(trainer.datamodule, "data", None)
    return samples if isinstance(samples, Samples) else None


def _spec(trainer: Trainer) -> dict[str, Any] | None:
    """Return class and arguments of a trainer's system, if it has some."""
    spec: dict[str, Any] | None = getattr(trainer.datamodule, "spec", lambda: None)()
    return spec


def _ranges(system: LightningDataModule) -> dict[str, tuple[float, float]]:
    """Return the lowest and the highest T and controls of the training rows by name."""
    columns = system.data.train_controls().T
    controls = {
        name: (values.min().item(), values.max().item())
        for name, values in zip(system.control_names, columns, strict=True)
    }
    return {"T": (min(system.temperatures), max(system.temperatures)), **controls}


def _warn_of_earlier(rows: SeenRows, samples: Samples, split: str) -> None:
    kind, fraction = rows.compare(samples, split)
    if kind in ("resplit", "overlap"):
        part = f"About {100 * fraction:.0f} %" if fraction > 0 else "Some"
        sentence = (
            f"{part} of the {split} configurations were among those that the first weights were trained "
            "on, so their measurements are too good: use the data, splits and seed of that training."
        )
        if sentence not in samples.doubts:
            samples.doubts = [*samples.doubts, sentence]
            warnings.warn(sentence, stacklevel=2)


@rank_zero_only
def _say(sentence: str) -> None:
    print(sentence)
