# Copyright (c) sskd_mm authors. All rights reserved.
import json
import statistics
from pathlib import Path

import numpy as np
import pytest
import yaml
from mmengine.registry import MODELS, DefaultScope

from sskd_mm.analysis import (Study, Trial, describe_settings, read_metrics,
                              write_study_report)
from sskd_mm.compat import InvalidYamlError

STUDIES = sorted((Path(__file__).parents[2] / 'studies').glob('*.yaml'))
PREFIXES = dict(
    Accuracy='accuracy/',
    CocoMetric='coco/',
    FaceIdentification='face/',
    FaceVerification='face/')
PAIR = 'configs/sskd/cifar10/resnet56_resnet20_cifar10.py'
STUDY = dict(
    title='Does it help?',
    about='On few images.',
    seeds=[0, 1],
    options={'train_dataloader.dataset.indices': 100},
    teachers=dict(
        big=dict(
            config='configs/baselines/cifar10/resnet56_cifar10.py',
            checkpoint='big.pth')),
    pairs=dict(
        first=dict(config=PAIR, teacher='big', options=dict(max_epochs=7))),
    methods={
        'from scratch':
        dict(method='configs/_base_/methods/scratch.py'),
        'KD':
        dict(
            method='configs/_base_/methods/kd.py',
            sweep=dict(option='model.losses.0.weight', values=[0.1, 10])),
        'SSKD':
        dict(seeds=[0], options={'train_cfg.head.max_epochs': 3})
    })


@pytest.fixture
def read(tmp_path, root, monkeypatch):
    """Returns a function that reads a study with some of its keys changed."""
    monkeypatch.chdir(root)

    def read(**changes):
        file = tmp_path / 'study.yaml'
        file.write_text(yaml.safe_dump({**STUDY, **changes}, sort_keys=False))
        return Study.from_file(file)

    return read


def test_trials(read):
    trials = read().trials()
    assert trials == [
        Trial('first', 'from scratch', 0),
        Trial('first', 'KD', 0, 0.1),
        Trial('first', 'KD', 0, 10),
        Trial('first', 'SSKD', 0),
        Trial('first', 'from scratch', 1),
        Trial('first', 'KD', 1, 0.1),
        Trial('first', 'KD', 1, 10)
    ]
    assert len({trial.folder for trial in trials}) == 7


def test_a_method_for_some_pairs(read):
    pair = dict(config=PAIR, teacher='big')
    trials = read(
        seeds=[0],
        pairs=dict(first=pair, second=pair),
        methods={
            'SSKD': {},
            'KD': dict(pairs=['second'])
        }).trials()
    assert [(trial.pair, trial.method) for trial in trials] == [
        ('first', 'SSKD'), ('second', 'SSKD'), ('second', 'KD')
    ]


def test_configs(read):
    study = read()
    scratch, kd, _, sskd = (study.config(trial, 'teacher.pth')
                            for trial in study.trials()[:4])
    for cfg in (scratch, kd, sskd):
        assert cfg.train_dataloader.dataset.indices == 100
        assert cfg.model.teacher.checkpoint == 'teacher.pth'
        assert cfg.model.student.backbone.depth == 20
    assert scratch.train_cfg.finetune.max_epochs == 7
    assert kd.model.losses[0].weight == 0.1
    assert kd.train_cfg.finetune.max_epochs == 7
    assert sskd.model.type == 'StageByStageDistiller'
    assert sskd.train_cfg.head.max_epochs == 3
    assert sskd.randomness.seed == 0
    # What becomes of each image is kept, and is no setting of a training.
    scratch.model.teacher.checkpoint = None
    settings = describe_settings(scratch)
    assert scratch.default_hooks.pop('bootstrap').type == 'BootstrapHook'
    assert describe_settings(scratch) == settings


@pytest.mark.parametrize('path', STUDIES, ids=lambda path: path.stem)
def test_every_study_that_ships(path, root, monkeypatch):
    monkeypatch.chdir(root)
    study = Study.from_file(path)
    for trial in {trial.method: trial for trial in study.trials()}.values():
        cfg = study.config(trial, 'teacher.pth')
        # What is compared is measured.
        evaluators = cfg.val_evaluator
        if isinstance(evaluators, dict):
            evaluators = [evaluators]
        prefixes = tuple(PREFIXES[x.type] for x in evaluators)
        assert all(
            name.startswith(prefixes) for name in (study.metric, *study.also))
        with DefaultScope.overwrite_default_scope(cfg.default_scope):
            MODELS.build(cfg.model)
        if trial.method == study.equal_compute:
            assert cfg.train_cfg.finetune.max_epochs == cfg.max_epochs


