# Copyright (c) sskd_mm authors. All rights reserved.
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import LoggerHook
from mmengine.runner.priority import get_priority

from sskd_mm.engine import PhaseMemoryHook
from sskd_mm.engine.hooks import phase_memory_hook


def run_phase(hook, *iterations):
    """Run a phase of one epoch and return what is noted of it."""
    notes = {}
    runner = SimpleNamespace(
        message_hub=SimpleNamespace(update_info=notes.__setitem__))
    hook.before_phase(runner, None)
    hook.before_train_epoch(runner)
    for number, iteration in enumerate(iterations):
        iteration()
        hook.after_train_iter(runner, number)
    hook.after_train_epoch(runner)
    hook.after_phase(runner, None)
    return notes['sskd/peak_memory']


def take(mib):
    torch.ones(mib, 2**18)


@pytest.fixture
def gpu(monkeypatch):
    """A GPU's count of what is allocated; ``peak`` in MiB."""
    count = SimpleNamespace(peak=0)
    for name, function in dict(
            is_available=lambda: True,
            max_memory_allocated=lambda: count.peak * 2**20,
            reset_peak_memory_stats=lambda: setattr(count, 'peak', 0)).items():
        monkeypatch.setattr(torch.cuda, name, function)
    return count


def test_memory_of_the_process():
    hook = PhaseMemoryHook()
    large, small = (run_phase(hook, lambda: take(mib)) for mib in (300, 10))
    assert large['peak_memory_mib'] > 300
    if large['peak_memory_of'] == 'process_so_far':
        pytest.skip('this kernel does not reset the peak')
    assert small['peak_memory_of'] == 'process'
    assert small['peak_memory_mib'] < large['peak_memory_mib'] - 200


def test_peak_that_cannot_be_reset(monkeypatch, tmp_path):
    monkeypatch.setattr(phase_memory_hook, '_CLEAR_REFS', tmp_path / 'x' / 'y')
    hook = PhaseMemoryHook()
    large, small = (run_phase(hook, lambda: take(mib)) for mib in (300, 10))
    assert small['peak_memory_of'] == 'process_so_far'
    assert small['peak_memory_mib'] >= large['peak_memory_mib']


def test_without_proc(monkeypatch):
    """As on macOS."""
    for name in ('_CLEAR_REFS', '_STATUS'):
        monkeypatch.setattr(phase_memory_hook, name, Path('/not/there'))
    noted = run_phase(PhaseMemoryHook(), lambda: None)
    assert noted['peak_memory_of'] == 'process_so_far'
    assert noted['peak_memory_mib'] > 50


def test_a_log_resets_the_peak_of_the_gpu(gpu):
    """MMEngine's does, each time it writes the memory."""

    def step():
        gpu.peak = max(gpu.peak, 700)

    hook = PhaseMemoryHook()
    noted = run_phase(hook, step, torch.cuda.reset_peak_memory_stats)
    assert noted == dict(peak_memory_mib=700, peak_memory_of='gpu')
    assert run_phase(hook, lambda: None)['peak_memory_mib'] == 0
    assert get_priority(hook.priority) < get_priority(LoggerHook.priority)


def test_validation_within_an_epoch_is_left_out(gpu):
    hook = PhaseMemoryHook()

    def validate():
        gpu.peak = 100
        hook.before_val(None)
        gpu.peak = 900
        hook.after_val(None)

    assert run_phase(hook, validate)['peak_memory_mib'] == 100


def test_resumed_within_a_phase(gpu):
    hook = PhaseMemoryHook()
    state = {}

    def step():
        gpu.peak = 500

    run_phase(hook, step, lambda: state.update(hook.state_dict()))
    assert state == dict(mib=500, of='gpu')
    again = PhaseMemoryHook()
    noted = run_phase(again, lambda: again.load_state_dict(state))
    assert noted['peak_memory_mib'] == 500
