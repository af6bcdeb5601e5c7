# Copyright (c) sskd_mm authors. All rights reserved.
"""Run a study: methods x seeds x pairs of networks, and compare them.

python tools/study.py studies/cifar10_methods.yaml

Everything to be trained is built first, so that mistakes show before training
begins. Then teachers, if the study says so, and students are trained. Finished
runs of an earlier call are kept, and interrupted ones resumed; if the study's
settings have changed since, see --changed. The table and the plots in the
study's folder are rewritten after each run and show everything finished there.
On Ctrl-C or SIGTERM, running processes save and stop. With several --jobs they
share the CPU's cores, unless OMP_NUM_THREADS sets the threads of each.
"""
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import List, Optional, Set

from sskd_mm_cli import ToolParser, add_pickle_option, run_tool

ROOT = Path(__file__).resolve().parent.parent
#: Running training processes.
RUNNING: Set[subprocess.Popen] = set()


def parse_args():
    parser = ToolParser(__doc__)
    parser.add_argument('study', type=Path, help='the YAML file')
    parser.add_argument(
        '--work-dir', type=Path, help='default: work_dirs/STUDY')
    parser.add_argument(
        '--seeds', type=int, nargs='+', help='instead of the study\'s')
    parser.add_argument(
        '--only', nargs='+', metavar='METHOD', help='run only these methods')
    parser.add_argument(
        '--pairs', nargs='+', metavar='PAIR', help='run only these pairs')
    parser.add_argument('--jobs', type=int, default=1, help='runs at a time')
    parser.add_argument(
        '--plan',
        action='store_true',
        help='check the study, print epochs and FLOPs of each method, and '
        'train nothing')
    parser.add_argument(
        '--changed',
        choices=['retrain', 'keep'],
        help='what to do with what is finished, but with other settings than '
        'the study has now: train it again (what is there is moved aside) or '
        'keep it as it is. Without this the study does not begin, and lists '
        'what differs')
    add_pickle_option(parser)
    args = parser.parse_args()
    args.work_dir = args.work_dir or Path('work_dirs', args.study.stem)
    return args


def keep_only(entries: dict, wanted: Optional[List[str]], where: str) -> dict:
    """Keep the entries of a study that the command line names."""
    for name in wanted or ():
        if name not in entries:
            raise ValueError(f'{where} are {", ".join(entries)}, and there is '
                             f'no {name!r} among them.')
    return {name: entries[name] for name in wanted or entries}


def stop(signum: int, frame) -> None:
    """Stop running training processes, then this one; start no others."""
    for training in list(RUNNING):
        training.terminate()
    sys.exit(128 + signum)


def train(cfg, work_dir: Path, jobs: int) -> None:
    """Train in a separate process, resuming from an earlier one."""
    cfg.work_dir = str(work_dir)
    cfg.dump(work_dir / 'trial.py')
    resume = ['--resume'] if (work_dir / 'last_checkpoint').exists() else []
    env = dict(os.environ)
    if jobs > 1:
        # More threads than cores would wait for each other in every operation.
        env.setdefault('OMP_NUM_THREADS', str(max(1, os.cpu_count() // jobs)))
    with open(work_dir / 'output.txt', 'a') as output, subprocess.Popen(
        [
            sys.executable, ROOT / 'tools/train.py', work_dir / 'trial.py',
            '--work-dir', work_dir, *resume
        ],
            env=env,
            stdout=output,
            stderr=subprocess.STDOUT) as training:
        RUNNING.add(training)
        training.wait()
        RUNNING.remove(training)
    if training.returncode:
        lines = (work_dir / 'output.txt').read_text().splitlines()
        raise RuntimeError(
            f'The training in {work_dir} ended with an error; its last lines '
            'are\n' + '\n'.join(lines[-5:]) +
            f'\nThe whole of it is in {work_dir / "output.txt"}. Call the '
            'same command again when it is mended: what is finished is kept.')


def main():
    args = parse_args()
    from sskd_mm.analysis import Study, StudyRun
    from sskd_mm.compat import apply_pickle_option
    signal.signal(signal.SIGTERM, stop)
    study = Study.from_file(args.study)
    study.allow_pickle = args.allow_pickle
    apply_pickle_option(args)
    if args.seeds:
        study.seeds = args.seeds
        for method in study.methods.values():
            method.pop('seeds', None)
    pairs = keep_only(study.pairs, args.pairs, f'The pairs of {args.study}')
    methods = keep_only(study.methods, args.only,
                        f'The methods of {args.study}')
    run = StudyRun(
        study, [
            trial for trial in study.trials()
            if trial.pair in pairs and trial.method in methods
        ],
        args.work_dir,
        train=train,
        jobs=args.jobs,
        changed=args.changed)
    run.plan()
    if not args.plan:
        run.train_teachers()
        run.train_students()
        print((args.work_dir / 'table.md').read_text())


if __name__ == '__main__':
    run_tool(main)
