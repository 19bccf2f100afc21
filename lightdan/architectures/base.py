"""How p_θ factorises over sites: the base of all architectures, with training and sampling."""

import math
from abc import abstractmethod
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any

import torch
from lightning import LightningModule
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor
from torch.nn import functional as F
from torch.optim.lr_scheduler import LambdaLR

from lightdan import lattice
from lightdan.conditionals import Conditional, conditional_for
from lightdan.data import derive_seed
from lightdan.objectives import MaximumLikelihood, Objective, Problem
from lightdan.provenance import check_checkpoint, constructor_arguments, origin_of
from lightdan.types import Batch, Configurations, PerConfiguration


class Architecture(LightningModule):
    """ln p_θ(s) = Σ_i ln p(s_i | s_<i), the sites in raster order, with H_θ(s, T) = −T ln p_θ(s).

    A subclass implements `forward`, the conditional parameters of all sites in one pass, and, for
    sampling at the cost of about one pass, `incremental`. The arguments of the lattice and its sites
    come from the system: the command line links them.

    Args:
        lattice_shape: Numbers of sites along the axes.
        site_kind: ``spin``, ``level``, ``angle`` or ``real``.
        levels: The values of a discrete site.
        symmetries: Names of the symmetry operations that the system declares.
        conditional: Distribution of one site; by default the one that fits the kind of site.
        objective: What training minimises; by default the likelihood.
        augment: Operations of which random elements are applied to each training batch.
        symmetrize: Operations that make p_θ(s) = ⟨p(g s)⟩, the mean over their group, which stays
            normalised. Maximum likelihood trains its bound ⟨ln p(g s)⟩ with one random g a step.
        reference_frame: Of angles: p_θ(θ) = p(θ_1 − θ_0, θ_2 − θ_0, …), the first angle being uniform;
            exactly invariant under global rotations, and normalised.
        temperature_input: Whether the network sees 1/T, so that one network serves several T.
        optimizer: Constructor of the optimizer from the weights.
        scheduler: Constructor of a schedule stepped every epoch; by default a cosine to zero over
            the whole training, after a warm-up of a twentieth of it.

    Raises:
        ValueError: an operation that the system does not declare, a conditional that does not fit, a
            reference frame without angles.
    """

    def __init__(
        self,
        lattice_shape: Sequence[int],
        site_kind: str = "spin",
        levels: Sequence[int] = (-1, 1),
        symmetries: Sequence[str] = tuple(lattice.OPERATIONS),
        conditional: Conditional | None = None,
        objective: Objective | None = None,
        augment: Sequence[str] = (),
        symmetrize: Sequence[str] = (),
        reference_frame: bool = False,
        temperature_input: bool = False,
        optimizer: OptimizerCallable = torch.optim.AdamW,
        scheduler: LRSchedulerCallable | None = None,
    ) -> None:
        super().__init__()
        self.lattice_shape = tuple(lattice_shape)
        self.num_sites = math.prod(lattice_shape)
        self.site_kind = site_kind
        self.conditional = conditional_for(site_kind, levels, conditional)
        arguments = constructor_arguments(self, omit={"objective", "optimizer", "scheduler"})
        self.save_hyperparameters(arguments | {"conditional": self.conditional.spec()})
        self.objective = objective or MaximumLikelihood()
        self.augment, self.symmetrize = tuple(augment), tuple(symmetrize)
        for option, names in (("augment", augment), ("symmetrize", symmetrize)):
            if unknown := sorted(set(names) - set(symmetries)):
                raise ValueError(
                    f"model.{option} names {', '.join(unknown)}, which the system does not declare; "
                    f"its symmetries are: {', '.join(symmetries) or 'none'}."
                )
        if "spin_rotation" in symmetrize:
            raise ValueError(
                "model.symmetrize cannot average over spin_rotation, a continuous group: set "
                "model.reference_frame to true."
            )
        if reference_frame and site_kind != "angle":
            raise ValueError(
                f"model.reference_frame is for angles, not for sites of kind {site_kind!r}."
            )
        self.reference_frame = reference_frame
        self.temperature_input = temperature_input
        self.optimizer, self.scheduler = optimizer, scheduler
        self._augmentations = [lattice.OPERATIONS[name](lattice_shape) for name in augment]
        self.group = lattice.group(self.symmetrize, lattice_shape)

    # What a subclass gives

    @abstractmethod
    def forward(
        self, configurations: Configurations, temperature: PerConfiguration | None = None
    ) -> Tensor:
        """Conditional parameters of all sites `(B, sites, parameters)`; those of i see s_<i only."""

    def incremental(
        self, num: int, temperature: PerConfiguration | None = None
    ) -> Generator[Tensor, Tensor, None]:
        """Yield the parameters `(B, parameters)` of site after site, being sent the values `(B,)`.

        This fallback makes a full pass a site; an architecture that keeps a cache overrides it.
        """
        flat = self._any_weight.new_ones(num, self.num_sites)
        for site in range(self.num_sites):
            parameters = self(flat.reshape(num, *self.lattice_shape), temperature)
            flat[:, site] = yield parameters[:, site]

    # The distribution

    @property
    def _any_weight(self) -> Tensor:
        """For its device and floating type."""
        return next(self.parameters())

    @property
    def num_features(self) -> int:
        """Features by which the network sees a site."""
        return self.conditional.num_features * (2 if self.temperature_input else 1)

    def features(self, values: Tensor, temperature: PerConfiguration | None) -> Tensor:
        """What the network sees of site values `(B, ...)`: their features f `(B, ..., F)`.

        With temperature input both f and f/T, for at high temperature couplings go as 1/T.

        Raises:
            ValueError: the network has temperature input and no temperature is given.
        """
        features = self.conditional.features(values)
        if not self.temperature_input:
            return features
        if temperature is None:
            raise ValueError("The network sees the temperature: give one.")
        beta = (1 / temperature).reshape(-1, *[1] * (features.ndim - 1))
        return torch.cat([features, beta * features], dim=-1)

    def conditionals(
        self, configurations: Configurations, temperature: PerConfiguration | None = None
    ) -> Tensor:
        """Ln p(s_i | s_<i) of every site `(B, *lattice)`, of the network before symmetrisation."""
        if not self.reference_frame:
            parameters = self(configurations, temperature)
            terms = self.conditional.log_prob(configurations.flatten(1), parameters)
            return terms.reshape(configurations.shape)
        flat = configurations.flatten(1)
        relative = lattice.wrap(flat - flat[:, :1])
        parameters = self(relative.reshape(configurations.shape), temperature)
        terms = self.conditional.log_prob(relative[:, 1:], parameters[:, 1:])
        # The first angle is uniform: density 1 in the measure dθ/2π.
        return F.pad(terms, (1, 0)).reshape(configurations.shape)

    def bare_log_prob(
        self, configurations: Configurations, temperature: PerConfiguration | None = None
    ) -> PerConfiguration:
        """Ln p of the network before symmetrisation `(B,)`."""
        return self.conditionals(configurations, temperature).flatten(1).sum(1)

    def log_prob(
        self, configurations: Configurations, temperature: PerConfiguration | None = None
    ) -> PerConfiguration:
        """Ln p_θ `(B,)`: with `symmetrize` ln of the mean of p over the group, |G| passes."""
        if len(self.group) == 1:
            return self.bare_log_prob(configurations, temperature)
        elements = torch.arange(len(self.group), device=configurations.device)
        images = [
            self.bare_log_prob(self.group.act(configurations, element), temperature)
            for element in elements
        ]
        return torch.stack(images).logsumexp(0) - math.log(len(self.group))

    def hamiltonian(
        self, configurations: Configurations, temperature: PerConfiguration | float
    ) -> PerConfiguration:
        """H_θ(s, T) = −T ln p_θ(s) in units of T, up to the constant −T ln Z `(B,)`."""
        temperature = torch.as_tensor(temperature).to(configurations).expand(len(configurations))
        return -temperature * self.log_prob(configurations, temperature)

    def energy_difference(
        self,
        configurations: Configurations,
        site: int,
        value: PerConfiguration | float,
        temperature: PerConfiguration | float,
    ) -> PerConfiguration:
        """H_θ(s') − H_θ(s) for s' with `value` at the site of this raster index `(B,)`."""
        changed = configurations.flatten(1).clone()
        changed[:, site] = value
        changed = changed.reshape(configurations.shape)
        return self.hamiltonian(changed, temperature) - self.hamiltonian(configurations, temperature)

    @torch.no_grad()
    def draw(self, uniforms: Tensor, temperature: PerConfiguration | None = None) -> Tensor:
        """Configurations of the bare network at given uniform numbers `(B, sites)` in [0, 1)."""
        steps = self.incremental(len(uniforms), temperature)
        parameters = next(steps)
        columns: list[Tensor] = []
        for column in uniforms.T:
            first = self.reference_frame and not columns
            value = torch.zeros_like(column) if first else self.conditional.sample(parameters, column)
            columns.append(value)
            try:
                parameters = steps.send(columns[-1])
            except StopIteration:
                break
        values = torch.stack(columns, dim=1)
        if self.reference_frame:
            values = lattice.wrap(values + lattice.TWO_PI * uniforms[:, :1])
        return values.reshape(-1, *self.lattice_shape)

    @torch.no_grad()
    def sample(
        self,
        num: int,
        seed: int | torch.Generator = 0,
        temperature: PerConfiguration | float | None = None,
        batch_size: int = 1000,
        progress: Callable[[int], None] = lambda n: None,
    ) -> Tensor:
        """Independent configurations of p_θ `(num, *lattice)`.

        Args:
            num: How many.
            seed: Of the random numbers, or a generator on the model's device.
            temperature: T, for a network with temperature input.
            batch_size: Configurations drawn at a time.
            progress: Told how many more are drawn.
        """
        generator = seed if isinstance(seed, torch.Generator) else self._generator(seed)
        if temperature is not None:
            temperature = torch.as_tensor(temperature).to(self._any_weight).expand(num)
        drawn = []
        for rows in torch.arange(num, device=self.device).split(batch_size):
            uniforms = self._any_weight.new_empty(len(rows), self.num_sites).detach()
            uniforms.uniform_(generator=generator)
            part = self.draw(uniforms, None if temperature is None else temperature[rows])
            drawn.append(self.group.act(part, self.group.random_elements(len(rows), generator)))
            progress(len(rows))
        return torch.cat(drawn)

    # Training

    def setup(self, stage: str) -> None:
        """Refuse a system that does not fit the objective or the temperature input.

        Raises:
            ValueError: several temperatures without temperature input, or no energy to minimise.
        """
        system = getattr(self.trainer, "datamodule", None)
        if system is None:
            return
        if len(system.temperatures) > 1 and not self.temperature_input:
            raise ValueError(
                f"The data have {len(system.temperatures)} temperatures, and the network does not see "
                "them: set model.temperature_input to true, or train at one temperature."
            )
        if stage == "fit" and self.objective.needs_energy and not system.has_energy:
            raise ValueError(
                f"{type(self.objective).__name__} needs an energy, and the Hamiltonian of "
                f"{type(system).__name__} is not known: use MaximumLikelihood."
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

    def _generator(self, seed: int) -> torch.Generator:
        return torch.Generator(self.device).manual_seed(seed)

    def _problem(self, generator: torch.Generator) -> Problem:
        def one_image_log_prob(configurations: Tensor, temperature: Tensor) -> Tensor:
            elements = self.group.random_elements(len(configurations), generator)
            return self.bare_log_prob(self.group.act(configurations, elements), temperature)

        return Problem(
            log_prob=self.log_prob,
            log_prob_bound=one_image_log_prob,
            sample=lambda t: self.sample(len(t), generator, t, batch_size=len(t)),
            energy=self.trainer.datamodule.energy,
            weights=self.parameters,
            num_configurations=self.trainer.datamodule.num_in("train"),
            step=self.global_step,
        )

    # Checkpoints

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Say what the checkpoint is of."""
        checkpoint["lightdan"] = origin_of(type(self))

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
        kept = checkpoint["hyper_parameters"]
        for name, value in kept.items():
            if name in self.hparams and self.hparams[name] != value:
                raise ValueError(
                    f"The checkpoint was trained with {name} = {value}, and this run has "
                    f"{self.hparams[name]}: give the configuration that it was trained with."
                )


def warm_cosine(progress: float, warm_up: float = 0.05) -> float:
    """Factor of the learning rate: linear up to 1 during `warm_up`, then half a cosine down to 0."""
    if progress < warm_up:
        return progress / warm_up
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (progress - warm_up) / (1 - warm_up))))
