# Copyright (c) sskd_mm authors. All rights reserved.
"""A real training process is killed at random times and resumed."""
import multiprocessing
import os
import random
import re
import signal
import time
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from tool_process import ToolProcess

from sskd_mm.compat import (TruncatedCheckpointError, UntrustedCheckpointError,
                            load_checkpoint_file)
from sskd_mm.engine.find_checkpoint import find_checkpoint
from sskd_mm.engine.stop_request import StopRequest

ROOT = Path(__file__).parents[2]


def _config(distill_cfg, tmp_path, work_dir, **options) -> str:
    """Six phases of three iterations each, on data that a worker process
    augments at random."""
    cfg = distill_cfg(tmp_path / work_dir)
    cfg.train_dataloader.update(
        batch_size=4, num_workers=1, persistent_workers=True)
    cfg.train_dataloader.dataset.pipeline.insert(
        2, dict(type='PhotoMetricDistortion'))
    cfg.train_dataloader.dataset.indices = 12
    cfg.train_cfg.evaluate_teacher = False
    cfg.train_cfg.val_interval = 100
    cfg.train_cfg.mimic.max_epochs = 1
    cfg.merge_from_dict(options)
    path = tmp_path / f'{work_dir}.py'
    cfg.dump(path)
    return str(path)


def _start(config, *args):
    return ToolProcess(ROOT / 'tools/train.py', config, *args)


def _weights(work_dir):
    path = Path(work_dir, 'last_checkpoint').read_text()
    return load_checkpoint_file(path)['state_dict']


@pytest.fixture(scope='module')
def uninterrupted(distill_cfg, tmp_path_factory):
    folder = tmp_path_factory.mktemp('whole')
    _start(_config(distill_cfg, folder, 'whole')).finish()
    return _weights(folder / 'whole')


def pytest_generate_tests(metafunc):
    """As many faults as --kills says; benchmarks/faults.py runs more."""
    if 'rng_seed' in metafunc.fixturenames:
        metafunc.parametrize('rng_seed',
                             range(metafunc.config.getoption('--kills')))


def test_killed_and_resumed(uninterrupted, distill_cfg, tmp_path, rng_seed):
    expected = uninterrupted
    number = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)[rng_seed % 3]
    config = _config(distill_cfg, tmp_path, 'killed')
    work_dir = tmp_path / 'killed'
    instants = random.Random(rng_seed)
    kills = 0
    for phases in ((1, 3), (3, 5)):
        process = _start(config, *(['--resume'] if kills else []))
        first = instants.randint(*phases)
        for line in process.stdout:
            found = re.search(r'Phase (\d) of 6', line)
            if found and int(found[1]) >= first:
                break
        time.sleep(instants.uniform(0, 0.8))
        process.send_signal(number)
        kills += process.wait() != 0
    _start(config, '--resume').finish()
    assert kills > 0
    weights = _weights(work_dir)
    assert list(weights) == list(expected)
    for key, value in weights.items():
        assert torch.equal(value, expected[key]), key
    assert (work_dir / 'result.json').exists()
    assert not list(work_dir.glob('.*'))


def test_sigterm_saves_first(distill_cfg, tmp_path):
    config = _config(distill_cfg, tmp_path, 'term')
    process = _start(config)
    for line in process.stdout:
        if 'Phase 2 of 6' in line:
            break
    process.send_signal(signal.SIGTERM)
    output = process.stdout.read()
    assert process.wait() != 0
    checkpoint, content = find_checkpoint(str(tmp_path / 'term'))
    assert Path(checkpoint).name.startswith('iter_')
    assert f'Saved {checkpoint}; --resume continues' in output
    assert content['meta']['iter'] == int(Path(checkpoint).stem.split('_')[1])


class Hostile:

    def __reduce__(self):
        return os.mkdir, (self.path, )


def test_forked_process_ends_on_sigterm(tmp_path):
    """Though it inherits the training's handler by forking."""
    stop = StopRequest()
    stop.listen()
    try:
        process = multiprocessing.get_context('fork').Process(
            target=time.sleep, args=(60, ))
        process.start()
        process.terminate()
        process.join(20)
        assert process.exitcode == -signal.SIGTERM
    finally:
        process.kill()
        stop.ignore()
    assert not stop.is_agreed(1), 'the training itself goes on'


