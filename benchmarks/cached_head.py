# Copyright (c) sskd_mm authors. All rights reserved.
"""What a head phase loses and saves when features are computed once.

python benchmarks/cached_head.py CONFIG [--passes 1 2 4] [--cfg-options ...]

CONFIG is a distillation of one of mmpretrain's classifiers. Its mimic phases
run once; then the head phase is trained from there, in the ordinary way and
on the features of so many passes, one after the other in this process. Prints
a table in Markdown and writes it, with every result.json, into --work-dir.
Mimic phases that an earlier call has finished are kept.
"""
import argparse
import copy
import json
from pathlib import Path

from mmengine.config import Config, DictAction
from mmengine.runner import Runner

import sskd_mm  # noqa: F401


def train(cfg: Config, work_dir: Path, resume: str = '', **head) -> dict:
    """Train; return ``result.json``."""
    cfg = copy.deepcopy(cfg)
    cfg.work_dir = str(work_dir)
    cfg.experiment_name = work_dir.name
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
    parser.add_argument(
        '--work-dir', type=Path, default='work_dirs/benchmark_cached_head')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction)
    args = parser.parse_args()
    cfg = Config.fromfile(args.config)
    cfg.merge_from_dict(args.cfg_options or {})
    cfg.train_cfg.pop('finetune', None)

    mimic = args.work_dir / 'mimic'
    if not (mimic / 'result.json').exists():
        train(cfg, mimic, max_epochs=0)
    checkpoint = (mimic / 'last_checkpoint').read_text()

    metrics, rows = [], []
    for passes in (0, *args.passes):
        result = train(
            cfg,
            args.work_dir / f'passes_{passes}',
            checkpoint,
            cached_passes=passes)
        head, student = result['phases'][-1], result['student']
        metrics = [key for key in student if key != 'epoch']
        name = f'cached, passes: {passes}' if passes else 'ordinary'
        rows.append([
            name, head['epochs'], *(f'{student[key]:.2f}' for key in metrics),
            f'{head["seconds"]:.1f}'
        ])
    columns = ['head phase', 'epochs', *metrics, 'seconds']
    table = '\n'.join(f'| {" | ".join(map(str, row))} |'
                      for row in (columns, ['---'] * len(columns), *rows))
    print(table)
    (args.work_dir / 'table.md').write_text(table + '\n')


if __name__ == '__main__':
    main()
