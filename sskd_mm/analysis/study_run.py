# Copyright (c) sskd_mm authors. All rights reserved.
import json
import time
from concurrent.futures import ThreadPoolExecutor
from numbers import Real
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Any, Callable, Dict, List, Optional, Sequence

from mmengine.config import Config
from mmengine.fileio import dump

from .dry_run import dry_runner
from .quiet import quiet
from .study import Study
from .study_check import Key, check_teacher, fitted_config, plan_study
from .study_report import finished_trials, read_metrics, write_study_report
from .study_trial import Trial
from .training_cost import spent
from .training_folder import TrainingFolder
from .training_settings import SCORING, describe_settings


class StudyRun:
    """Runs a study, or part of it, in a folder that may hold earlier results.

    A finished run counts if its settings are the study's current ones, see
    :class:`TrainingFolder`. If they differ, nothing begins unless ``changed``
    says what to do. An unfinished run with other settings is moved aside and
    trained again.

    Args:
        study (Study): The whole study.
        trials (list[Trial]): The requested trials.
        work_dir (Path): Its folder.
        train (Callable): Trains a config in a folder, resuming an earlier
            call: ``train(cfg, work_dir, jobs)``.
        jobs (int): Number of students to train at a time. Defaults to 1.
        changed (str, optional): How to treat finished runs with other
            settings: ``'retrain'`` moves them aside and trains them again;
            ``'keep'`` accepts them. Defaults to neither.

    Example:
        >>> run = StudyRun(study, study.trials(), Path('work_dirs/a'), train)
        >>> run.plan()
        >>> run.train_teachers()
        >>> run.train_students()
    """

    def __init__(self,
                 study: Study,
                 trials: Sequence[Trial],
                 work_dir: Path,
                 train: Callable[[Config, Path, int], None],
                 jobs: int = 1,
                 changed: Optional[str] = None) -> None:
        self.study, self.trials, self.work_dir = study, trials, work_dir
        self._train, self._jobs, self._changed = train, jobs, changed
        self._teachers = list(dict.fromkeys(map(self._teacher, trials)))
        #: Checkpoint of each available teacher.
        self._checkpoints: Dict[str, str] = {}
        self._planned: Dict[Key, List[dict]] = {}
        self._settings: Dict[Key, Dict[str, Any]] = {}
        self._report = Lock()

    def plan(self) -> None:
        """Build everything requested and print its cost, without training.

        Raises:
            FileNotFoundError: A required file does not exist.
            ValueError: Something cannot be trained, or is finished with other
                settings.
        """
        for name in self._teachers:
            self._find_teacher(name)
        with TemporaryDirectory() as folder:
            untrained = {}
            for number, name in enumerate(self._untrained()):
                untrained[name] = f'{folder}/{number}.pth'
                check_teacher(self.study, name, untrained[name])
            self._plan(self.trials, untrained)
        for trial in {t.folder.parent: t for t in self.trials}.values():
            cost = self._cost(trial)
            phases = ', '.join(f'{p["name"]} {p["epochs"]}' for p in cost)
            print(f'{trial.pair}, {trial.name}: {phases}; {spent(cost):.2f} '
                  'GFLOPs an image')
        self._check_finished()

    def train_teachers(self) -> None:
        """Train teachers that :meth:`plan` has not found, and score all."""
        self._accept_finished()
        new = self._untrained()
        for name in new:
            print(f'Training the teacher {name} ...', flush=True)
            self._train_in(
                self._teacher_folder(name), self.study.teacher_config(name))
            self._find_teacher(name)
        # A student's cost may depend on its teacher's weights.
        self._plan([t for t in self.trials if self._teacher(t) in new])
        self._check_finished()
        self._accept_finished()
        for name in self._teachers:
            self._score(name)

    def train_students(self) -> None:
        """Train the requested, unfinished trials, and write the report."""
        scores = self._read_scores()
        left_out = self._find_outdated()

        def report() -> None:
            with self._report:
                write_study_report(self.study, scores, self.work_dir, left_out)

        def run(trial: Trial) -> None:
            folder = self._folder(trial)
            done = folder.path / 'trial.json'
            if not folder.is_finished(self._settings_of(trial)):
                self._train_in(folder, self._config(trial), self._jobs)
            elif done.exists():
                return
            result = dict(
                read_metrics(folder.path, self.study.metric, self.study.also),
                gflops=spent(self._cost(trial)),
                wall_seconds=folder.seconds)
            dump(result, done, indent=2)
            print(f'{folder.path}: {result["last"]:.4g}', flush=True)
            report()

        with ThreadPoolExecutor(self._jobs) as pool:
            list(pool.map(run, self.trials))
        report()

    # --- Teachers ---------------------------------------------------------

    def _teacher(self, trial: Trial) -> str:
        return self.study.pairs[trial.pair]['teacher']

    def _teacher_folder(self, name: str) -> TrainingFolder:
        return TrainingFolder(self.work_dir / 'teachers' / name,
                              'teacher.json')

    def _untrained(self) -> List[str]:
        return [n for n in self._teachers if n not in self._checkpoints]

    def _find_teacher(self, name: str) -> None:
        """Record a teacher's checkpoint, if it is trained as in the study."""
        entry = self.study.teachers[name]
        if 'options' in entry:
            folder = self._teacher_folder(name)
            settings = describe_settings(self.study.teacher_config(name))
            if folder.is_finished(settings) or (folder.finished
                                                and self._changed == 'keep'):
                self._checkpoints[name] = folder.checkpoint
            return
        checkpoint = entry.get('checkpoint')
        if not checkpoint:
            raise ValueError(f'The teacher {name!r} has neither a checkpoint '
                             'nor options to train it with.')
        if '://' not in checkpoint and not Path(checkpoint).is_file():
            raise FileNotFoundError(
                f'The teacher {name!r} has checkpoint={checkpoint!r}, which '
                'is no file here. A teacher that has options, such as '
                'options: {}, is trained first.')
        self._checkpoints[name] = checkpoint

    def _score(self, name: str) -> None:
        """Score a teacher, unless these weights were already scored so."""
        checkpoint = self._checkpoints[name]
        cfg = self.study.teacher_config(name)
        cfg.load_from = checkpoint
        settings = describe_settings(cfg, (*SCORING, 'load_from'))
        file = self._teacher_folder(name).path / 'teacher.json'
        known = json.loads(file.read_text()) if file.exists() else {}
        if known.get('settings') != settings:
            print(f'Scoring the teacher {name} ...', flush=True)
            with quiet(), dry_runner(cfg) as runner:
                runner.load_checkpoint(checkpoint)
                metrics = runner.test()
            known = dict(
                checkpoint=checkpoint,
                settings=settings,
                metrics={
                    key: float(value)
                    for key, value in metrics.items()
                    if isinstance(value, Real)
                })
            dump(known, str(file), indent=2)
        for each in (self.study.metric, *self.study.also):
            if each not in known['metrics']:
                raise ValueError(
                    f'The teacher {name!r} has no metric {each!r}. Its test '
                    f'measures {", ".join(known["metrics"])}. Write one of '
                    'these as metric, or in also, of the study.')

    def _read_scores(self) -> Dict[str, dict]:
        """Read the scores of all teachers, from this and earlier calls."""
        scores = {}
        for name in self.study.teachers:
            file = self._teacher_folder(name).path / 'teacher.json'
            known = json.loads(file.read_text()) if file.exists() else {}
            metrics = known.get('metrics', {})
            if {self.study.metric, *self.study.also} <= metrics.keys():
                scores[name] = dict(
                    score=metrics[self.study.metric],
                    also={each: metrics[each]
                          for each in self.study.also})
        return scores

    # --- Students ---------------------------------------------------------

    def _folder(self, trial: Trial) -> TrainingFolder:
        return TrainingFolder(self.work_dir / trial.folder)

    def _plan(self,
              trials: Sequence[Trial],
              untrained: Optional[Dict[str, str]] = None) -> None:
        checkpoints = {**self._checkpoints, **(untrained or {})}
        self._planned.update(plan_study(self.study, trials, checkpoints))

    def _cost(self, trial: Trial) -> List[dict]:
        return self._planned[trial.pair, trial.method, trial.value]

    def _config(self, trial: Trial) -> Config:
        return fitted_config(self.study, trial,
                             self._checkpoints[self._teacher(trial)],
                             self._cost(trial))

    def _settings_of(self, trial: Trial) -> Dict[str, Any]:
        key = trial.pair, trial.method, trial.value
        if key not in self._settings:
            self._settings[key] = describe_settings(self._config(trial))
        # Trials of a key only differ in the seed.
        return {**self._settings[key], 'randomness.seed': trial.seed}

    # --- What is finished -------------------------------------------------

    def _asked(self) -> List[tuple]:
        """List folder and settings of everything requested; of students whose
        teacher is available."""
        found = [(self._teacher_folder(name),
                  describe_settings(self.study.teacher_config(name)))
                 for name in self._teachers
                 if 'options' in self.study.teachers[name]]
        return found + [(self._folder(trial), self._settings_of(trial))
                        for trial in self.trials
                        if self._teacher(trial) in self._checkpoints]

    def _check_finished(self) -> None:
        if self._changed is not None:
            return
        changed = []
        for folder, settings in self._asked():
            lines = folder.differences(settings) if folder.finished else []
            if lines:
                changed += [str(folder.path), *(f'  {x}' for x in lines)]
        if changed:
            raise ValueError(
                'What is finished here was trained with other settings than '
                'the study has now:\n' + '\n'.join(changed) +
                '\nCall the same command with --changed retrain to train it '
                'again (what is there is moved aside, nothing is deleted), '
                'with --changed keep to let it count as it is, or with '
                'another --work-dir to have both.')

    def _accept_finished(self) -> None:
        for folder, settings in self._asked():
            if folder.finished and (self._changed == 'keep'
                                    or not folder.differences(settings)):
                folder.accept(settings)

    def _find_outdated(self) -> List[Trial]:
        """List finished trials that are not requested and whose settings
        differ from the study's."""
        outdated = []
        for trial in finished_trials(self.study, self.work_dir):
            if trial in self.trials:
                continue
            ignore = []
            if ((trial.pair, trial.method, trial.value) in self._planned
                    and self._teacher(trial) in self._checkpoints):
                settings = self._settings_of(trial)
            else:
                # Its length and its teacher's weights are unknown without
                # building it.
                settings = describe_settings(self.study.config(trial, None))
                ignore = ['teacher.checkpoint']
                if self.study.equal_compute is not None:
                    ignore.append('max_epochs')
            folder = self._folder(trial)
            lines = folder.differences(settings, tuple(ignore))
            if lines:
                outdated.append(trial)
                print(f'{folder.path} is left out of the table: '
                      f'{"; ".join(lines)}')
        return outdated

    def _train_in(self, folder: TrainingFolder, cfg: Config,
                  jobs: int = 1) -> None:
        settings = describe_settings(cfg)
        if folder.differences(settings):
            print(f'{folder.path} is trained anew, with other settings; what '
                  f'was there is now in {folder.move_aside()}', flush=True)
        folder.begin(settings)
        begin = time.time()
        self._train(cfg, folder.path, jobs)
        folder.finish(time.time() - begin)
