# Copyright (c) sskd_mm authors. All rights reserved.
"""Distil a small detector in minutes, without a download.

python tools/quickstart.py

Draws a detection set of handwritten digits, trains a teacher, a student from
scratch and the same student by SSKD, and compares them. `bash
tools/quickstart.sh` makes an environment first. Stopped at any time, it goes
on from there when it is run again.
"""
import contextlib
import json
import os
import platform
import shlex
import shutil
import sys
import time
import warnings
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from sskd_mm_cli import ToolParser, run_tool

ROOT = Path(__file__).resolve().parent.parent
CONSOLE = Console(stderr=True)


class Training(NamedTuple):
    """One of the three trainings; seconds on a core of an AMD EPYC."""
    title: str
    config: str
    seconds: int


TRAININGS = dict(
    teacher=Training('teacher', 'baselines/faster-rcnn_r18-half_fpn_digits.py',
                     145),
    scratch=Training('student from scratch',
                     'baselines/faster-rcnn_r18-quarter_fpn_digits.py', 65),
    sskd=Training('student by SSKD',
                  'sskd/faster_rcnn_r18_quarter_digits.py', 55))
#: Seconds of what comes before and after them.
DATA, COMPARISON = 8, 8
#: Shorter steps tell nothing about the machine.
LONG = 30
#: Images in the picture, and how often a network is timed.
SHOWN, REPEATS = 6, 30


def parse_args():
    parser = ToolParser(__doc__)
    parser.add_argument(
        '--work-dir',
        default='work_dirs/quickstart',
        type=Path,
        help='default: %(default)s')
    parser.add_argument(
        '--data-root',
        default='data/digits',
        type=Path,
        help='where the data set is made; default: %(default)s')
    return parser.parse_args()


class Steps:
    """Says what comes next and how long it takes.

    The times of later steps follow from how long earlier ones took.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.done = 0
        self.expected = self.spent = 0.

    @contextlib.contextmanager
    def step(self, text: str, seconds: int):
        """Announce a step and time it."""
        self.done += 1
        pace = self.spent / self.expected if self.expected else 1
        CONSOLE.print(
            f'[bold]Step {self.done} of {self.number}:[/] {text} (about '
            f'{seconds * pace:.0f} s)',
            soft_wrap=True,
            highlight=False)
        start = time.monotonic()
        yield
        took = time.monotonic() - start
        if seconds >= LONG:
            self.spent += took
            self.expected += seconds

    def skip(self, text: str, file: Path) -> None:
        """Say that a step was done before."""
        self.done += 1
        CONSOLE.print(
            f'[bold]Step {self.done} of {self.number}:[/] {text}: finished '
            f'before, kept ({file})',
            soft_wrap=True,
            highlight=False)


@contextlib.contextmanager
def quiet(folder: Path):
    """pycocotools and mmdet print; the screen is for the progress."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / 'stdout.txt', 'a') as file:
        with contextlib.redirect_stdout(file), warnings.catch_warnings():
            # mmdet recommends a package that is not needed here.
            warnings.filterwarnings(
                'ignore', message='faster_coco_eval is not installed')
            yield


def make_config(name: str, args):
    """A training's shipped config, with its paths, without its log on the
    screen."""
    from mmengine.config import Config
    cfg = Config.fromfile(ROOT / 'configs' / TRAININGS[name].config)
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
    folder = args.work_dir / name
    # Beside the file that names it: the folder may have been moved.
    return str(folder / Path((folder / 'last_checkpoint').read_text()).name)


def train(name: str, args, steps: Steps) -> dict:
    """Train one model, or take what an earlier call has finished."""
    training = TRAININGS[name]
    done = args.work_dir / name / 'metrics.json'
    if done.exists():
        result = json.loads(done.read_text())
        if result.get('config') != training.config:
            raise SystemExit(
                f'{done.parent} holds a training of another release of '
                'sskd_mm. Remove it, or choose another --work-dir.')
        steps.skip(training.title, done)
        return result
    cfg = make_config(name, args)
    phases = [cfg.train_cfg.get(key) for key in ('mimic', 'head', 'finetune')]
    epochs = sum(phase.max_epochs for phase in filter(None, phases)
                 ) or cfg.train_cfg.max_epochs
    text = f'{training.title}, {epochs} epochs'
    if cfg.resume:
        text += ', from where it was stopped'
    with steps.step(text, training.seconds):
        start = time.monotonic()
        with quiet(done.parent):
            metrics = run(cfg)
        result = dict(
            config=training.config,
            metrics=metrics,
            epochs=epochs,
            seconds=time.monotonic() - start,
            resumed=cfg.resume)
        write(done, result)
    CONSOLE.print(f'{name}: mAP {metrics["coco/bbox_mAP"]:.3f}')
    return result


def run(cfg) -> dict:
    """Train; return the metrics of the last validation."""
    from mmengine.hooks import Hook
    from mmengine.runner import Runner

    from sskd_mm.analysis import scalar_metrics

    class LastMetrics(Hook):
        metrics = None

        def after_val_epoch(self, runner, metrics=None):
            self.metrics = metrics

    last = LastMetrics()
    runner = Runner.from_cfg(cfg)
    runner.register_hook(last, 'LOWEST')
    runner.train()
    # A training that was stopped at its very end has nothing left to do.
    return scalar_metrics(last.metrics or runner.val_loop.run())


