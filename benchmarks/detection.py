# Copyright (c) sskd_mm authors. All rights reserved.
"""Distillation against training from scratch, three seeds.

python benchmarks/detection.py {bccd,digits} [--data-root DIR] [--seeds 0 1 2]

bccd: 205 + 87 real images of blood cells (MIT licence). digits: the embedded
data set, see tools/dataset_converters/make_digits.py. A Faster R-CNN R50
teacher is trained once; then for each seed the R18 student from scratch, by
the shipped SSKD config and by the paper's strict form, all with the same
compute. Prints a Markdown table and writes it, with all metrics, to
--work-dir. Finished runs of an earlier call are kept.
"""
import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

TEACHER = 'baselines/faster-rcnn_r50_fpn_{}.py'
#: Rows of the table.
METHODS = {
    'from scratch': 'baselines/faster-rcnn_r18_fpn_{}.py',
    'SSKD, shipped recipe': 'sskd/faster_rcnn_r18_{}.py',
    'SSKD, strict paper form': 'sskd/faster_rcnn_r18_{}_paper.py',
}
ANNOTATIONS = dict(bccd='val.json', digits='annotations/instances_val.json')
METRICS = ('bbox_mAP', 'bbox_mAP_50', 'bbox_mAP_75')


def add_arguments(parser, dataset=None, name=None):
    """Add the arguments shared by the detection benchmarks, and parse."""
    parser.add_argument('--data-root', type=Path, help='default: data/DATASET')
    parser.add_argument(
        '--work-dir', type=Path, help='default: work_dirs/benchmark_DATASET')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument(
        '--jobs', type=int, default=os.cpu_count(), help='runs at a time')
    args = parser.parse_args()
    args.dataset = dataset or args.dataset
    args.data_root = (args.data_root or Path('data', args.dataset)).resolve()
    args.work_dir = (args.work_dir or Path(
        'work_dirs', f'benchmark_{name or args.dataset}')).resolve()
    return args


def run_all(job, arguments: list, jobs: int) -> dict:
    """Run a job for each of these arguments, several at a time."""
    with ThreadPoolExecutor(jobs) as pool:
        return dict(zip(arguments, pool.map(lambda a: job(*a), arguments)))


def train(config: str, name: str, args, *options: str) -> dict:
    """Train in a separate process; return the last validation."""
    work_dir = args.work_dir / name
    done = work_dir / 'benchmark.json'
    if done.exists():
        return json.loads(done.read_text())
    options = [
        *options,
        *(f'{key}.dataset.data_root={args.data_root}/'
          for key in ('train_dataloader', 'val_dataloader',
                      'test_dataloader')),
        *(f'{key}.ann_file={args.data_root}/{ANNOTATIONS[args.dataset]}'
          for key in ('val_evaluator', 'test_evaluator')),
    ]
    start = time.time()
    work_dir.mkdir(parents=True, exist_ok=True)
    with open(work_dir / 'output.txt', 'w') as output:
        subprocess.run(
            [
                sys.executable, ROOT / 'tools/train.py',
                ROOT / 'configs' / config.format(args.dataset), '--work-dir',
                work_dir,
                '--cfg-options', *options
            ],
            check=True,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={
                **os.environ, 'OMP_NUM_THREADS': '1'
            })
    scalars = [
        json.loads(line)
        for file in sorted(work_dir.glob('*/vis_data/scalars.json'))
        for line in file.read_text().splitlines()
    ]
    curve = [s for s in scalars if 'coco/bbox_mAP' in s]
    result = dict(
        seconds=time.time() - start,
        best=max(s['coco/bbox_mAP'] for s in curve),
        **{key: curve[-1][f'coco/{key}']
           for key in METRICS})
    done.write_text(json.dumps(result))
    return result


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('dataset', choices=ANNOTATIONS)
    parser.add_argument(
        '--methods', nargs='+', choices=METHODS, default=list(METHODS))
    args = add_arguments(parser)
    print('Training the teacher ...', flush=True)
    teacher = train(TEACHER, 'teacher', args, 'randomness.seed=0')
    checkpoint = (args.work_dir / 'teacher/last_checkpoint').read_text()

    def job(method, seed):
        config, options = METHODS[method], []
        if config.startswith('sskd/'):
            options = [
                f'model.teacher.checkpoint={checkpoint}',
                'train_cfg.evaluate_teacher=False'
            ]
        name = f'{method.replace(" ", "_").replace(",", "")}_{seed}'
        result = train(config, name, args, f'randomness.seed={seed}', *options)
        print(f'{method}, seed {seed}: {result}', flush=True)
        return result

    results = run_all(
        job,
        [(method, seed) for seed in args.seeds for method in args.methods],
        args.jobs)

    lines = [
        '| method | mAP, last epoch | mAP50 | mAP75 | mAP, best epoch | '
        'seconds |', '| --- | --- | --- | --- | --- | --- |'
    ]
    keys = (*METRICS, 'best', 'seconds')
    lines.append(f'| teacher R50 | {teacher["bbox_mAP"]:.3f} | ' + ' | '.join(
        f'{teacher[key]:.3f}'
        for key in keys[1:-1]) + f' | {teacher["seconds"]:.0f} |')
    for method in args.methods:
        cells = []
        for key in keys:
            values = [results[method, seed][key] for seed in args.seeds]
            mean = statistics.mean(values)
            spread = statistics.stdev(values) if len(values) > 1 else 0
            cells.append(f'{mean:.0f}' if key ==
                         'seconds' else f'{mean:.3f} ± {spread:.3f}')
        lines.append(f'| {method} | {" | ".join(cells)} |')
    table = '\n'.join(lines)
    print(table)
    (args.work_dir / 'table.md').write_text(table + '\n')
    (args.work_dir / 'results.json').write_text(
        json.dumps(
            dict(
                teacher=teacher,
                students=[
                    dict(method=m, seed=s, **r)
                    for (m, s), r in results.items()
                ],
                machine=f'{platform.machine()}, {os.cpu_count()} cores, '
                f'{args.jobs} runs at a time',
                python=platform.python_version()),
            indent=2))


if __name__ == '__main__':
    main()
