"""What an architecture is: a distribution that trains itself."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import torch
from lightning import LightningDataModule
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from lightdan.architectures.distribution import Distribution
from lightdan.data.splits import derive_seed
from lightdan.lattices import groups
from lightdan.objectives import MaximumLikelihood, Objective, Problem
from lightdan.provenance import KeepsArguments, check_checkpoint, constructor_defaults, origin_of
from lightdan.types import Batch

A = TypeVar("A", bound="Architecture")

LINKED = ("lattice_shape", "site_kind", "levels", "symmetries")
"""Arguments of an architecture that the system declares under the same names."""


class Architecture(Distribution, KeepsArguments):
    """ln p_θ(s) = Σ_i ln p(s_i | s_<i), the sites in a given order, with H_θ(s, T) = −T ln p_θ(s).

    A subclass implements `forward`, the conditional parameters of all sites in one pass, and, for
    sampling at the cost of about one pass, `incremental`. The arguments of the lattice and its sites
    come from the system: the command line links them.

    Args:
        lattice_shape: Numbers of sites along the axes.
        objective: What training minimises; by default the likelihood.
        augment: Operations of which random elements are applied to each training batch.
        optimizer: Constructor of the optimizer from the weights.
        scheduler: Constructor of a schedule stepped every epoch; by default a cosine to zero over
            the whole training, after a warm-up of a twentieth of it.
        kwargs: Of `Distribution`: site_kind, levels, symmetries, conditional, symmetrize,
            reference_frame, temperature_input, ordering.

    Raises:
        ValueError: an operation that the system does not declare, a conditional that does not fit, a
            reference frame without angles, an order that is none.
    """

    def __init__(
        self,
        lattice_shape: Sequence[int],
        objective: Objective | None = None,
        augment: Sequence[str] = (),
        optimizer: OptimizerCallable = torch.optim.AdamW,
        scheduler: LRSchedulerCallable | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(lattice_shape, **kwargs)
        plain = {
            name: value
            for name, value in self.constructor_arguments.items()
            if name not in ("objective", "optimizer", "scheduler")
        }
        self.save_hyperparameters(plain | {"conditional": self.conditional.spec()})
        self.objective = objective or MaximumLikelihood()
        self.check_declared("augment", augment)
        self.augment = tuple(augment)
        self.optimizer, self.scheduler = optimizer, scheduler
        self._augmentations = [groups.OPERATIONS[name](lattice_shape) for name in augment]

    @classmethod
    def for_system(cls: type[A], system: LightningDataModule, **options: Any) -> A:
        """Return an untrained model for the lattice, the sites and the symmetries of a system.

        Args:
            system: The system; its data are not read.
            options: Other arguments of the constructor.

        Example:
            >>> from lightdan import Ising, MADE
            >>> MADE.for_system(Ising(shape=4), width=2).lattice_shape
            (4, 4)
        """
        return cls(**{name: getattr(system, name) for name in LINKED}, **options)

    # Training

    def setup(self, stage: str) -> None:
        """Take the units of field and temperature; refuse a system that does not fit the model.

        Raises:
            ValueError: several temperatures without temperature input, no energy to minimise, or a field
                beyond the bound of the conditional.
        """
        system = getattr(self.trainer, "datamodule", None)
        if system is None:
            return
        if len(system.temperatures) > 1 and not self.temperature_input:
            raise ValueError(
                f"The data have {len(system.temperatures)} temperatures, and the network does not see "
                "them: set model.temperature_input to true, or train at one temperature."
            )
        if stage != "fit":
            return
        if self.objective.needs_energy and not system.has_action:
            raise ValueError(
                f"{type(self.objective).__name__} needs an energy, and the Hamiltonian of "
                f"{type(system).__name__} is not known: use MaximumLikelihood."
            )
        if self.temperature_input:
            self.unit_of_temperature.fill_(torch.tensor(system.temperatures).log().mean().exp())
        if self.site_kind == "real":
            self._take_units(*system.moments())

    def _take_units(self, mean: float, deviation: float, low: float, high: float) -> None:
        self.location.fill_(mean)
        self.scale.fill_(deviation)
        reached = max(mean - low, high - mean) / deviation
        if reached > self.conditional.bound:
            raise ValueError(
                f"The field reaches {reached:.3g} standard deviations from its mean, beyond the bound "
                f"{self.conditional.bound:g} of {type(self.conditional).__name__}: give a larger one."
            )

    def training_step(self, batch: Batch) -> Tensor:
        """The objective's loss on a batch to which random symmetry operations were applied."""
        generator = self._step_generator(0)
        configurations = batch.configurations
        for group in self._augmentations:
            elements = group.random_elements(len(configurations), generator)
            configurations = group.act(configurations, elements)
        batch = batch._replace(configurations=configurations)
        loss = self.objective.loss(self._problem(generator), batch)
        # One call of self.log a step costs half a step of a small network.
        if (self.global_step + 1) % self.trainer.log_every_n_steps == 0:
            self.log("train_loss", loss.detach(), prog_bar=True)
        return loss

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Log the objective's figure of merit."""
        problem = self._problem(self._step_generator(1 + batch_index))
        merit = self.objective.figure_of_merit(problem, batch)
        self.log("val_loss", merit.mean(), prog_bar=True, batch_size=len(merit), sync_dist=True)

    def on_test_start(self) -> None:
        """Forget the last test."""
        self.test_log_prob: list[Tensor] = []

    def test_step(self, batch: Batch) -> None:
        """Log the negative log-likelihood; the measurements use the terms again."""
        log_prob = self.log_prob(*batch)
        self.test_log_prob.append(log_prob)
        self.log("test_nll", -log_prob.mean(), batch_size=len(log_prob), sync_dist=True)

    def predict_step(self, batch: Batch) -> dict[str, Tensor]:
        """Ln p_θ and H_θ of each configuration."""
        log_prob = self.log_prob(*batch)
        return {"log_prob": log_prob, "hamiltonian": -batch.temperature * log_prob}

    def configure_optimizers(self) -> Any:
        """The optimizer with its schedule."""
        optimizer = self.optimizer(self.parameters())
        if self.scheduler is not None:
            return [optimizer], [self.scheduler(optimizer)]

        def factor(step: int) -> float:
            # Asked for before the first step, the number of steps would set up the data too early
            # for a checkpoint to say where in the epoch they stand.
            return warm_cosine(step / self.trainer.estimated_stepping_batches) if step else 0.0

        schedule = LambdaLR(optimizer, factor)
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]

    def _step_generator(self, purpose: int) -> torch.Generator:
        """Noise that is a function of seed, step and process, so that a resumed run repeats it."""
        seed = derive_seed(self.trainer.datamodule.seed, self.global_step, self.global_rank, purpose)
        return self._generator(seed)

    def _problem(self, generator: torch.Generator) -> Problem:
        def one_image_log_prob(configurations: Tensor, temperature: Tensor) -> Tensor:
            elements = self.group.random_elements(len(configurations), generator)
            return self.bare_log_prob(self.group.act(configurations, elements), temperature)

        return Problem(
            log_prob=self.log_prob,
            log_prob_bound=one_image_log_prob,
            sample=lambda t: self.sample(len(t), generator, t, batch_size=len(t)),
            action=self.trainer.datamodule.action,
            weights=self.parameters,
            num_configurations=self.trainer.datamodule.num_in("train"),
            step=self.global_step,
        )

    # Checkpoints

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Say what the checkpoint is of."""
        system = getattr(self._trainer, "datamodule", None)
        spec = system.spec() if system is not None else None
        checkpoint["lightdan"] = {**origin_of(type(self)), "system": spec}

    def on_load_checkpoint(self, checkpoint: Mapping[str, Any]) -> None:
        """Refuse a checkpoint of other making.

        Raises:
            ValueError: it is not one of lightdan, of another format, architecture or system.
        """
        origin = check_checkpoint(checkpoint)
        if origin["architecture"].rpartition(".")[2] != type(self).__name__:
            raise ValueError(
                f"The checkpoint is of the architecture {origin['architecture']}, "
                f"not of {type(self).__name__}."
            )
        defaults = constructor_defaults(type(self))
        theirs, ours = defaults | checkpoint["hyper_parameters"], defaults | dict(self.hparams)
        for name in checkpoint["hyper_parameters"].keys() | self.hparams.keys():
            if theirs.get(name) != ours.get(name):
                raise ValueError(
                    f"The checkpoint was trained with {name} = {theirs.get(name)}, and this run has "
                    f"{ours.get(name)}: give the configuration that it was trained with."
                )


def warm_cosine(progress: float, warm_up: float = 0.05) -> float:
    """Factor of the learning rate: linear up to 1 during `warm_up`, then half a cosine down to 0."""
    if progress < warm_up:
        return progress / warm_up
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (progress - warm_up) / (1 - warm_up))))
