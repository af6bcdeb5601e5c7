# Copyright (c) sskd_mm authors. All rights reserved.
"""What a head phase on cached features loses and saves.

python benchmarks/cached_head.py CONFIG [--passes 1 2 4] [--seeds 0 1 2]
    [--cfg-options ...]

CONFIG distills an mmpretrain classifier. For each seed its mimic phases run
once; from there the head phase is trained as usual and on features cached from
the given numbers of passes, all in this process. Prints a Markdown table with
mean and deviation over the seeds, and writes it, with every result.json, to
--work-dir. Finished mimic phases of an earlier call are kept.
"""
import argparse
import copy
import json
from collections import defaultdict
from pathlib import Path

from mmengine.config import Config, DictAction
from mmengine.runner import Runner
from table import Table

from sskd_mm.analysis import mean_and_deviation


def train(cfg: Config, work_dir: Path, resume: str = '', **head) -> dict:
    """Train; return ``result.json``."""
    cfg = copy.deepcopy(cfg)
    cfg.work_dir = str(work_dir)
    cfg.experiment_name = f'{work_dir.parent.name}_{work_dir.name}'
    cfg.train_cfg.head.update(head)
    if resume:
        cfg.resume, cfg.load_from = True, resume
    Runner.from_cfg(cfg).train()
    return json.loads((work_dir / 'result.json').read_text())


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config')
    parser.add_argument('--passes', type=int, nargs='+', default=[1, 2, 4])
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument(
        '--work-dir', type=Path, default='work_dirs/benchmark_cached_head')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction)
    args = parser.parse_args()
    cfg = Config.fromfile(args.config)
    cfg.merge_from_dict(args.cfg_options or {})
    cfg.train_cfg.pop('finetune', None)

    results = defaultdict(list)
    for seed in args.seeds:
        cfg.randomness = dict(cfg.get('randomness', {}), seed=seed)
        folder = args.work_dir / f'seed_{seed}'
        mimic = folder / 'mimic'
        if not (mimic / 'result.json').exists():
            train(cfg, mimic, max_epochs=0)
        checkpoint = (mimic / 'last_checkpoint').read_text()
        for passes in (0, *args.passes):
            results[passes].append(
                train(
                    cfg,
                    folder / f'passes_{passes}',
                    checkpoint,
                    cached_passes=passes))

    rows = []
    for passes, of_seeds in results.items():
        heads = [result['phases'][-1] for result in of_seeds]
        students = [result['student'] for result in of_seeds]
        metrics = [key for key in students[0] if key != 'epoch']
        rows.append([
            f'cached, passes: {passes}' if passes else 'in each iteration',
            heads[0]['epochs'],
            *(mean_and_deviation([student[key] for student in students], 2)
              for key in metrics),
            mean_and_deviation([head['seconds'] for head in heads], 1)
        ])
    columns = ['features', 'epochs', *metrics, 'seconds']
    table = Table('Head phase', columns, rows)
    print(table)
    (args.work_dir / 'table.md').write_text(f'{table}\n')


if __name__ == '__main__':
    main()
