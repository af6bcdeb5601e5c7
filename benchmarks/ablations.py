# Copyright (c) sskd_mm authors. All rights reserved.
"""Ablations of the design choices, on the embedded data set.

python benchmarks/ablations.py [--seeds 0] [--only sequential joint ...]

Trains a Faster R-CNN R50 teacher once, then every config of
configs/sskd/ablations with it. Prints a Markdown table and writes it to
--work-dir. Finished runs of an earlier call are kept, so a second seed can be
added later.
"""
import argparse
import json

from detection import ROOT, add_arguments, run_all, train

from sskd_mm.analysis import mean_and_deviation

PREFIX = 'faster_rcnn_r18_digits_'


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    names = sorted(
        path.stem[len(PREFIX):]
        for path in (ROOT / 'configs/sskd/ablations').glob('*.py'))
    parser.add_argument('--only', nargs='+', choices=names, default=names)
    args = add_arguments(parser, dataset='digits', name='ablations')

    print('Training the teacher ...', flush=True)
    train('baselines/faster-rcnn_r50_fpn_digits.py', 'teacher', args,
          'randomness.seed=0')
    checkpoint = (args.work_dir / 'teacher/last_checkpoint').read_text()

    def job(name, seed):
        result = train(f'sskd/ablations/{PREFIX}{name}.py', f'{name}_{seed}',
                       args, f'randomness.seed={seed}',
                       f'model.teacher.checkpoint={checkpoint}',
                       'train_cfg.evaluate_teacher=False')
        print(f'{name}, seed {seed}: {result}', flush=True)
        phases = json.loads((args.work_dir / f'{name}_{seed}' /
                             'result.json').read_text())['phases']
        last = [p for p in phases if 'alignment' in p][-1]
        return {
            **result, 'relative_l2': last['alignment']['neck']['relative_l2'],
            'seconds': sum(p['seconds'] for p in phases)
        }

    results = run_all(
        job, [(name, seed) for seed in args.seeds for name in args.only],
        args.jobs)
    lines = [
        '| configs/sskd/ablations | mAP | mAP50 | relative L2 of the neck '
        'after mimicking | seconds |', '| --- | --- | --- | --- | --- |'
    ]
    for name in args.only:
        rows = [results[name, seed] for seed in args.seeds]
        cells = []
        for key, digits in (('bbox_mAP', 3), ('bbox_mAP_50', 3),
                            ('relative_l2', 2), ('seconds', 0)):
            cells.append(
                mean_and_deviation([row[key] for row in rows], digits))
        lines.append(f'| `{name}` | {" | ".join(cells)} |')
    table = '\n'.join(lines)
    print(table)
    (args.work_dir / 'table.md').write_text(table + '\n')


if __name__ == '__main__':
    main()
