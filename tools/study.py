# Copyright (c) sskd_mm authors. All rights reserved.
"""Run a study: methods x seeds x pairs of networks, and compare them.

python tools/study.py studies/cifar10_methods.yaml

Teachers are trained first, where the study says so. What an earlier call has
finished is kept, and what was stopped goes on. The table and the plots in the
study's folder are written anew after each training. Stopped by Ctrl-C or
SIGTERM, it stops the trainings that are under way, which save first. With
several --jobs they share the CPU's cores; OMP_NUM_THREADS, if set, is how many
threads each has instead.
"""
import argparse
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import List, Optional, Set

from mmengine.config import Config
from mmengine.fileio import dump

from sskd_mm.analysis import (Study, describe_cost, dry_runner, fit_epochs,
                              format_gflops, read_metrics, spent,
                              write_study_report)

ROOT = Path(__file__).resolve().parent.parent
#: The trainings that are under way.
RUNNING: Set[subprocess.Popen] = set()


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('study', type=Path, help='the YAML file')
    parser.add_argument(
        '--work-dir', type=Path, help='default: work_dirs/STUDY')
    parser.add_argument(
        '--seeds', type=int, nargs='+', help='instead of the study\'s')
    parser.add_argument(
        '--only', nargs='+', metavar='METHOD', help='these methods alone')
    parser.add_argument(
        '--pairs', nargs='+', metavar='PAIR', help='these pairs alone')
    parser.add_argument('--jobs', type=int, default=1, help='runs at a time')
    parser.add_argument(
        '--plan',
        action='store_true',
        help='print epochs and FLOPs of each method, and train no student')
    args = parser.parse_args()
    args.work_dir = args.work_dir or Path('work_dirs', args.study.stem)
    return args


def keep_only(entries: dict, wanted: Optional[List[str]], where: str) -> dict:
    """Those of a study's entries that the command line asks for."""
    for name in wanted or ():
        if name not in entries:
            raise ValueError(f'{where} are {", ".join(entries)}, and there is '
                             f'no {name!r} among them.')
    return {name: entries[name] for name in wanted or entries}


def stop(signum: int, frame) -> None:
    """Stop the trainings, then this process; those that wait never begin."""
    for training in list(RUNNING):
        training.terminate()
    sys.exit(128 + signum)


def train(cfg: Config, work_dir: Path, jobs: int = 1) -> None:
    """Train in a process of its own, from where an earlier one has got to."""
    cfg.work_dir = str(work_dir)
    work_dir.mkdir(parents=True, exist_ok=True)
    cfg.dump(work_dir / 'trial.py')
    resume = ['--resume'] if (work_dir / 'last_checkpoint').exists() else []
    env = dict(os.environ)
    if jobs > 1:
        # More threads than cores would wait for each other in each operation.
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


def prepare_teacher(name: str, entry: dict, study: Study, args) -> dict:
    """Train a teacher if the study says so, and score it."""
    work_dir = args.work_dir / 'teachers' / name
    done = work_dir / 'teacher.json'
    if done.exists():
        return json.loads(done.read_text())
    cfg = Config.fromfile(entry['config'])
    checkpoint = entry.get('checkpoint')
    if 'options' in entry:
        print(f'Training the teacher {name} ...', flush=True)
        cfg.merge_from_dict(entry['options'])
        if checkpoint:
            cfg.load_from = checkpoint
        train(cfg, work_dir)
        checkpoint = (work_dir / 'last_checkpoint').read_text()
    print(f'Scoring the teacher {name} ...', flush=True)
    with dry_runner(cfg) as runner:
        runner.load_checkpoint(checkpoint)
        metrics = runner.test()
    result = dict(
        checkpoint=checkpoint,
        score=float(metrics[study.metric]),
        also={name: float(metrics[name])
              for name in study.also})
    dump(result, done, indent=2)
    return result


def plan(study: Study, teachers: dict) -> dict:
    """What each method computes for each pair, and for how many epochs."""
    planned = {}
    for trial in study.trials():
        key = trial.pair, trial.method
        if key not in planned:
            teacher = teachers[study.pairs[trial.pair]['teacher']]
            planned[key] = describe_cost(
                study.config(trial, teacher['checkpoint']))
    if study.equal_compute is None:
        return planned
    for (pair, method), cost in planned.items():
        budget = spent(planned[pair, study.equal_compute])
        epochs = fit_epochs(cost, budget)
        planned[pair, method] = [
            dict(phase, epochs=epochs[phase['name']]) for phase in cost
        ]
    return planned


def print_plan(planned: dict) -> None:
    for (pair, method), cost in planned.items():
        phases = ', '.join(f'{p["name"]} {p["epochs"]}' for p in cost)
        print(f'{pair}, {method}: {phases}; {format_gflops(spent(cost))} '
              'GFLOPs an image')


def main():
    args = parse_args()
    signal.signal(signal.SIGTERM, stop)
    study = Study.from_file(args.study)
    if args.seeds:
        study.seeds = args.seeds
        for method in study.methods.values():
            method.pop('seeds', None)
    study.pairs = keep_only(study.pairs, args.pairs,
                            f'The pairs of {args.study}')
    methods = keep_only(study.methods, args.only,
                        f'The methods of {args.study}')
    needed = [pair['teacher'] for pair in study.pairs.values()]
    teachers = {
        name: prepare_teacher(name, entry, study, args)
        for name, entry in study.teachers.items() if name in needed
    }
    planned = plan(study, teachers)
    # Not before: the others may be asked how much they compute.
    study.methods = methods
    print_plan({
        key: cost
        for key, cost in planned.items()
        if key[0] in study.pairs and key[1] in study.methods
    })
    if args.plan:
        return

    def run(trial) -> None:
        work_dir = args.work_dir / trial.folder
        done = work_dir / 'trial.json'
        if done.exists():
            return
        checkpoint = teachers[study.pairs[trial.pair]['teacher']]['checkpoint']
        cfg = study.config(trial, checkpoint)
        cost = planned[trial.pair, trial.method]
        if study.equal_compute is not None:
            cfg.merge_from_dict(
                dict(
                    train_cfg=dict(
                        phases={
                            phase['name']: dict(max_epochs=phase['epochs'])
                            for phase in cost
                        })))
        begin = time.time()
        train(cfg, work_dir, args.jobs)
        result = dict(
            read_metrics(work_dir, study.metric, study.also),
            gflops=spent(cost),
            wall_seconds=time.time() - begin)
        dump(result, done, indent=2)
        print(f'{work_dir}: {result["last"]:.4g}', flush=True)
        write_study_report(study, teachers, args.work_dir)

    with ThreadPoolExecutor(args.jobs) as pool:
        list(pool.map(run, study.trials()))
    write_study_report(study, teachers, args.work_dir)
    print((args.work_dir / 'table.md').read_text())


if __name__ == '__main__':
    main()