def write(file: Path, content: dict) -> None:
    """In one step, so that a kill leaves no half of it."""
    part = file.with_suffix('.part')
    part.write_text(json.dumps(content, indent=2))
    os.replace(part, file)


def compare(args, results: dict) -> dict:
    """Draw the pictures; return size and speed of both networks."""
    from mmengine.registry import DATASETS, MODELS, DefaultScope
    from mmengine.runner import load_checkpoint

    from sskd_mm.analysis import draw_detections, measure_costs, plot_losses
    with quiet(args.work_dir), \
            DefaultScope.overwrite_default_scope('mmdet'):
        dataset = DATASETS.build(
            make_config('teacher', args).val_dataloader.dataset)
        models = {}
        for name in TRAININGS:
            # The distilled student is a plain one.
            plain = 'scratch' if name == 'sskd' else name
            model = MODELS.build(make_config(plain, args).model)
            load_checkpoint(
                model,
                find_checkpoint(name, args),
                map_location='cpu',
                strict=True)
            models[name] = model.eval()
        titles = {
            f'{TRAININGS[name].title}\nmAP '
            f'{results[name]["metrics"]["coco/bbox_mAP"]:.3f}': model
            for name, model in models.items()
        }
        draw_detections(dataset, titles, range(SHOWN),
                        args.work_dir / 'detections.png')
        batches = [
            {key: [value] for key, value in dataset[i].items()}
            for i in range(SHOWN)
        ]
        costs = measure_costs(
            {name: models[name] for name in ('teacher', 'scratch')},
            batches, REPEATS, 'cpu')
    plot_losses(args.work_dir / 'sskd', args.work_dir / 'scratch',
                args.work_dir / 'losses.png')
    return dict(costs, sskd=costs['scratch'])


def print_results(results: dict, args) -> None:
    """The table, what it means, and what to do next."""
    console = Console()
    table = Table()
    for column in ('', 'mAP', 'parameters', 'GFLOPs', 'latency', 'training'):
        table.add_column(column, justify='right' if column else 'left')
    for name, training in TRAININGS.items():
        row = results[name]
        table.add_row(
            training.title, f'{row["metrics"]["coco/bbox_mAP"]:.3f}',
            f'{row["parameters"] / 1e6:.2f} M', f'{row["gflops"]:.2f}',
            f'{row["median_ms"]:.1f} ms',
            f'{row["seconds"]:.0f} s' + (' *' if row['resumed'] else ''))
    console.print(table)
    if any(row['resumed'] for row in results.values()):
        console.print('* since it was resumed')
    console.print(say_result(results), soft_wrap=True, highlight=False)
    console.print(
        f'\nIn {args.work_dir}: detections.png, losses.png, result.json, and '
        f'the checkpoints.\nNext, in {Path.cwd()}:',
        soft_wrap=True,
        highlight=False)
    sskd = args.work_dir / 'sskd'
    for text, *words in (
        ('A web page about these trainings:', 'report.py', sskd,
         args.work_dir / 'scratch'),
        ('Test the student, by its plain config:', 'test.py',
         sskd / 'student.py', find_checkpoint('sskd', args)),
        ('Write the config that distils your own detector:',
         'make_config.py', 'my_student.py', 'my_teacher.py',
         'my_teacher.pth', '-o', 'my_distillation.py')):
        console.print(
            f'  # {text}\n  {command(*words)}',
            soft_wrap=True,
            highlight=False)


def say_result(results: dict) -> str:
    """One sentence."""
    teacher, scratch, sskd = (results[name]['metrics']['coco/bbox_mAP']
                              for name in TRAININGS)
    gain = 100 * (sskd - scratch)
    share = (results['sskd']['parameters'] / results['teacher']['parameters'])
    return ("SSKD, which starts with the teacher's neck and heads, gives the "
            f'student {sskd:.3f} mAP: {abs(gain):.1f} points '
            f'{"more" if gain >= 0 else "less"} than training it from '
            'scratch with no fewer FLOPs, and '
            f'{100 * sskd / teacher:.0f} % of a teacher {1 / share:.1f} times '
            'its size.')


def command(tool: str, *words) -> str:
    """A command line that works in this directory."""
    python = sys.executable
    if Path(shutil.which('python') or '').absolute() == Path(python):
        python = 'python'
    return shlex.join(
        str(relative(word))
        for word in (python, ROOT / 'tools' / tool, *words))


def relative(path):
    """A path below this directory by what follows it."""
    path = Path(path)
    if path.is_absolute() and path.is_relative_to(Path.cwd()):
        return path.relative_to(Path.cwd())
    return path


def main():
    args = parse_args()
    start = time.monotonic()
    steps = Steps(len(TRAININGS) + 2)
    with steps.step('making 1,200 images of handwritten digits', DATA):
        with quiet(args.work_dir):
            import torch

            from sskd_mm.datasets import make_digits_detection
        # The networks are too small for more: threads wait for each other.
        torch.set_num_threads(1)
        make_digits_detection(args.data_root)
    results = {name: train(name, args, steps) for name in TRAININGS}
    with steps.step('comparing the three', COMPARISON):
        for name, cost in compare(args, results).items():
            results[name].update(cost)
    distilled = json.loads(
        (args.work_dir / 'sskd' / 'result.json').read_text())
    write(
        args.work_dir / 'result.json',
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
            seconds=time.monotonic() - start))
    print_results(results, args)


if __name__ == '__main__':
    run_tool(main)
