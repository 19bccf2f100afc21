"""Auto: a network that the data choose, started from their local Hamiltonian."""

from collections.abc import Callable, Generator, Mapping
from typing import Any, Literal, cast

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from lightdan.architectures.base import Architecture, warm_cosine
from lightdan.architectures.made import MADE
from lightdan.architectures.pixelcnn import PixelCNN
from lightdan.architectures.rehearsal import Contest, Draws, divergence
from lightdan.architectures.start import Start, choose_start
from lightdan.architectures.walkers import Walkers
from lightdan.checks import SMALLEST, check_number
from lightdan.data.loader import BatchLoader
from lightdan.lattices import groups
from lightdan.statistics import Blocks
from lightdan.types import Batch, Conditions, Configurations

RATES = {"PixelCNN": (1.0, 0.3), "MADE": (0.3, 0.03)}
"""Learning rates of draws, and of data after a start, relative to that of a fit without a start.

MADE starts at the minimum of its linear part, which the noise of large steps would destroy.
"""
CHOSEN = ("network", "rehearsal", "prior_width", "augment", "symmetrize", "reference_frame")
"""Arguments that the data choose."""
PURPOSE = 1_000_000
"""Number of the random stream that chooses draws."""


class Auto(Architecture):
    """Network that the training data choose, started from their local Hamiltonian.

    - A uniform Hamiltonian is fitted by pseudo-likelihood if the sites form a lattice. Held-out parts of
      the training configurations choose its range and symmetries, and compare it with all pairs of
      spins. If it wins, the network is `PixelCNN`, augmented and symmetrised by these symmetries.
    - Otherwise the network is `MADE`. Spins and levels start as the linear regression on the sites
      before. Up to 100 spins have a regression to draws, unless one to the data is better by more than
      two errors. The draws are from
      a sparse graph or from all pairs, as held-out pseudo-likelihood decides.
      Held-out configurations choose the width of the prior. Angles draw from all pairs, fields from a
      normal distribution.
    - The first steps learn these draws, all others the data. Weights of the data must be better than
      those of the start by one error of the paired difference on validation configurations, which
      val_loss contains.

    At several temperatures or with controls only the lattice decides, and all steps learn the data.

    Args:
        network: Network; ``auto`` chooses it when training begins.
        rehearsal: Number of steps that learn draws from the local Hamiltonian.
        prior_width: Width of the Gaussian prior of all weights but biases while the data are learned,
            chosen with MADE.
        kwargs: Arguments of `Architecture`.

    Raises:
        ValueError: rehearsal is negative.

    Example:
        >>> model = Auto(lattice_shape=(4, 4))
        >>> tuple(model.sample(3, seed=0).shape)
        (3, 4, 4)
    """

    def __init__(
        self,
        network: Literal["auto", "MADE", "PixelCNN"] = "auto",
        rehearsal: int = 1_000,
        prior_width: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if rehearsal < 0:
            raise ValueError(f"rehearsal is {rehearsal}: set it to 0 or more.")
        self.draws: Draws | None = None
        self.contest: Contest | None = None
        self._merits: list[Tensor] = []
        if prior_width is not None:
            check_number("prior_width", prior_width, SMALLEST)
        self.adopt(network, rehearsal, prior_width)

    def adopt(
        self,
        network: str,
        rehearsal: int,
        prior_width: float | None,
        augment: tuple[str, ...] | None = None,
        symmetrize: tuple[str, ...] | None = None,
        reference_frame: bool | None = None,
    ) -> None:
        """Make the network and set its symmetries; None keeps those of the constructor.

        Args:
            network: ``MADE``, ``PixelCNN`` or ``auto``.
            rehearsal: Number of steps that learn draws.
            prior_width: Width of the Gaussian prior.
            augment: Symmetries of the training batches.
            symmetrize: Symmetries over which p is averaged.
            reference_frame: Whether angles are measured from the first one.
        """
        self.rehearsal, self.prior_width = rehearsal, prior_width
        if augment is not None:
            self.augment = tuple(augment)
            self._augmentations = [groups.OPERATIONS[name](self.lattice) for name in augment]
        if symmetrize is not None:
            self.symmetrize = tuple(symmetrize)
            self.group = groups.group(symmetrize, self.lattice)
        if reference_frame is not None:
            self.reference_frame = reference_frame
        self.hparams.update(
            network=network,
            rehearsal=rehearsal,
            prior_width=prior_width,
            augment=self.augment,
            symmetrize=self.symmetrize,
            reference_frame=self.reference_frame,
        )
        self.network: Architecture = self._made() if network != "PixelCNN" else self._pixel_cnn()
        self.ordering = self.network.ordering
        self._give_units(self.network)

    def _made(self) -> MADE:
        return MADE(width=4, **self._options())

    def _pixel_cnn(self) -> PixelCNN:
        return PixelCNN(channels=16, depth=2, kernel=3, **self._options())

    def _options(self) -> dict[str, Any]:
        ordering = self.hparams.get("ordering", "raster")
        return {
            "lattice_shape": self.lattice_shape,
            "lattice_spec": None if self.lattice.is_hypercubic else self.lattice.spec,
            "site_kind": self.site_kind,
            "levels": self.levels,
            "symmetries": self.symmetries,
            "conditional": self.conditional,
            "reference_frame": self.reference_frame,
            "temperature_input": self.temperature_input,
            "control_names": self.control_names,
            "ordering": ordering if isinstance(ordering, str) else list(ordering),
        }

    def _give_units(self, network: Architecture) -> None:
        """Give a network the units of the field, of the temperature and of the controls."""
        for name, units in self.named_buffers(recurse=False):
            getattr(network, name).copy_(units)

    # The distribution

    def forward(self, configurations: Configurations, conditions: Conditions | None = None) -> Tensor:
        """Return the parameters of all sites `(B, sites, parameters)`."""
        parameters: Tensor = self.network(configurations, conditions)
        return parameters

    def incremental(
        self, num: int, conditions: Conditions | None = None
    ) -> Generator[Tensor, Tensor, None]:
        """Yield the parameters stage by stage; all stages together cost about one pass."""
        return self.network.incremental(num, conditions)

    def at_place(self, place: int) -> Callable[[Configurations, Conditions | None], Tensor]:
        """Return the function of the network for the parameters of one site."""
        return self.network.at_place(place)

    def bare_walkers(self, arranged: Configurations, conditions: Conditions | None = None) -> Walkers:
        """Return walkers of the network."""
        self._give_units(self.network)
        return self.network.bare_walkers(arranged, conditions)

    # Training

    def setup(self, stage: str) -> None:
        """Take the units from the training data, and choose the network when training begins."""
        super().setup(stage)
        self._give_units(self.network)
        system = getattr(self.trainer, "datamodule", None)
        if stage != "fit" or system is None or self.hparams["network"] != "auto":
            return
        if self.objective.needs_energy:
            self.adopt("MADE", 0, None)
            return
        self.start(choose_start(system, self._unit_made))

    def _unit_made(self) -> MADE:
        """Return an untrained MADE with the units of the training data."""
        network = self._made()
        self._give_units(network)
        return network

    def start(self, start: Start) -> None:
        """Adopt a start, and say why.

        Args:
            start: Network, symmetries, draws, prior and weights.
        """
        turns = "spin_rotation" in start.symmetries
        operations = [name for name in start.symmetries if name != "spin_rotation"]
        self.adopt(
            start.network,
            self.rehearsal if start.draws is not None else 0,
            start.prior_width,
            augment=tuple(dict.fromkeys((*self.augment, *operations))),
            symmetrize=tuple(
                dict.fromkeys((*self.symmetrize, *(n for n in operations if n != "translation")))
            ),
            reference_frame=self.reference_frame or turns,
        )
        self.draws = start.draws
        if start.draws is not None or start.weights is not None:
            self.contest = Contest()
        if start.weights is not None:
            self.network.load_state_dict(start.weights)
        rank_zero_info(f"Auto: {start.network}, because {start.reason}")

    def take_choices(self, source: Architecture) -> None:
        """Adopt the network and the symmetries of another `Auto`, whose weights are then the start.

        Raises:
            ValueError: The data do not declare its symmetries.
        """
        chosen = {name: source.hparams[name] for name in CHOSEN}
        if self.hparams["network"] != "auto" or chosen["network"] == "auto":
            return
        for option in ("augment", "symmetrize"):
            self.check_declared(option, chosen[option])
        self.adopt(**chosen | {"rehearsal": 0})
        self.contest = Contest()
        rank_zero_info(f"Auto: {chosen['network']}, because --start_from has its weights")

    def training_step(self, batch: Batch) -> Tensor:
        """Return the loss of a batch, of draws at first, with the prior of the weights."""
        if self.global_step < self.rehearsal:
            return self.rehearse(batch)
        loss = super().training_step(batch)
        if self.prior_width is None:
            return loss
        squares = [w.square().sum() for name, w in self.network.named_parameters() if "bias" not in name]
        num = self.trainer.datamodule.data.observations_in("train")
        return loss + torch.stack(squares).sum() / (2 * self.prior_width**2 * num)

    def rehearse(self, batch: Batch) -> Tensor:
        """Return the loss of as many draws as the batch has configurations."""
        if self.draws is None:
            raise ValueError(
                f"Auto has no draws for its first {self.rehearsal} steps: set network to 'auto'."
            )
        generator = self._step_generator(PURPOSE)
        drawn = self.draws.some(len(batch.configurations), generator.initial_seed())
        configurations = self.augmented(drawn.configurations.to(batch.configurations), generator)
        log_prob = self.problem(generator).log_prob_bound(configurations, batch.conditions)
        self.log_training(-log_prob.mean())
        return divergence(log_prob, drawn.action.to(log_prob))

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Log the validation loss, or keep its terms if it is part of a contest."""
        if self.contest is None or self.trainer.state.fn != "fit":
            super().validation_step(batch, batch_index)
            return
        problem = self.problem(self._step_generator(1 + batch_index))
        self._merits.append(self.objective.figure_of_merit(problem, batch).double())

    def on_validation_epoch_end(self) -> None:
        """Log the validation loss as `Contest` defines it."""
        merits, self._merits = self._merits, []
        if self.contest is None or not merits or self.trainer.sanity_checking:
            return
        loader, system = cast(BatchLoader, self.trainer.val_dataloaders), self.trainer.datamodule
        places = torch.arange(loader.num).tensor_split(len(loader))[: len(merits)]
        values = merits[0].new_zeros(sum(map(len, places)))
        for place, part in zip(places, merits, strict=True):
            values[place.tensor_split(loader.world_size)[loader.rank]] = part
        values = self.trainer.strategy.reduce(values, reduce_op="sum")
        phase: Literal["draws", "start", "data"] = "draws"
        if self.global_step >= self.rehearsal:
            phase = "start" if self.waits or self.global_step == self.rehearsal else "data"
        blocks = [
            part.blocks("validation", temperature)
            for part in system.parts
            for temperature in part.temperatures
        ]
        weights = loader.weights
        merit = self.contest.merit(
            values.cpu().numpy(),
            phase,
            None if weights is None else weights[: len(values)].cpu().numpy(),
            Blocks.join(blocks).first(len(values)),
        )
        self.log("val_loss", merit, prog_bar=True)

    def on_train_end(self) -> None:
        """Say whether the data have improved on the draws."""
        if self.contest is not None and (sentence := str(self.contest)):
            rank_zero_info(f"Auto: {sentence}")

    def learning_rate_factor(self, step: int) -> float:
        """Return the factor of the learning rate: one cycle for the draws, a lower one for the data."""
        if not step or self.waits:
            return 0.0
        drawn, fine = RATES[type(self.network).__name__]
        if step < self.rehearsal:
            return drawn * warm_cosine(step / self.rehearsal)
        rest = self.trainer.estimated_stepping_batches - self.rehearsal
        progress = (step - self.rehearsal) / max(1.0, rest)
        return (1.0 if self.contest is None else fine) * warm_cosine(progress)

    @property
    def waits(self) -> bool:
        """Whether a start without draws waits for its first validation, to be kept as the best one."""
        waits = not self.rehearsal and self.contest is not None and self.contest.reference is None
        return waits and bool(self.trainer.enable_validation)

    # Checkpoints

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the draws while they are learned."""
        super().on_save_checkpoint(checkpoint)
        if self.draws is not None and self.global_step < self.rehearsal:
            checkpoint["lightdan"]["draws"] = self.draws._asdict()
        if self.contest is not None:
            checkpoint["lightdan"]["contest"] = self.contest.plain()

    def on_load_checkpoint(self, checkpoint: Mapping[str, Any]) -> None:
        """Adopt what the run of the checkpoint has chosen, then check the arguments.

        Raises:
            ValueError: The checkpoint is of another architecture, or has other arguments.
        """
        theirs = checkpoint.get("hyper_parameters", {})
        if self.hparams["network"] == "auto" and "network" in theirs:
            self.adopt(**{name: theirs[name] for name in CHOSEN})
        super().on_load_checkpoint(checkpoint)
        origin = checkpoint["lightdan"]
        self.draws = Draws(**origin["draws"]) if "draws" in origin else None
        self.contest = Contest.read(origin["contest"]) if "contest" in origin else None
