# Copyright (c) sskd_mm authors. All rights reserved.
import json
from pathlib import Path
from typing import Any, Dict, List, Optional, Union

from mmengine.config import Config
from mmengine.fileio import dump

from ..compat import read_dumped_config
from .training_settings import describe_settings, list_differences

RECORD = 'training.json'


class TrainingFolder:
    """The folder of one training run of a study.

    Its ``training.json`` holds the ``settings`` of the run, see
    :func:`describe_settings`, written before it begins, and its ``seconds``
    once it is finished. Older folders without this file are identified by
    their ``trial.py``, the config of the run, which only has the path of the
    teacher's weights.

    Args:
        path (str or Path): The folder, which may not exist yet.
        result (str): A file that only a finished run leaves.

    Example:
        >>> folder = TrainingFolder('work_dirs/my_study/pair/KD/seed_0')
        >>> folder.differences(describe_settings(cfg))
        ['train_cfg.finetune.max_epochs was 10, is 20']
    """

    def __init__(self,
                 path: Union[str, Path],
                 result: str = 'trial.json') -> None:
        self.path = Path(path)
        self._result = self.path / result

    @property
    def _record(self) -> Dict[str, Any]:
        file = self.path / RECORD
        return json.loads(file.read_text()) if file.exists() else {}

    @property
    def seconds(self) -> Optional[float]:
        """float or None: Training time of the last process, once finished."""
        return self._record.get('seconds')

    @property
    def finished(self) -> bool:
        """bool: Whether training is complete."""
        record = self._record
        if record:
            return 'seconds' in record
        # A teacher that is only scored leaves nothing but its score.
        return self._result.exists() and any(
            (self.path / name).exists()
            for name in ('trial.py', 'last_checkpoint', 'result.json'))

    @property
    def begun(self) -> bool:
        """bool: Whether there is a checkpoint that could be lost."""
        return self.finished or (self.path / 'last_checkpoint').exists()

    @property
    def checkpoint(self) -> str:
        """str: The last checkpoint, also if the folder was moved.

        Raises:
            FileNotFoundError: It was deleted.
        """
        pointer = self.path / 'last_checkpoint'
        saved = Path(pointer.read_text().strip()) if pointer.exists() else None
        for file in (saved, saved and self.path / saved.name):
            if file and file.is_file():
                return str(file)
        raise FileNotFoundError(
            f'The training in {self.path} is finished, but its last '
            f'checkpoint is gone ({saved or pointer}). Put it back, or move '
            'the folder away to train it again.')

    def differences(self,
                    settings: Dict[str, Any],
                    ignore: tuple = ()) -> List[str]:
        """Compare the run in this folder with a requested one.

        Args:
            settings (dict[str, Any]): Settings of the requested run.
            ignore (tuple[str]): Suffixes of settings to ignore. Defaults to
                none.

        Returns:
            list[str]: One line per differing setting; empty if the runs are
            the same or the folder has none.
        """
        if not self.begun:
            return []
        record = self._record
        if record:
            accepted = [record['settings'], *record.get('accepted', ())]
        elif (self.path / 'trial.py').exists():
            accepted = [self._settings_before(settings)]
        else:
            return ['what it was trained with is written nowhere']
        return min((list_differences(
            _without(each, ignore), _without(settings, ignore))
                    for each in accepted),
                   key=len)

    def _settings_before(self, settings: Dict[str, Any]) -> Dict[str, Any]:
        cfg = Config(read_dumped_config(self.path / 'trial.py'))
        before = {}
        for key in ('load_from', 'model.teacher.checkpoint'):
            *parents, last = key.split('.')
            here = cfg
            for parent in parents:
                here = here.get(parent) or {}
            # The old weights are unknown; assume that they are the same.
            if here.get(last) and key in settings:
                before[key] = settings[key]
                here[last] = None
        return {**describe_settings(cfg), **before}

    def is_finished(self, settings: Dict[str, Any]) -> bool:
        """Tell whether training with these settings is complete."""
        return self.finished and not self.differences(settings)

    def begin(self, settings: Dict[str, Any]) -> None:
        """Create the folder and record the settings of the run."""
        self.path.mkdir(parents=True, exist_ok=True)
        self._write(settings=settings)

    def accept(self, settings: Dict[str, Any]) -> None:
        """Accept the finished run for these settings, too."""
        record = self._record or dict(settings=settings, seconds=None)
        if settings not in (record['settings'], *record.get('accepted', ())):
            record['accepted'] = [*record.get('accepted', ()), settings]
        self._write(**record)

    def finish(self, seconds: float) -> None:
        """Record that training is complete."""
        self._write(**{**self._record, 'seconds': seconds})

    def move_aside(self) -> Path:
        """Rename the folder to make room for another run.

        Returns:
            Path: The new path.
        """
        number = 1
        while True:
            path = self.path.with_name(f'{self.path.name}.changed-{number}')
            if not path.exists():
                return self.path.rename(path)
            number += 1

    def _write(self, **record: Any) -> None:
        dump(record, str(self.path / RECORD), indent=1)


def _without(settings: Optional[Dict[str, Any]], ends: tuple) -> dict:
    return {
        path: value
        for path, value in (settings or {}).items() if not path.endswith(ends)
    }
