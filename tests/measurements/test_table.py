"""Rows of the table: deviations, bounds, and the choice among several temperatures."""

import math
from pathlib import Path

import pytest
from rich.console import Console

from lightdan.measurements.report import Result, Summary
from lightdan.measurements.table import Row, estimates, headlines, worst
from lightdan.statistics import Bound, Estimate


def row(value, reference=None, error=0.1, name="x", label="", measurement="m"):
    return Row(measurement, label, name, Estimate(value, error), reference)


def text(table, width=110):
    console = Console(width=width)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


@pytest.mark.parametrize(
    ("reference", "error", "cells"),
    [
        (1.0, 0.1, ("1.30(10)", "1", "+3.0 σ")),
        (0, 0.1, ("1.30(10)", "0", "+13.0 σ")),
        (Estimate(1.0, 0.1), 0.0, ("1.3 ± 0", "1.00(10)", "+3.0 σ")),
        (Estimate(1.0, math.inf), 0.1, ("1.30(10)", "1, no error", "")),
        (Bound(2.0, "≤"), 0.1, ("1.30(10)", "≤ 2", "")),
        (Bound(1.0, "≥"), 0.1, ("1.30(10)", "≥ 1", "")),
        (None, 0.1, ("1.30(10)", "", "")),
        (1.0, math.inf, ("1.3 ± inf", "1", "")),
        (1.0, 0.0, ("1.3 ± 0", "1", "")),
        (1.301, 0.1, ("1.30(10)", "1.301", "+0.0 σ")),
        (Bound(1.35, "≤"), 0.1, ("1.200 to 1.350", "≤ 1.35", "")),
        (Bound(1.25, "≥"), 0.1, ("1.250 to 1.400", "≥ 1.25", "")),
        (Bound(1.35, "≥"), 0.1, ("1.350 to 1.400", "≥ 1.35", "")),
        (Bound(1.45, "≥"), 0.1, ("1.30(10)", "≥ 1.45", "")),
        (Bound(1.35, "≤"), math.inf, ("1.3 ± inf", "≤ 1.35", "")),
    ],
)
def test_a_bound_has_no_deviation(reference, error, cells):
    assert row(1.3, reference, error).cells() == cells


def test_the_reason_for_no_error_stands_beside_the_number():
    rows = [row(1.25, 1.0, math.inf, "ess")._replace(remark="heavy weights, k = 0.92"), row(2.0)]
    for width in (80, 110):
        shown = text(estimates(rows, "Estimates"), width)
        assert "1.25" in shown
        assert "inf" not in shown
        assert all(word in shown for word in ("heavy", "0.92"))
    assert "no error" not in text(estimates(rows[1:], "Estimates"))
    assert "as above" in text(estimates([rows[0], rows[0]], "Estimates"))
    assert "1.25, no error" in text(headlines(rows))


def test_worst_temperature_is_furthest_from_the_reference():
    rows = [
        row(1.1, 1.0, label="T=1"),
        row(0.7, 1.0, label="T=2"),
        row(0.9, Bound(1.0, "≤"), name="r2", label="T=1"),
        row(0.8, Bound(1.0, "≤"), name="r2", label="T=2"),
        row(5.0, name="nll", label="T=1"),
        row(6.0, name="nll", label="T=2"),
        row(2.3, name="transition"),
    ]
    chosen = worst(rows)
    assert [(r.name, r.label) for r in chosen] == [("x", "T=2"), ("r2", "T=2"), ("transition", "")]
    assert "-3.0 σ" in text(estimates(chosen, "Estimates"))
    assert worst(rows[:1]) == rows[:1]


def test_numbers_are_whole_on_a_narrow_terminal():
    name, measurement = "pseudo_likelihood_nearest_neighbour", "importance_sampling"
    wide = row(-1234.5, Estimate(-1230.5, 0.1), 0.1, name, "T=2.26918", measurement)
    shown = text(estimates([wide], "Estimates"), width=80)
    for cell in (*wide.cells(), wide.label, "measurement", "deviation", "worst at"):
        assert cell in shown
    assert "…" not in shown


def test_headlines_come_in_order_from_the_first_measurement():
    rows = [
        row(0.9, 1.0, name="slope"),
        row(0.01, Bound(0.0, "≥"), name="kl"),
        row(80.0, name="nll"),
        row(10.0, 10.2, name="ln_z"),
        row(99.0, 10.0, name="ln_z", measurement="later"),
        row(1.0, name="energy"),
    ]
    shown = text(headlines(rows))
    assert shown.split("\n")[1].split() == ["KL", "(nats)", "slope", "ln", "Z"]
    assert "10.00(10), -2.0 σ" in shown
    assert "99" not in shown
    assert "NLL" in text(headlines(rows[2:3]))
    assert headlines(rows[5:]) is None


def test_a_note_of_all_temperatures_is_printed_once(capsys):
    summary = Summary()
    for label in ("T=1", "T=2"):
        summary.add("seen", Result({"x": Estimate(1.0, 0.1)}, notes=[f"only [{label}]"]), label)
        summary.note("luck", "skipped. There is none.", label)
    summary.note("survey", "Of several temperatures.")
    summary.show("Estimates", Path("runs"))
    output = capsys.readouterr().out
    assert output.count("luck: skipped. There is none.") == 1
    assert "seen at T=1: only [T=1]" in output
    assert "survey: Of several temperatures." in output
    assert output.index("T=2: only") < output.index("luck")
    assert "Numbers and figures: runs" in output
