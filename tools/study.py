# Copyright (c) sskd_mm authors. All rights reserved.
"""Run a study: methods x seeds x pairs of networks, and compare them.

python tools/study.py studies/cifar10_methods.yaml

All that is going to train is built first, so that a mistake shows before
anything has trained. Then teachers are trained, where the study says so, and
students. What an earlier call has finished is kept, and what was stopped goes
on; if the study's settings for it are others by now, see --changed. The table
and the plots in the study's folder, written anew after each training, show all
that is finished there. Stopped by Ctrl-C or
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
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Dict, List, Optional, Set

from mmengine.config import Config
from mmengine.fileio import dump

from sskd_mm.analysis import (SCORING, Study, TrainingFolder, Trial,
                              check_teacher, describe_settings, dry_runner,
                              finished_trials, fitted_config, plan_study,
                              read_metrics, spent, write_study_report)

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
        help='check the study, print epochs and FLOPs of each method, and '
        'train nothing')
    parser.add_argument(
        '--changed',
        choices=['retrain', 'keep'],
        help='what to do with what is finished, but with other settings than '
        'the study has now: train it again (what is there is moved aside) or '
        'keep it as it is. Without this the study does not begin, and lists '
        'what differs')
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


def train(cfg: Config, folder: TrainingFolder, jobs: int = 1) -> None:
    """Train in a process of its own, from where an earlier one has got to."""
    settings, work_dir = describe_settings(cfg), folder.path
    if folder.differences(settings):
        print(f'{work_dir}: is trained again, with other settings. What was '
              f'there is now in {folder.move_aside()}.', flush=True)
    folder.begin(settings)
    begin = time.time()
    cfg.work_dir = str(work_dir)
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
    folder.finish(time.time() - begin)


class StudyRun:
    """A study, what is asked of it, and what there is in its folder.

    Args:
        study (Study): The whole study.
        trials (list[Trial]): Those that are asked for.
        args (Namespace): The command line.
    """

    def __init__(self, study: Study, trials: List[Trial], args) -> None:
        self.study, self.trials, self.args = study, trials, args
        self.checkpoints: Dict[str, str] = {}
        self.scores: Dict[str, dict] = {}
        self.planned: Dict[tuple, list] = {}
        self.left_out: Set[Trial] = set()
        self._report = Lock()

    def run(self) -> None:
        """Check all, then train teachers, then students."""
        needed = list(
            dict.fromkeys(self._teacher(trial) for trial in self.trials))
        missing = [name for name in needed if not self._take_teacher(name)]
        with TemporaryDirectory() as folder:
            untrained = {
                name: f'{folder}/{number}.pth'
                for number, name in enumerate(missing)
            }
            for name, file in untrained.items():
                check_teacher(self.study, name, file)
            self._plan(self.trials, untrained)
        self._print_plan()
        self._see_to_changes()
        if self.args.plan:
            return
        for name in missing:
            print(f'Training the teacher {name} ...', flush=True)
            train(
                self.study.teacher_config(name), self._teacher_folder(name))
            self._take_teacher(name)
        if missing:
            # What it computes may depend on a teacher's weights.
            self._plan([t for t in self.trials if self._teacher(t) in missing])
            self._see_to_changes()
        for name in self.study.teachers:
            self._score(name, needed=name in needed)
        self._leave_out()
        with ThreadPoolExecutor(self.args.jobs) as pool:
            list(pool.map(self._train, self.trials))
        self._write_report()
        print((self.args.work_dir / 'table.md').read_text())

    def _teacher(self, trial: Trial) -> str:
        return self.study.pairs[trial.pair]['teacher']

    def _teacher_folder(self, name: str) -> TrainingFolder:
        return TrainingFolder(self.args.work_dir / 'teachers' / name,
                              'teacher.json')

    def _folder(self, trial: Trial) -> TrainingFolder:
        return TrainingFolder(self.args.work_dir / trial.folder)

    def _take_teacher(self, name: str) -> bool:
        """Whether a teacher is there, trained as the study says."""
        entry = self.study.teachers[name]
        if 'options' in entry:
            folder = self._teacher_folder(name)
            settings = describe_settings(self.study.teacher_config(name))
            if not folder.finished or (self.args.changed != 'keep'
                                       and folder.differences(settings)):
                return False
            self.checkpoints[name] = folder.checkpoint
            return True
        checkpoint = entry.get('checkpoint')
        if not checkpoint:
            raise ValueError(
                f'{self.args.study}: the teacher {name!r} has neither a '
                'checkpoint nor options to train it with.')
        if '://' not in checkpoint and not Path(checkpoint).is_file():
            raise FileNotFoundError(
                f'{self.args.study}: the teacher {name!r} has checkpoint='
                f'{checkpoint!r}, which is no file here. To train the teacher '
                'first, give it options, e.g. options: {}.')
        self.checkpoints[name] = checkpoint
        return True

    def _plan(self, trials: List[Trial], untrained: Optional[dict] = None):
        self.planned.update(
            plan_study(self.study, trials, {
                **self.checkpoints,
                **(untrained or {})
            }))

    def _print_plan(self) -> None:
        for trial in {(t.pair, t.name): t for t in self.trials}.values():
            cost = self._cost(trial)
            phases = ', '.join(f'{p["name"]} {p["epochs"]}' for p in cost)
            print(f'{trial.pair}, {trial.name}: {phases}; {spent(cost):.2f} '
                  'GFLOPs an image')

    def _cost(self, trial: Trial) -> list:
        return self.planned[trial.pair, trial.method, trial.value]

    def _config(self, trial: Trial) -> Config:
        return fitted_config(self.study, trial,
                             self.checkpoints[self._teacher(trial)],
                             self._cost(trial))

    def _see_to_changes(self) -> None:
        """Refuse what is finished with other settings, or let it be."""
        needed = {self._teacher(trial) for trial in self.trials}
        asked = [(self._teacher_folder(name), self.study.teacher_config(name))
                 for name in sorted(needed)
                 if 'options' in self.study.teachers[name]]
        asked += [(self._folder(trial), self._config(trial))
                  for trial in self.trials
                  if self._teacher(trial) in self.checkpoints]
        changed = []
        for folder, cfg in asked:
            if not folder.finished:
                continue
            settings = describe_settings(cfg)
            lines = folder.differences(settings)
            if not lines or self.args.changed == 'keep':
                folder.accept(settings)
            elif self.args.changed is None:
                changed += [f'{folder.path}', *(f'  {x}' for x in lines)]
        if changed:
            raise ValueError(
                'What is finished here was trained with other settings than '
                f'{self.args.study} has now:\n' + '\n'.join(changed) +
                '\nCall the same command with --changed retrain to train it '
                'again (what is there is moved aside, nothing is deleted), '
                'with --changed keep to take it as it is, or with another '
                '--work-dir to have both.')

    def _score(self, name: str, needed: bool) -> None:
        """See what a teacher scores, or has scored if it is not needed."""
        file = self._teacher_folder(name).path / 'teacher.json'
        known = json.loads(file.read_text()) if file.exists() else {}
        if needed:
            cfg = self.study.teacher_config(name)
            settings = describe_settings(cfg, SCORING)
            cfg.load_from = checkpoint = self.checkpoints[name]
            settings.update(describe_settings(cfg, ('load_from', )))
            if known.get('settings') != settings:
                print(f'Scoring the teacher {name} ...', flush=True)
                with dry_runner(cfg) as runner:
                    runner.load_checkpoint(checkpoint)
                    metrics = runner.test()
                known = dict(
                    checkpoint=checkpoint,
                    settings=settings,
                    metrics={
                        key: float(value)
                        for key, value in metrics.items()
                        if isinstance(value, (int, float))
                    })
                dump(known, file, indent=2)
        metrics = known.get('metrics', {})
        names = [self.study.metric, *self.study.also]
        absent = [each for each in names if each not in metrics]
        if needed and absent:
            raise ValueError(
                f'{self.args.study}: the teacher {name} has no metric '
                f'{absent[0]!r}, but {", ".join(metrics)}.')
        if not absent:
            self.scores[name] = dict(
                score=metrics[self.study.metric],
                also={each: metrics[each]
                      for each in self.study.also})

    def _leave_out(self) -> None:
        """Find what is finished, is not asked for, and has other settings
        than the study has now."""
        for trial in finished_trials(self.study, self.args.work_dir):
            if trial in self.trials:
                continue
            teacher = self._teacher(trial)
            ignore = []
            if (trial.pair, trial.method, trial.value) in self.planned:
                cfg = self._config(trial)
            else:
                cfg = self.study.config(trial, self.checkpoints.get(teacher))
                if self.study.equal_compute is not None:
                    ignore.append('max_epochs')  # not fitted
            if teacher not in self.checkpoints:
                ignore.append('teacher.checkpoint')
            folder = self._folder(trial)
            lines = folder.differences(describe_settings(cfg), tuple(ignore))
            if lines:
                self.left_out.add(trial)
                print(f'{folder.path} is left out of the table: '
                      f'{"; ".join(lines)}.')

    def _train(self, trial: Trial) -> None:
        folder, cfg = self._folder(trial), self._config(trial)
        done = folder.path / 'trial.json'
        if not folder.finished or folder.differences(describe_settings(cfg)):
            train(cfg, folder, self.args.jobs)
        elif done.exists():
            return
        result = dict(
            read_metrics(folder.path, self.study.metric, self.study.also),
            gflops=spent(self._cost(trial)),
            wall_seconds=folder.seconds)
        dump(result, done, indent=2)
        print(f'{folder.path}: {result["last"]:.4g}', flush=True)
        self._write_report()

    def _write_report(self) -> None:
        with self._report:
            write_study_report(self.study, self.scores, self.args.work_dir,
                               self.left_out)


def main():
    args = parse_args()
    signal.signal(signal.SIGTERM, stop)
    study = Study.from_file(args.study)
    if args.seeds:
        study.seeds = args.seeds
        for method in study.methods.values():
            method.pop('seeds', None)
    pairs = keep_only(study.pairs, args.pairs, f'The pairs of {args.study}')
    methods = keep_only(study.methods, args.only,
                        f'The methods of {args.study}')
    trials = [
        trial for trial in study.trials()
        if trial.pair in pairs and trial.method in methods
    ]
    StudyRun(study, trials, args).run()


if __name__ == '__main__':
    main()
