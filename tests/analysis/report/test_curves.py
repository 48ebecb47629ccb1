"""The curves of a report show what happened, not how it was clocked."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.analysis.report.curves import POINTS, log_spaced, mean_speed, rounded, running_mean


def test_a_running_mean_keeps_the_course_and_drops_the_noise():
    course = 1 + np.exp(-np.linspace(0, 5, 500))
    noisy = course + 0.1 * np.where(np.arange(500) % 2, 1, -1)
    smooth = running_mean(noisy)
    assert smooth[0] == pytest.approx(noisy[0])
    assert np.abs(smooth - course)[20:].max() < 0.02
    assert running_mean(np.array([])).tolist() == []
    assert running_mean(np.array([3.0])).tolist() == [3.0]


def test_speed_is_even_where_work_was_though_its_clock_is_read_in_blocks():
    passed = np.arange(1.0, 501) * 1000
    clock = np.repeat(np.arange(1, 51), 10) * 2.0  # ten points share a time
    clock[200:] += 0.4 * np.random.default_rng(1).random(300)  # and some are read late
    clock = np.maximum.accumulate(clock)
    words = np.array(mean_speed(passed, clock)["words"])
    assert len(words) == POINTS
    assert words.min() > 0.8 * 5000
    assert words.max() < 1.2 * 5000


def test_speed_of_a_resumed_run_goes_on():
    passed = np.arange(1.0, 101) * 1000
    clock = np.concatenate([np.arange(1.0, 51), np.arange(1.0, 51)])
    speed = mean_speed(passed, clock)
    np.testing.assert_allclose(speed["words"], 1000, rtol=1e-3)
    assert speed["tokens"][-1] == 100_000


def test_too_few_points_have_no_speed():
    assert mean_speed(np.array([1.0]), np.array([1.0])) == {"tokens": [], "words": []}
    assert mean_speed(np.array([]), np.array([])) == {"tokens": [], "words": []}


def test_log_spaced_and_rounded():
    assert log_spaced(3).tolist() == [0, 1, 2]
    rows = log_spaced(1_000_000)
    assert (rows[0], rows[-1]) == (0, 999_999)
    assert (np.diff(rows) > 0).all()
    assert len(rows) <= 240
    assert rounded([1 / 3, float("nan"), float("inf")], 3) == [0.333, None, None]
