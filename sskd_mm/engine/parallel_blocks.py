# Copyright (c) sskd_mm authors. All rights reserved.
import copy
import gc
import os
import time
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

import torch
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.runner import Runner, save_checkpoint

from ..analysis import dry_runner, measure_alignment
from ..analysis.plan import count_step
from ..compat import load_checkpoint_file
from .hooks import PhaseHook

#: Where a launcher says which process this is: number, of how many, and the
#: number on its machine.
_ENVIRONMENT = dict(
    pytorch=('RANK', 'WORLD_SIZE', 'LOCAL_RANK'),
    slurm=('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID'),
    mpi=('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE',
         'OMPI_COMM_WORLD_LOCAL_RANK'))


class ParallelBlocks:
    """Trains the stages of a first phase ``blockwise`` in parallel.

    In that phase a stage depends on the teacher alone, so the stages are
    dealt out to the launcher's processes, those that compute most first.
    Each block of stages is a run of its own (``train_cfg.block``) in the
    folder ``blockwise/<block>`` of the work directory, with checkpoints and
    logs of its own: the processes exchange nothing until all blocks are
    there, and one that is lost takes nothing of the others with it. A block
    has in each step as many images as all processes together have in the
    other phases. It sees them as a run in one process with that batch does,
    and ends with the same weights, bit for bit.

    Then the first process puts the blocks together in a checkpoint from
    which all go on as usual, with the phase after it.

    Args:
        cfg (Config): The run's config; its ``launcher`` tells where to find
            the number of this process.

    Raises:
        ValueError: The first phase is not ``blockwise``, gradients are
            clipped over all stages, or there is no seed that all processes
            begin with.

    Example:
        >>> cfg = Config.fromfile('my_distillation.py')
        >>> cfg.launcher, cfg.work_dir = 'pytorch', 'work_dirs/mine'
        >>> ParallelBlocks(cfg).run()
        >>> Runner.from_cfg(cfg).train()  # the phases behind it
    """

    def __init__(self, cfg: Config) -> None:
        self.cfg = cfg
        self.rank, self.processes, device = _place(cfg.get('launcher'))
        if torch.cuda.is_available():
            torch.cuda.set_device(device)
        if (cfg.get('randomness') or {}).get('seed') is None:
            raise ValueError(
                'Blocks that are trained in parallel must begin with the same '
                'weights. Give the seed: randomness=dict(seed=0).')
        self.work_dir = Path(cfg.work_dir)
        with dry_runner(_alone(cfg)) as runner:
            loop = runner.train_loop
            self.epochs = loop.phases[0].max_epochs
            self.costs = {
                block: _count(loop, block)
                for block in loop.find_blocks()
            }

    @property
    def placed(self) -> List[List[Tuple[str, ...]]]:
        """list[list[tuple[str]]]: The blocks of each process: the one that
        computes most goes to who has least so far, and so on."""
        placed: List[list] = [[] for _ in range(self.processes)]
        for block in sorted(self.costs, key=self.costs.get, reverse=True):
            min(placed,
                key=lambda own: sum(self.costs[b] for b in own)).append(block)
        return placed

    def checkpoint(self, block: Sequence[str]) -> Path:
        """What a block's run ends with."""
        return self._folder(block) / f'epoch_{self.epochs}.pth'

    def _folder(self, block: Sequence[str]) -> Path:
        return self.work_dir / 'blockwise' / '+'.join(block)

    def run(self) -> None:
        """Train the blocks and let the config resume from them, unless it
        resumes from a later phase."""
        cfg = self.cfg
        begun = cfg.get('resume') and (cfg.get('load_from') or any(
            path for name in ('epoch', 'iter')
            for path in self.work_dir.glob(f'{name}_*.pth')))
        if not begun:
            self.train()
            cfg.resume, cfg.load_from = True, self.join()

    def train(self) -> None:
        """Train the blocks of this process and wait for the others.

        With ``cfg.resume`` those that are there are left as they are, and
        one that was begun goes on.

        Raises:
            FileExistsError: There are checkpoints of an earlier run, but
                ``cfg.resume`` is not set.
        """
        own = self.placed[self.rank]
        for block in own:
            if not self.cfg.get('resume') and any(
                    self._folder(block).glob('*.pth')):
                raise FileExistsError(
                    f'{self._folder(block)} holds checkpoints of an earlier '
                    'run. Add --resume to go on with it, or name another '
                    '--work-dir.')
        for block in own:
            if not self.checkpoint(block).exists():
                Runner.from_cfg(self.configure(block)).train()
                gc.collect()
                torch.cuda.empty_cache()
        seconds = 0
        while missing := [
                b for b in self.costs if not self.checkpoint(b).exists()
        ]:
            if seconds % 600 == 0:
                print_log(
                    f'Process {self.rank} waits for '
                    f'{", ".join(str(self.checkpoint(b)) for b in missing)}.',
                    'current')
            time.sleep(1)
            seconds += 1

    def configure(self, block: Sequence[str]) -> Config:
        """The config of a block's run."""
        cfg = _alone(self.cfg)
        cfg.work_dir = str(self._folder(block))
        cfg.train_cfg.block = list(block)
        cfg.train_dataloader.batch_size *= self.processes
        # MMEngine tells runs and their visualizers apart by name.
        name = f'{self.work_dir.name}_{"+".join(block)}'
        cfg.experiment_name = name
        if cfg.get('visualizer'):
            cfg.visualizer.name = name
        if block != next(iter(self.costs)):
            # The first one's evaluates the teacher.
            cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
        return cfg

    def join(self) -> str:
        """Put the finished blocks together.

        Only the first process does so; for the others the file is there as
        soon as they have met it in the process group.

        Returns:
            str: A checkpoint to resume from, as if all blocks had been
            trained in one run.

        Raises:
            FileNotFoundError: The last checkpoint of a block is missing.
        """
        path = str(self.work_dir / 'blockwise' / 'joined.pth')
        if self.rank == 0:
            with dry_runner(_alone(self.cfg)) as runner:
                save_checkpoint(self._joined(runner), path)
        return path

    def _joined(self, runner: Runner) -> Dict[str, Any]:
        loop = runner.train_loop
        distiller = loop.distiller
        parts = {
            block: load_checkpoint_file(str(self.checkpoint(block)))
            for block in self.costs
        }
        notes = _sum_up(
            [part['message_hub']['runtime_info'] for part in parts.values()])
        joined = next(iter(parts.values()))
        for key in ('optimizer', 'param_schedulers'):
            joined.pop(key, None)  # the phase is over
        for block, part in parts.items():
            for name in distiller.partition.changing(block):
                joined['state_dict'][name] = part['state_dict'][name]
                if 'ema_state_dict' in part:
                    key = f'module.{name}'
                    joined['ema_state_dict'][key] = part['ema_state_dict'][key]
            for role in distiller.helpers:
                joined['sskd'][role].update({
                    key: value
                    for key, value in part['sskd'][role].items()
                    if distiller.helps(key, block)
                })
        distiller.load_state_dict(joined['state_dict'])
        for role, module in distiller.helpers.items():
            module.load_state_dict(joined['sskd'][role])
        phase = notes['sskd/phases'][0]
        phase['blocks'] = {
            '+'.join(block):
            part['message_hub']['runtime_info']['sskd/phases'][0]
            for block, part in parts.items()
        }
        for note in phase['blocks'].values():
            del note['name']
            # Of the whole backbone there is none before.
            note.pop('alignment', None)
        if runner.val_loop is not None:
            distiller.fold_teachers(loop.sample())
            hook = next(h for h in runner.hooks if isinstance(h, PhaseHook))
            phase['alignment'] = measure_alignment(distiller,
                                                   runner.val_dataloader,
                                                   loop.phases[0].taps,
                                                   hook.alignment_batches)
        joined['message_hub'] = dict(
            log_scalars={},
            runtime_info=notes,
            resumed_keys=dict.fromkeys(notes, True))
        return joined


