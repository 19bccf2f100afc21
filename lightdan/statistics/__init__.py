"""Estimates with errors: correlated series, functions of means, importance weights."""

from lightdan.statistics.blocks import TIMES_PER_BLOCK, Blocks, block_length
from lightdan.statistics.correlation import (
    FEWEST_TIMES,
    LEAST_TIMES,
    autocorrelation_time,
    is_correlated,
    is_too_short,
)
from lightdan.statistics.estimates import Bound, Estimate, freedom_left, student_factor
from lightdan.statistics.importance import (
    acceptance,
    bennett,
    effective_sample_size,
    log_mean_exp,
    weighted_mean,
)
from lightdan.statistics.means import blocks_of, effective_number, jackknife, jackknife_each, mean
from lightdan.statistics.pareto import pareto_shape, weakness, weakness_of_size

__all__ = [
    "FEWEST_TIMES",
    "LEAST_TIMES",
    "TIMES_PER_BLOCK",
    "Blocks",
    "Bound",
    "Estimate",
    "acceptance",
    "autocorrelation_time",
    "bennett",
    "block_length",
    "blocks_of",
    "effective_number",
    "effective_sample_size",
    "freedom_left",
    "is_correlated",
    "is_too_short",
    "jackknife",
    "jackknife_each",
    "log_mean_exp",
    "mean",
    "pareto_shape",
    "student_factor",
    "weakness",
    "weakness_of_size",
    "weighted_mean",
]
