# Copyright (c) sskd_mm authors. All rights reserved.
"""Train a teacher, a student by SSKD and a student from scratch on the
embedded data set, and compare them. Started by tools/quickstart.sh.

What was finished before is kept; what was stopped goes on.
"""
import contextlib
import gc
import json
import os
import platform
import time
import warnings
from pathlib import Path

from rich.console import Console
from rich.table import Table

from sskd_cli import ToolParser, run_tool

# mmdet recommends a package that is not needed here.
warnings.filterwarnings('ignore', message='faster_coco_eval is not installed')

ROOT = Path(__file__).resolve().parent.parent
CONSOLE = Console(stderr=True)

#: Name, config, and what the table calls it.
RUNS = (
    ('teacher', 'baselines/faster-rcnn_r50_fpn_digits.py', 'teacher'),
    ('scratch', 'baselines/faster-rcnn_r18_fpn_digits.py',
     'student from scratch'),
    ('sskd', 'sskd/faster_rcnn_r18_digits.py', 'student by SSKD'),
)


def parse_args():
    parser = ToolParser(__doc__)
    parser.add_argument(
        '--work-dir', default='work_dirs/quickstart', type=Path)
    parser.add_argument(
        '--data-root',
        default='data/digits',
        type=Path,
        help='where the data set is made')
    return parser.parse_args()


def make_config(name: str, args):
    """The shipped config, with its paths and without its log on the
    screen."""
    from mmengine.config import Config
    cfg = Config.fromfile(
        ROOT / 'configs' / dict((n, c) for n, c, _ in RUNS)[name])
    cfg.work_dir = str(args.work_dir / name)
    for key in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        cfg[key].dataset.data_root = f'{args.data_root}/'
    for key in ('val_evaluator', 'test_evaluator'):
        cfg[key].ann_file = f'{args.data_root}/annotations/instances_val.json'
    if name == 'sskd':
        cfg.model.teacher.checkpoint = find_checkpoint('teacher', args)
        # The table has the teacher's row already.
        cfg.train_cfg.evaluate_teacher = False
    cfg.custom_hooks = [dict(type='ProgressHook', title=name)]
    cfg.log_level = 'WARNING'
    # Of its own, or all three would log into the folder of the first.
    cfg.visualizer.name = name
    cfg.resume = (args.work_dir / name / 'last_checkpoint').exists()
    return cfg


def find_checkpoint(name: str, args) -> str:
    return (args.work_dir / name / 'last_checkpoint').read_text()


def run(name: str, args) -> dict:
    """Train one model, or take what an earlier call has finished."""
    done = args.work_dir / name / 'metrics.json'
    if done.exists():
        CONSOLE.print(f'{name}: finished before, kept ({done})')
        return json.loads(done.read_text())
    from mmengine.runner import Runner

    from sskd_mm.analysis import scalar_metrics
    cfg = make_config(name, args)
    start = time.time()
    done.parent.mkdir(parents=True, exist_ok=True)
    # pycocotools and mmdet print; the screen is for the progress.
    with open(done.parent / 'stdout.txt', 'a') as stdout:
        with contextlib.redirect_stdout(stdout):
            runner = Runner.from_cfg(cfg)
            runner.train()
            metrics = scalar_metrics(runner.val_loop.run())
    student = getattr(runner.model, 'student', runner.model)
    result = dict(
        metrics=metrics,
        epochs=runner.max_epochs,
        seconds=time.time() - start,
        resumed=cfg.resume,
        parameters=sum(p.numel() for p in student.parameters()),
        checkpoint=find_checkpoint(name, args))
    # In one step, so that a kill leaves no half of it.
    part = done.with_suffix('.part')
    part.write_text(json.dumps(result, indent=2))
    os.replace(part, done)
    del runner, student
    gc.collect()
    return result


def load(name: str, args):
    from mmengine.registry import MODELS, DefaultScope
    from mmengine.runner import load_checkpoint
    cfg = make_config('scratch' if name == 'sskd' else name, args)
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(cfg.model)
    load_checkpoint(
        model, find_checkpoint(name, args), map_location='cpu', strict=True)
    return model


def draw(args) -> None:
    """The pictures: detections beside the truth, and loss curves."""
    from mmengine.registry import DATASETS, DefaultScope

    from sskd_mm.analysis import draw_detections, plot_losses
    cfg = make_config('teacher', args)
    with open(args.work_dir / 'stdout.txt', 'a') as stdout:
        with contextlib.redirect_stdout(stdout):
            with DefaultScope.overwrite_default_scope('mmdet'):
                dataset = DATASETS.build(cfg.val_dataloader.dataset)
            models = {
                name: load(name, args)
                for name in ('teacher', 'scratch', 'sskd')
            }
            draw_detections(dataset, models, range(6),
                            args.work_dir / 'detections.png')
    plot_losses(args.work_dir / 'sskd', args.work_dir / 'scratch',
                args.work_dir / 'losses.png')


def print_table(results: dict) -> None:
    table = Table(title='COCO mAP on the validation images')
    for column in ('', 'mAP', 'mAP50', 'parameters', 'epochs', 'seconds'):
        table.add_column(column, justify='right' if column else 'left')
    for name, _, title in RUNS:
        row = results[name]
        table.add_row(
            title, *(f'{row["metrics"][f"coco/{key}"]:.3f}'
                     for key in ('bbox_mAP', 'bbox_mAP_50')),
            f'{row["parameters"]:,}', str(row['epochs']),
            f'{row["seconds"]:.0f}' + (' *' if row['resumed'] else ''))
    Console().print(table)
    if any(row['resumed'] for row in results.values()):
        Console().print('* since it was resumed')


def main():
    args = parse_args()
    import torch

    from sskd_mm.datasets import make_digits_detection
    start = time.time()
    CONSOLE.print('Making the data set ...')
    make_digits_detection(args.data_root)
    results = {name: run(name, args) for name, _, _ in RUNS}
    draw(args)
    distilled = json.loads(
        (args.work_dir / 'sskd' / 'result.json').read_text())
    (args.work_dir / 'result.json').write_text(
        json.dumps(
            dict(
                **results,
                phases=distilled['phases'],
                seed=distilled['seed'],
                versions=distilled['versions'],
                machine=dict(
                    processor=platform.processor() or platform.machine(),
                    threads=torch.get_num_threads(),
                    gpu=torch.cuda.get_device_name()
                    if torch.cuda.is_available() else None),
                seconds=time.time() - start),
            indent=2))
    print_table(results)
    Console().print(f'In {args.work_dir}: result.json, detections.png (rows: '
                    'truth, teacher, from scratch, SSKD), losses.png, and the '
                    'checkpoints')


if __name__ == '__main__':
    run_tool(main)
