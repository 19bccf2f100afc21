"""The file that ``lightdan predict`` writes."""

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from lightdan.data.cache import write_hdf5
from lightdan.runs.directories import run_directory


class PredictionWriter(Callback):
    """Callback of ``lightdan predict`` that writes ln p_θ and H_θ to ``<run>/predictions.h5``."""

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write one file, or ``predictions-<rank>.h5`` from each of several processes."""
        batches = trainer.predict_loop.predictions
        share = f"-{trainer.global_rank}" if trainer.world_size > 1 else ""
        path = run_directory(trainer) / f"predictions{share}.h5"
        path.parent.mkdir(parents=True, exist_ok=True)
        arrays = {
            name: torch.cat([batch[name] for batch in batches]).cpu().numpy() for name in batches[0]
        }
        write_hdf5(path, arrays, {"seed": trainer.datamodule.seed})
        print(f"ln p and H of {len(arrays['log_prob'])} configurations: {path}")
