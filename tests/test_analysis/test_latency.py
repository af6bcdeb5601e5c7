# Copyright (c) sskd_mm authors. All rights reserved.
import time

import pytest
import torch

from sskd_mm.analysis import measure_latency


def test_by_a_clock_of_our_own(monkeypatch):
    """Two networks take turns; what is before the warm-up's end is no part
    of the figures."""
    now, calls = [0.], []

    class Network:

        def __init__(self, name, seconds):
            self.name, self.seconds = name, iter(seconds)

        def test_step(self, data):
            assert torch.is_inference_mode_enabled()
            calls.append((self.name, data['inputs'][0]))
            data['inputs'].clear()  # as if it wrote into its input
            now[0] += next(self.seconds)

    monkeypatch.setattr(time, 'perf_counter', lambda: now[0])
    result = measure_latency(
        dict(
            a=Network('a', [9., 9., .1, .2, .3, .4, .5]),
            b=Network('b', [9., 9., .02, .02, .02, .02, .02])),
        [dict(inputs=['x', 'y']), dict(inputs=['z', 'w'])],
        repeats=5,
        warm_up=2)
    assert calls[:4] == [('a', 'x'), ('b', 'x'), ('a', 'z'), ('b', 'z')]
    assert len(calls) == 14
    # Of five values 5 % is a fifth of the way from the first to the second.
    assert result['a'] == pytest.approx(
        dict(median_ms=300, p5_ms=120, p95_ms=480, fps=2 / .3))
    assert result['b']['fps'] == pytest.approx(100)