def _place(launcher: Optional[str]) -> Tuple[int, int, int]:
    """Number of this process, of how many, and its number on its machine."""
    if launcher in (None, 'none'):
        return 0, 1, 0
    rank, processes, local = (
        int(os.environ[name]) for name in _ENVIRONMENT[launcher])
    return rank, processes, local


def _alone(cfg: Config) -> Config:
    """The same for a run in a single process."""
    cfg = copy.deepcopy(cfg)
    cfg.launcher = 'none'
    return cfg


def _count(loop, block: Sequence[str]) -> float:
    loop.distiller.enter_phase(loop.take_block(block))
    return count_step(loop.distiller, loop.sample())


def _sum_up(parts: List[Dict[str, Any]]) -> Dict[str, Any]:
    """The notes of several blocks as those of one run: losses and seconds
    are added up, of the peak memory the largest is taken."""
    notes = {
        key: value
        for key, value in parts[0].items() if key.startswith('sskd/')
    }
    for key in ('sskd/epochs', 'sskd/phases'):
        notes[key] = [{
            name:
            max(values) if name == 'peak_memory_mib' else
            sum(values) if isinstance(values[0], float) else values[0]
            for name, values in ((name, [note[name] for note in same])
                                 for name in same[-1])
        } for same in zip(*(part[key] for part in parts))]
    return notes
