"""Estimates with errors: correlated series, functions of means, importance weights."""

from lightdan.statistics.blocks import TIMES_PER_BLOCK, Blocks, block_length
from lightdan.statistics.correlation import LEAST_TIMES, autocorrelation_time, is_correlated
from lightdan.statistics.estimates import Bound, Estimate, student_factor
from lightdan.statistics.importance import (
    bennett,
    effective_sample_size,
    log_mean_exp,
    weighted_mean,
)
from lightdan.statistics.means import effective_number, jackknife, jackknife_each, mean

__all__ = [
    "LEAST_TIMES",
    "TIMES_PER_BLOCK",
    "Blocks",
    "Bound",
    "Estimate",
    "autocorrelation_time",
    "bennett",
    "block_length",
    "effective_number",
    "effective_sample_size",
    "is_correlated",
    "jackknife",
    "jackknife_each",
    "log_mean_exp",
    "mean",
    "student_factor",
    "weighted_mean",
]