def test_which_checkpoint(tmp_path):

    def found(path=None):
        return find_checkpoint(str(tmp_path), path)[0]

    def save(name, iterations, age):
        path = tmp_path / f'{name}.pth'
        torch.save(
            dict(meta=dict(iter=iterations), x=torch.rand(1000)), path)
        os.utime(path, (1000 + age, 1000 + age))

    assert found() is None
    # Modification times are those of a copy, in the order of the names.
    for age, (name, iterations) in enumerate(
        (('epoch_10', 200), ('epoch_11', 220), ('epoch_9', 180), ('iter_190',
                                                                  190))):
        save(name, iterations, age)
    torch.save(dict(), tmp_path / 'best_mAP_epoch_2.pth')
    assert found().endswith('epoch_11.pth'), 'the one trained longest'
    # The one that the run named, wherever it was then.
    named = tmp_path / 'last_checkpoint'
    named.write_text('/elsewhere/work_dir/iter_190.pth')
    assert found().endswith('iter_190.pth')
    # If that is truncated, or its name is: the one trained longest.
    content = (tmp_path / 'iter_190.pth').read_bytes()
    (tmp_path / 'iter_190.pth').write_bytes(content[:-100])
    assert found().endswith('epoch_11.pth')
    named.write_text('')
    assert found().endswith('epoch_11.pth')
    with pytest.raises(TruncatedCheckpointError, match='iter_190.pth'):
        found(str(tmp_path / 'iter_190.pth'))
    # An untrusted one is an error, not skipped, and runs no code.
    Hostile.path = str(tmp_path / 'it_ran')
    torch.save(dict(meta=Hostile()), tmp_path / 'epoch_3.pth')
    with pytest.raises(UntrustedCheckpointError, match='epoch_3.pth'):
        found()
    assert not (tmp_path / 'it_ran').exists()


def test_other_batch_size_within_a_phase_is_refused(distill_cfg, tmp_path):
    from mmengine.runner import Runner
    cfg = distill_cfg(tmp_path)
    cfg.train_cfg.mimic.max_epochs = 2
    cfg.train_dataloader.dataset.indices = 8
    cfg.train_dataloader.batch_size = 4
    cfg.train_cfg.evaluate_teacher = False
    Runner.from_cfg(cfg).train()
    again = Config(cfg.to_dict())
    again.resume = True
    again.train_dataloader.batch_size = 2
    again.load_from = f'{tmp_path}/epoch_1.pth'
    again.work_dir = str(tmp_path / 'again')
    with pytest.raises(ValueError, match='2 iterations per epoch, now there '
                       'are 4. .*same global batch'):
        Runner.from_cfg(again).train()
    # Between two phases, the old schedule has no effect.
    again.load_from = f'{tmp_path}/epoch_10.pth'
    runner = Runner.from_cfg(again)
    runner.train()
    assert runner.iter == 11 * 4


def test_no_checkpoint_is_removed_before_the_next_is_there(
        distill_cfg, tmp_path, monkeypatch):
    from mmengine.runner import Runner
    cfg = distill_cfg(tmp_path)
    cfg.train_dataloader.dataset.indices = 8
    cfg.train_cfg.evaluate_teacher = False
    cfg.default_hooks.checkpoint.max_keep_ckpts = 1
    runner = Runner.from_cfg(cfg)
    save = runner.save_checkpoint
    seen = []

    def full_disk(*args, **kwargs):
        seen.append(sorted(p.name for p in tmp_path.glob('epoch_*.pth')))
        if len(seen) == 3:
            raise OSError(28, 'No space left on device')
        save(*args, **kwargs)

    monkeypatch.setattr(runner, 'save_checkpoint', full_disk)
    with pytest.raises(OSError, match='No space left'):
        runner.train()
    assert seen == [[], ['epoch_1.pth'], ['epoch_2.pth']]
    load_checkpoint_file(str(tmp_path / 'epoch_2.pth'))