def test_a_fraction_has_more_digits(read, tmp_path):
    study = read()
    folder = tmp_path / study.trials()[0].folder
    folder.mkdir(parents=True)
    (folder / 'trial.json').write_text(
        json.dumps(
            dict(last=.5525, best=.5, seconds=1, gflops=2, alignment={})))
    write_study_report(study, dict(big=dict(score=.6)), tmp_path)
    table = (tmp_path / 'table.md').read_text()
    assert '| teacher | 0.600 |' in table
    assert '| from scratch | 0.552 | 0.500 | 0 | 1 | 2.00 |' in table


@pytest.mark.parametrize('changes, message', [
    (dict(title=''), 'title is missing'),
    (dict(sead=[0]), "'sead', which is none of.*Did you mean 'seeds'"),
    (dict(methods=dict(KD=dict(method='kd.py'))), "method 'KD'.*no file"),
    (dict(methods=dict(KD=[1])), r'mapping with the keys.*not \[1\]'),
    (dict(methods=dict(KD=dict(sweep=dict(value=1)))), 'takes option'),
    (dict(pairs=dict(a=dict(config=PAIR, teacher='b'))),
     "pair 'a' is 'b', which is none of big"),
    (dict(methods=dict(KD=dict(pairs=['c']))),
     "a pair of the method 'KD' is 'c', which is none of"),
    (dict(equal_compute='AT'), "equal_compute is 'AT', which is none of"),
    (dict(reference='AT'), "reference is 'AT', which is none of"),
    (dict(reference='KD'), "reference is 'KD', which has a sweep"),
    (dict(seeds=3), 'seeds of the study has to be a list'),
    (dict(seeds=[0, 0]), 'each once'),
    (dict(seeds=[True]), 'whole numbers'),
    (dict(also='accuracy/top5'), 'also of the study has to be a list'),
    (dict(methods=['KD']), 'methods of the study has to be a mapping'),
    (dict(methods={1: None}), "method 1 has to be text"),
    (dict(teachers=dict(big=None)), "config of the teacher 'big' is missing"),
    (dict(pairs=dict(first=dict(teacher='big'))), "config of the pair"),
    (dict(methods=dict(KD=dict(sweep=dict(option='a', values=3)))),
     "values of sweep of method 'KD' has to be a list"),
    (dict(methods=dict(KD=dict(sweep=dict(option='a', values=[])))),
     'no values'),
    (dict(methods=dict(KD=dict(pairs='first'))), 'has to be a list'),
])
def test_mistakes(read, changes, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        read(**changes)


@pytest.mark.parametrize('methods, one, other', [
    (('SSKD+', 'SSKD-'), 'SSKD-', 'SSKD+'),
    (('a b', 'a_b'), 'a_b', 'a b'),
    (('KD', 'kd'), 'kd', 'KD'),
    (({'KD': [1, 2]}, 'KD 2'), 'KD 2', 'KD, 2'),
    (({'KD': [1, 1.0]}, ), '1', 'twice'),
    (({'KD': [True, 'true']}, ), 'true', 'twice'),
    (({'KD': ['Joint', 'joint']}, ), 'joint', 'Joint'),
    (({'KD': [10, '10']}, ), '10', '10'),
])
def test_one_folder_for_two(read, methods, one, other):
    content = {}
    for method in methods:
        name, values = (method, None) if isinstance(
            method, str) else next(iter(method.items()))
        content[name] = {} if values is None else dict(
            sweep=dict(option='randomness.a', values=values))
    with pytest.raises(ValueError, match='one folder|twice') as error:
        read(methods=content)
    assert one in str(error.value) and other in str(error.value)


@pytest.mark.parametrize('kind', ['pairs', 'teachers'])
@pytest.mark.parametrize('name', [
    '../out', '/tmp', 'a/b', 'a\\b', '..', 'a.', ' a', 'a:b', 'a\nb',
    'x' * 121
])
def test_names_that_are_no_folder(read, kind, name):
    pair = dict(config=PAIR, teacher='big')
    teacher = STUDY['teachers']['big']
    changes = dict(
        pairs=dict(pairs={name: pair}),
        teachers=dict(teachers={
            name: teacher,
            'big': teacher
        }))
    with pytest.raises(ValueError, match='names a folder'):
        read(**changes[kind])


def test_a_pair_where_teachers_are(read):
    pair = dict(config=PAIR, teacher='big')
    with pytest.raises(ValueError, match="'Teachers' and the folder of all"):
        read(pairs=dict(Teachers=pair))
    with pytest.raises(ValueError, match='one folder'):
        read(pairs={'caf\u00e9': pair, 'Cafe\u0301': pair})


def test_folders_of_values(read):
    values = [
        .1, .1234567, .12345678, 10, 1e-7, True, None, 'joint', 'a/b', 'a:b',
        ['a', 'b'], ['a b'], dict(type='A', x=1), 'x' * 300, 'x' * 301
    ]
    study = read(
        seeds=[0],
        methods=dict(KD=dict(sweep=dict(option='a', values=values))))
    names = [trial.folder.parts[1] for trial in study.trials()]
    assert names[:8] == [
        'KD_0.1', 'KD_0.1234567', 'KD_0.12345678', 'KD_10', 'KD_1e-07',
        'KD_true', 'KD_null', 'KD_joint'
    ]
    assert len({name.lower() for name in names}) == len(values)
    assert all(
        len(name) < 60 and not set(name) & set('/\\:*?"<>| ')
        for name in names)
    # The same in any other call.
    assert names == [trial.folder.parts[1] for trial in study.trials()]


def test_configs_are_the_same_each_time(read):
    """Merging an option must not change the study's."""
    study = read(
        methods=dict(
            A=dict(
                options=dict(
                    optim_wrapper=dict(
                        _delete_=True, optimizer=dict(type='AdamW', lr=1))))))
    trial = study.trials()[0]
    first, second = (study.config(trial, 't.pth') for _ in range(2))
    assert first.optim_wrapper == dict(optimizer=dict(type='AdamW', lr=1))
    assert first.to_dict() == second.to_dict()


@pytest.mark.parametrize('text', [
    'about: !!python/object/apply:builtins.open [{}, w]',
    'about: !!python/name:os.system ""',
    'a: &a [x]\n' + '\n'.join(
        f'a{i}: &a{i} [{", ".join(9 * [f"*a{i - 1}" if i else "*a"])}]'
        for i in range(9))
])
def test_a_study_that_is_no_plain_data(text, tmp_path, root, monkeypatch):
    monkeypatch.chdir(root)
    ran, file = tmp_path / 'ran', tmp_path / 'study.yaml'
    file.write_text('title: x\n' + text.format(ran))
    with pytest.raises(InvalidYamlError, match=r'study.yaml: .*(tag|alias)'):
        Study.from_file(file)
    assert not ran.exists()


def test_metrics_of_a_run(tmp_path):
    curve = [{'epoch': i, 'accuracy/top1': v} for i, v in ((3, 71.), (4, 70.))]
    phases = [
        dict(name='mimic/joint', seconds=5,
             alignment=dict(a=dict(cka=.5), b=dict(cka=.6))),
        dict(name='mimic/last', seconds=2, alignment=dict(b=dict(cka=.7))),
        dict(name='head', seconds=1)
    ]
    (tmp_path / 'result.json').write_text(
        json.dumps(dict(student_curve=curve, phases=phases)))
    assert read_metrics(tmp_path, 'accuracy/top1', ['epoch']) == dict(
        last=70., best=71., also=dict(epoch=4), seconds=8,
        alignment=dict(a=dict(cka=.5), b=dict(cka=.7)))
    with pytest.raises(ValueError, match="no metric 'top1'.*accuracy/top1"):
        read_metrics(tmp_path, 'top1')


def test_report(read, tmp_path):
    study, scores = read(also=['accuracy/top5']), {}
    for number, trial in enumerate(study.trials()[:-1]):
        folder = tmp_path / trial.folder
        folder.mkdir(parents=True)
        scores.setdefault((trial.method, trial.value), []).append(60 + number)
        alignment = dict(layer1=dict(cka=.9, cosine=.8, relative_l2=.7))
        (folder / 'trial.json').write_text(
            json.dumps(
                dict(
                    last=60 + number,
                    best=61 + number,
                    also={'accuracy/top5': 80 + number},
                    seconds=10,
                    gflops=1.5,
                    alignment=alignment if trial.method == 'SSKD' else {})))
    teacher = dict(score=90., also={'accuracy/top5': 99.})
    write_study_report(study, dict(big=teacher), tmp_path)
    table = (tmp_path / 'table.md').read_text()
    assert '| best epoch | accuracy/top5 | seeds |' in table
    assert '| teacher | 90.00 | | 99.00 | | | |' in table
    for name, key in (('from scratch', ('from scratch', None)),
                      ('KD, 0.1', ('KD', .1))):
        mean, spread = (
            f(scores[key]) for f in (statistics.mean, statistics.stdev))
        assert f'| {name} | {mean:.2f} ± {spread:.2f} |' in table
    assert '| KD, 10 | 62.00 | 63.00 | 82.00 | 0 |' in table
    assert '| SSKD | layer1 | 0.900 | 0.800 | 0.700 |' in table
    assert (tmp_path / 'first.png').stat().st_size > 10000


def write_trial(folder, last, resampled=None, score=None,
                name='accuracy/top1'):
    folder.mkdir(parents=True)
    (folder / 'trial.json').write_text(
        json.dumps(
            dict(last=last, best=last, seconds=1, gflops=2, alignment={})))
    if resampled is not None:
        score = last if score is None else score
        np.savez(
            folder / 'bootstrap.npz',
            names=[name],
            scores=[[score, *resampled]])


def test_intervals(read, tmp_path):
    """Over seeds, and of differences of the same images."""
    study = read(reference='SSKD')
    study.seeds, study.methods['SSKD'] = [0, 1], {}
    noise = np.random.default_rng(0).normal(size=(2, 1000))
    scores = {
        # Far apart, image by image; within the chance of images; the same.
        ('from scratch', None): (60 + noise, 60),
        ('KD', .1): (70 + .1 - noise, 70.1),
        ('KD', 10): (70 + noise, 70),
        ('SSKD', None): (70 + noise, 70)
    }
    for trial in study.trials():
        resampled, last = scores[trial.method, trial.value]
        # A seed more or less in some rows.
        if (trial.method, trial.seed) != ('from scratch', 0):
            write_trial(tmp_path / trial.folder, last, resampled[trial.seed])
    write_study_report(study, dict(big=dict(score=90.)), tmp_path)
    table = (tmp_path / 'table.md').read_text()
    assert '| last epoch | 95 % interval | SSKD minus this | best' in table
    assert '| teacher | 90.00 | | | | | | |' in table
    assert 'No interval' not in table
    low, high = np.percentile(noise.mean(0), [2.5, 97.5])
    assert (f'| SSKD | 70.00 ± 0.00 | [{70 + low:.2f}, {70 + high:.2f}] | | '
            in table)
    # Paired over seed 1, which both have.
    assert '] | +10.00 [+10.00, +10.00] | 60.00 | 1 |' in table
    assert '] | +0.00 [+0.00, +0.00], includes 0 | 70.00' in table
    low, high = np.percentile(2 * noise.mean(0) - .1, [2.5, 97.5])
    assert (f'] | -0.10 [{low:+.2f}, {high:+.2f}], includes 0 | 70.10'
            in table)


def test_rows_without_an_interval(read, tmp_path):
    study = read(reference='SSKD')
    kept, changed, other, old = study.trials()[:4]
    resampled = np.full(1000, 70.)
    write_trial(tmp_path / kept.folder, 70., resampled)
    write_trial(tmp_path / changed.folder, 70., resampled, score=70.01)
    write_trial(tmp_path / other.folder, 70., resampled, name='face/AUC')
    write_trial(tmp_path / old.folder, 70.)
    write_study_report(study, dict(big=dict(score=90.)), tmp_path)
    table = (tmp_path / 'table.md').read_text()
    # The reference has none.
    assert 'minus this' not in table
    assert '| from scratch | 70.00 | [70.00, 70.00] | 70.00 | 0 |' in table
    for line in (
            'No interval for KD, 0.1 (seed 0): the results of single images '
            'give 70.01, but the training measured 70.',
            'No interval for KD, 10 (seed 0): accuracy/top1 cannot be '
            'resampled by images.',
            'No interval for SSKD (seed 0): the training left no results of '
            'single images'):
        assert f'\n{line}' in table
