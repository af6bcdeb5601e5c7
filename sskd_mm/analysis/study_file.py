# Copyright (c) sskd_mm authors. All rights reserved.
import json
import unicodedata
from pathlib import Path
from typing import Any, Dict, Union

from mmengine.config import Config

from ..check_keys import check_keys

_SHAPES = dict(
    study=('title', 'about', 'metric', 'also', 'seeds', 'options',
           'equal_compute', 'reference', 'teachers', 'pairs', 'methods'),
    teacher=('config', 'checkpoint', 'options'),
    pair=('config', 'teacher', 'options'),
    method=('method', 'options', 'sweep', 'seeds', 'pairs'))
_KINDS = dict(
    title='text',
    about='text',
    metric='text',
    equal_compute='text',
    reference='text',
    config='text',
    checkpoint='text',
    teacher='text',
    method='text',
    option='text',
    options='mapping',
    sweep='mapping',
    teachers='mapping',
    pairs='mapping',
    methods='mapping',
    also='list',
    seeds='list',
    values='list')
_TYPES = dict(text=str, mapping=dict, list=list)
#: Characters that some file systems do not allow in a name.
_NO_NAME = set('/\\:*?"<>|') | {chr(i) for i in range(32)}


def read_study(file: Union[str, Path]) -> Dict[str, Any]:
    """Read and check a study file.

    The files that it names must exist, but are not read.

    Args:
        file (str or Path): The YAML file.

    Returns:
        dict: The arguments of a :class:`Study`.

    Raises:
        FileNotFoundError: The file, or one that it names, does not exist.
        ValueError: Keys are missing, unknown or of the wrong type.
    """
    # Unlike a config, a study cannot ask for imports.
    content = Config.fromfile(file, import_custom_modules=False).to_dict()
    _check_entry(file, 'the study', content, 'study')
    for key in ('title', 'pairs', 'methods', 'teachers', 'seeds'):
        if not content.get(key):
            raise ValueError(f'{file}: {key} is missing.')
    for kind in ('teacher', 'pair', 'method'):
        entries = content[f'{kind}s']
        for name, entry in entries.items():
            where = f'{kind} {name!r}'
            _check_name(file, where, name, kind)
            entries[name] = entry = {} if entry is None else entry
            _check_entry(file, where, entry, kind)
            for key in {'config', 'method'} & set(entry):
                if not Path(entry[key]).is_file():
                    raise FileNotFoundError(
                        f'{file}: {where} has {key}={entry[key]!r}, '
                        'which is no file here. Run studies from the '
                        'root of sskd_mm.')
            if kind != 'method' and 'config' not in entry:
                raise ValueError(f'{file}: config of the {where} is missing.')
    for name, method in content['methods'].items():
        for pair in method.get('pairs', ()):
            _check_choice(f'{file}: a pair of the method {name!r}', pair,
                          content['pairs'])
    for name, pair in content['pairs'].items():
        _check_choice(f'{file}: teacher of the pair {name!r}',
                      pair.get('teacher'), content['teachers'])
    for key in ('equal_compute', 'reference'):
        if content.get(key) is not None:
            _check_choice(f'{file}: {key}', content[key], content['methods'])
    if 'sweep' in content['methods'].get(content.get('reference'), {}):
        raise ValueError(
            f'{file}: reference is {content["reference"]!r}, which has a '
            'sweep, so it is several rows. Write a method without one.')
    return content


def check_folders(file: Union[str, Path], trials: list,
                  teachers: Dict[str, dict]) -> None:
    """Check that each run of a study has its own folder, also on
    case-insensitive file systems.

    Args:
        file (str or Path): The study file, for messages.
        trials (list[Trial]): All of its trials.
        teachers (dict[str, dict]): Its teachers.

    Raises:
        ValueError: Two would share a folder; the message names both.
    """
    for trial in trials:
        if trials.count(trial) > 1:
            raise ValueError(
                f'{file}: the values of the sweep of {trial.method!r} have '
                f'{trial.value!r} twice.')
    # Folder, its owner, and the owner's name in messages.
    places = [('teachers', None, 'the folder of all teachers')]
    places += [(f'teachers/{n}', n, f'teacher {n!r}') for n in teachers]
    for trial in trials:
        places += [(trial.pair, trial.pair, f'pair {trial.pair!r}'),
                   (str(trial.folder.parent), (trial.method, trial.value),
                    f'{trial.name!r}, of the pair {trial.pair!r}')]
    taken: Dict[str, tuple] = {}
    for folder, owner, name in places:
        key = unicodedata.normalize('NFC', folder).casefold()
        first = taken.setdefault(key, (owner, name))
        if first[0] != owner:
            raise ValueError(
                f'{file}: {name} and {first[1]} would have one folder, '
                f'{folder}. Rename one of them: only letters and digits '
                'tell folders apart, and not by upper or lower case.')


def _check_entry(file, where: str, entry: dict, kind: str) -> None:
    valid = _SHAPES[kind]
    if not isinstance(entry, dict):
        raise ValueError(f'{file}: {where} has to be a mapping with the keys '
                         f'{", ".join(valid)}, not {json.dumps(entry)}.')
    check_keys(f'{file}: {where}', entry, valid)
    for key, value in entry.items():
        _check_kind(file, where, key, value,
                    'list' if (kind, key) == ('method', 'pairs') else None)
    if 'sweep' in entry:
        sweep = entry['sweep']
        if set(sweep) != {'option', 'values'}:
            raise ValueError(f'{file}: sweep of {where} takes option (the '
                             'name of a setting) and values (a list).')
        for key, value in sweep.items():
            _check_kind(file, f'sweep of {where}', key, value)
        if not sweep['values']:
            raise ValueError(f'{file}: sweep of {where} has no values.')
    seeds = entry.get('seeds', [])
    if any(type(seed) is not int for seed in seeds) or len(
            set(seeds)) < len(seeds):
        raise ValueError(f'{file}: seeds of {where} have to be whole numbers, '
                         f'each once, not {json.dumps(seeds)}.')


def _check_kind(file, where: str, key: str, value: Any, kind=None) -> None:
    kind = kind or _KINDS[key]
    if value is None and key in ('equal_compute', 'reference', 'checkpoint'):
        return
    if not isinstance(value, _TYPES[kind]):
        raise ValueError(f'{file}: {key} of {where} has to be a {kind}, not '
                         f'{json.dumps(value, default=str)}.')


def _check_name(file, where: str, name: Any, kind: str) -> None:
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f'{file}: the name of {where} has to be text: write '
                         f'"{name}" in quotes.')
    # In a method's folder these characters are replaced.
    if kind != 'method' and (_NO_NAME & set(name) or name != name.strip(' .')):
        raise ValueError(f'{file}: {where} names a folder, so none of '
                         r'/\:*?"<>| may be in it, and no dot or space at '
                         'its ends.')
    if len(name.encode()) > 120:
        raise ValueError(f'{file}: {where} names a folder, so it may have 120 '
                         f'bytes, not {len(name.encode())}.')


def _check_choice(where: str, choice: Any, choices: dict) -> None:
    if choice not in choices:
        raise ValueError(f'{where} is {choice!r}, which is none of '
                         f'{", ".join(choices)}.')
