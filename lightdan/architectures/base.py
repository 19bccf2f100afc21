"""Base class of architectures: training, checkpoints and the link to a system."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import torch
from lightning import LightningDataModule
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from lightdan.architectures.hamiltonian import LearnedHamiltonian
from lightdan.architectures.record import TrainingRecord
from lightdan.data.splits import derive_seed
from lightdan.lattices import groups
from lightdan.objectives import MaximumLikelihood, Objective, Problem
from lightdan.provenance import KeepsArguments, check_checkpoint, constructor_defaults, origin_of
from lightdan.types import Batch, Configurations

A = TypeVar("A", bound="Architecture")

LINKED = ("lattice_shape", "site_kind", "levels", "symmetries", "control_names", "lattice_spec")
"""Arguments of an architecture that a system declares under the same names."""


class Architecture(LearnedHamiltonian, KeepsArguments):
    """Autoregressive network that trains itself.

        ln p_θ(s) = Σ_i ln p(s_i | s_<i),    H_θ(s, T) = −T ln p_θ(s)

    A subclass implements `forward`, the conditional parameters of all sites in one pass, and optionally
    `incremental`, which draws samples at the cost of about one pass. The lattice, the sites and the
    symmetries come from the system: the command line links them, and `for_system` does so in Python.

    Args:
        lattice_shape: Numbers of sites along the axes; the command line takes them from the system.
        objective: Function that training minimises; by default the negative log-likelihood.
        augment: Symmetry operations from which a random element is applied to each configuration of a
            training batch.
        optimizer: Constructor of the optimizer.
        scheduler: Constructor of a learning-rate schedule with one step per epoch; by default a linear
            warm-up during 5 % of the training, then a cosine down to zero.
        kwargs: Arguments of `Distribution`: site_kind, levels, symmetries, conditional, symmetrize,
            reference_frame, temperature_input, ordering, control_names, lattice_spec.

    Raises:
        ValueError: The conditional does not fit the sites, the system does not declare an operation,
            a group is continuous, a reference frame is set without angles, or the order is unknown.
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
        self.record = TrainingRecord()
        self._augmentations = [groups.OPERATIONS[name](self.lattice) for name in augment]

    @classmethod
    def for_system(cls: type[A], system: LightningDataModule, **options: Any) -> A:
        """Return an untrained model for the lattice, the sites and the symmetries of a system.

        Args:
            system: Physical system; its data are not read.
            options: Other arguments of the constructor.

        Example:
            >>> from lightdan import Ising, MADE
            >>> MADE.for_system(Ising(shape=4), width=2).lattice_shape
            (4, 4)
        """
        return cls(**{name: getattr(system, name) for name in LINKED}, **options)

    def take_choices(self, source: "Architecture") -> None:
        """Take over what another model of this class has chosen from its data, before its weights.

        By default nothing is chosen from data.

        Args:
            source: Trained model from whose weights the training starts.
        """

    def check_positive(self, **sizes: int) -> None:
        """Check the sizes of a network, given by the names of its arguments.

        Raises:
            ValueError: A size is below 1.
        """
        for name, size in sizes.items():
            if size < 1:
                raise ValueError(f"{type(self).__name__} needs {name} ≥ 1, not {name} = {size}.")

    def torus(self, most_axes: int) -> tuple[tuple[int, ...], int]:
        """Return the numbers of cells along at least two axes, and of sites per cell.

        A chain is one row.

        Args:
            most_axes: Largest number of axes of cells.

        Raises:
            ValueError: The lattice has more axes, or is a graph.
        """
        cells, name = self.lattice.cells, type(self).__name__
        if self.lattice.is_graph:
            raise ValueError(
                f"{name} needs displacements, and a graph has none: use MADE or Transformer."
            )
        if len(cells) > most_axes:
            raise ValueError(
                f"{name} needs cells along at most {most_axes} axes, not {len(cells)}: use MADE or "
                "Transformer."
            )
        return (cells if len(cells) > 1 else (1, *cells)), self.lattice.num_basis

    @property
    def ranges(self) -> Mapping[str, tuple[float, float]]:
        """Lowest and highest T and controls of the training rows by name; empty if they are unknown."""
        return self.record.ranges

    # Training

    def setup(self, stage: str) -> None:
        """Take the units of the field and of the temperature from the training data.

        Raises:
            ValueError: There are several temperatures and no temperature input, the objective needs an
                unknown energy, or the field exceeds the bound of the conditional.
        """
        system = getattr(self.trainer, "datamodule", None)
        if system is None:
            return
        if tuple(system.control_names) != self.control_names:
            raise ValueError(
                f"The data have the controls {', '.join(system.control_names) or 'none'}, but the "
                f"network sees {', '.join(self.control_names) or 'none'}: make it with for_system."
            )
        if len(system.temperatures) > 1 and not self.temperature_input:
            raise ValueError(
                f"The data have {len(system.temperatures)} temperatures, but the network does not see "
                "them: set model.temperature_input to true, or train at one temperature."
            )
        if stage != "fit":
            return
        if self.objective.needs_energy and not system.has_action:
            raise ValueError(
                f"{type(self.objective).__name__} needs an energy, but the Hamiltonian of "
                f"{type(system).__name__} is not known: use MaximumLikelihood."
            )
        if self.temperature_input:
            self.unit_of_temperature.fill_(torch.tensor(system.temperatures).log().mean().exp())
        if self.control_names:
            self._take_controls(system.data.train_controls())
        if self.site_kind == "real":
            self._take_units(*system.data.moments())

    def _take_controls(self, values: Tensor) -> None:
        """Take mean and standard deviation from the controls of training rows `(M, controls)`."""
        if (constant := values.amin(0) == values.amax(0)).any():
            name = self.control_names[int(constant.int().argmax())]
            raise ValueError(
                f"The control {name} is the same in all training rows, so nothing can be learned about "
                "it: leave it out."
            )
        self.control_mean.copy_(values.mean(0))
        self.control_scale.copy_(values.std(0, correction=0))

    def _take_units(self, mean: float, deviation: float, low: float, high: float) -> None:
        self.location.fill_(mean)
        self.scale.fill_(deviation)
        largest = max(mean - low, high - mean) / deviation
        if largest > self.conditional.bound:
            raise ValueError(
                f"The field reaches {largest:.3g} standard deviations from its mean, beyond the bound "
                f"{self.conditional.bound:g} of {type(self.conditional).__name__}: set a larger one."
            )

    def on_fit_start(self) -> None:
        """Note the rows and the recipe of the training for its checkpoints.

        Raises:
            ValueError: A resumed run has other rows or another recipe.
        """
        self.record.begin(self.trainer, self.objective)

    def training_step(self, batch: Batch) -> Tensor:
        """Return the loss of a batch after random symmetry operations."""
        generator = self._step_generator(0)
        configurations = self.augmented(batch.configurations, generator)
        loss = self.objective.loss(
            self.problem(generator), batch._replace(configurations=configurations)
        )
        self.log_training(loss)
        return loss

    def augmented(self, configurations: Configurations, generator: torch.Generator) -> Configurations:
        """Return configurations after random operations of `augment`."""
        for group in self._augmentations:
            elements = group.random_elements(len(configurations), generator)
            configurations = group.act(configurations, elements)
        return configurations

    def log_training(self, loss: Tensor) -> None:
        """Log the loss as train_loss on steps that the trainer writes."""
        # Each call of self.log costs half a step of a small network.
        interval = self.trainer.log_every_n_steps
        if interval and (self.global_step + 1) % interval == 0:
            self.log("train_loss", loss.detach(), prog_bar=True)

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Log the validation loss."""
        problem = self.problem(self._step_generator(1 + batch_index))
        merit = self.objective.figure_of_merit(problem, batch)
        self.log("val_loss", batch.mean(merit), prog_bar=True, batch_size=len(merit), sync_dist=True)

    def on_validation_start(self) -> None:
        """Check that ``lightdan validate`` uses no row of the training."""
        if self.trainer.state.fn == "validate":
            self.record.check(self.trainer, "validation")

    def on_predict_start(self) -> None:
        """Check that no row of the training is used."""
        self.record.check(self.trainer, "test")

    def on_test_start(self) -> None:
        """Check that no row of the training is used, and discard the results of an earlier test."""
        self.record.check(self.trainer, "test")
        self.test_log_prob: list[Tensor] = []

    def test_step(self, batch: Batch) -> None:
        """Log −⟨ln p_θ⟩ and keep ln p_θ of each configuration for the measurements."""
        log_prob = self.log_prob(batch.configurations, batch.temperature, batch.controls)
        self.test_log_prob.append(log_prob)
        self.log("test_nll", -batch.mean(log_prob), batch_size=len(log_prob), sync_dist=True)

    def predict_step(self, batch: Batch) -> dict[str, Tensor]:
        """Return ln p_θ and H_θ of each configuration `(B,)`, with its T and its controls."""
        log_prob = self.log_prob(batch.configurations, batch.temperature, batch.controls)
        found = {"log_prob": log_prob, "hamiltonian": -batch.temperature * log_prob}
        found["temperature"] = batch.temperature
        for number, name in enumerate(self.control_names):
            assert batch.controls is not None
            found[f"controls/{name}"] = batch.controls[:, number]
        return found

    def configure_optimizers(self) -> Any:
        """Return the optimizer and its schedule."""
        optimizer = self.optimizer(self.parameters())
        if self.scheduler is not None:
            return [optimizer], [self.scheduler(optimizer)]

        schedule = LambdaLR(optimizer, lambda step: self.learning_rate_factor(step))
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]

    def learning_rate_factor(self, step: int) -> float:
        """Return the factor of the learning rate without a `scheduler` at a step."""
        # Before the first step, estimated_stepping_batches would set up the data too early for a
        # checkpoint to restore the position in the epoch.
        return warm_cosine(step / self.trainer.estimated_stepping_batches) if step else 0.0

    def _step_generator(self, purpose: int) -> torch.Generator:
        """Return random numbers that depend on seed, step and process only.

        A resumed run therefore repeats them.
        """
        seed = derive_seed(self.trainer.datamodule.seed, self.global_step, self.global_rank, purpose)
        return self._generator(seed)

    def problem(self, generator: torch.Generator) -> Problem:
        """Return what an objective sees: model, system and state of training.

        Args:
            generator: Random numbers for samples and symmetry operations.
        """

        def one_image_log_prob(configurations: Tensor, conditions: Tensor) -> Tensor:
            elements = self.group.random_elements(len(configurations), generator)
            return self.bare_log_prob(self.group.act(configurations, elements), conditions)

        return Problem(
            log_prob=self.symmetrized_log_prob,
            log_prob_bound=one_image_log_prob,
            sample=lambda t: self.sample(len(t), generator, t, batch_size=len(t)),
            action=self.trainer.datamodule.action,
            weights=self.parameters,
            num_configurations=self.trainer.datamodule.data.observations_in("train"),
            step=self.global_step,
        )

    # Checkpoints

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add format, version and architecture, and the system, rows and recipe of the training."""
        checkpoint["lightdan"] = {**origin_of(type(self)), **self.record.plain()}

    def on_load_checkpoint(self, checkpoint: Mapping[str, Any]) -> None:
        """Check that the checkpoint is of this architecture with these arguments.

        Raises:
            ValueError: The checkpoint is of another package, format or architecture, or has other
                arguments.
        """
        origin = check_checkpoint(checkpoint)
        if origin["architecture"].rpartition(".")[2] != type(self).__name__:
            raise ValueError(
                f"The checkpoint is of the architecture {origin['architecture']}, "
                f"not of {type(self).__name__}: set the model to that one."
            )
        defaults = constructor_defaults(type(self))
        theirs, ours = defaults | checkpoint["hyper_parameters"], defaults | dict(self.hparams)
        for name in checkpoint["hyper_parameters"].keys() | self.hparams.keys():
            if theirs.get(name) != ours.get(name):
                raise ValueError(
                    f"The checkpoint was trained with {name} = {theirs.get(name)}, and this run has "
                    f"{ours.get(name)}: use the configuration that it was trained with."
                )
        trainer = getattr(self, "_trainer", None)
        resumes = trainer is not None and trainer.state.fn == "fit"
        self.record = TrainingRecord.read(origin, resumes)


def warm_cosine(progress: float, warm_up: float = 0.05) -> float:
    """Return the factor of the learning rate at a fraction of the training.

    It rises linearly to 1 during `warm_up`, then falls to 0 by half a cosine.
    """
    if progress < warm_up:
        return progress / warm_up
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (progress - warm_up) / (1 - warm_up))))
