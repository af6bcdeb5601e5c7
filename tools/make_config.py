# Copyright (c) sskd_mm authors. All rights reserved.
"""Write the config that distils a teacher into a student you have, and check
it with a dry run.

python tools/make_config.py STUDENT_CONFIG TEACHER_CONFIG TEACHER_CHECKPOINT \
    -o configs/my_distillation.py

It inherits from the student's own config, and has a recipe for detectors,
classifiers or networks for faces, in as many epochs as the student's config
trains. For detectors it is the one that ships; for the other two it is an
earlier form of it.
"""
import argparse
import os
import os.path as osp
import sys
from typing import Any, Dict, List, Sequence, Tuple

from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from torch import nn
from yapf.yapflib.yapf_api import FormatCode

from sskd_mm.analysis import dry_run, print_plan
from sskd_mm.compat import allow_pickle, load_checkpoint_file
from sskd_mm.datasets import check_data_files, head_classes
from sskd_mm.distillers.teacher import read_teacher_config
from sskd_mm.models import MarginHead, build_model
from sskd_mm.stages import find_stages

TRAIN = osp.join(osp.dirname(osp.abspath(__file__)), 'train.py')


class Name(str):
    """A name in the written config, where a string would be in quotes."""

    __repr__ = str.__str__


#: What may have a length in ``train_cfg``.
PHASES = ('mimic', 'head', 'finetune')


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        'student', help="a config file, or 'mmdet::...' for one of a package")
    parser.add_argument('teacher', help='the same of the teacher')
    parser.add_argument('checkpoint', help='of the teacher: a path or URL')
    parser.add_argument(
        '-o', '--out', required=True, help='the config file to write')
    parser.add_argument(
        '--other-classes',
        action='store_true',
        help='the teacher may know other classes than the student: only its '
        'features are taken, not its heads')
    parser.add_argument(
        '--allow-pickle',
        action='store_true',
        help='the checkpoint is trusted to run code when it is read')
    return parser.parse_args()


def main():
    args = parse_args()
    if osp.exists(args.out):
        raise FileExistsError(f'{args.out} is there already. Remove it, or '
                              'give another name with -o.')
    cfg = read_student(args.student)
    if args.allow_pickle:
        allow_pickle([args.checkpoint])
    checkpoint = load_checkpoint_file(args.checkpoint)
    check_data_files(cfg)
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope')):
        loader = Runner.build_dataloader(cfg.train_dataloader, seed=0)
    student = build_model(cfg)
    teacher = build_model(read_teacher_config(args.teacher))
    if not args.other_classes:
        check_classes(student, teacher, loader.dataset, checkpoint)
    text = write_config(args, cfg, student, teacher, len(loader))
    os.makedirs(osp.dirname(osp.abspath(args.out)), exist_ok=True)
    with open(args.out, 'w') as file:
        file.write(text)
    print(f'Written: {args.out}\n\n{text}')
    try:
        print_plan(dry_run(Config.fromfile(args.out)))
    except Exception:
        print(
            f'{args.out} is written, but its dry run fails as follows. Mend '
            f'it there, then look again:\n'
            f'  python {osp.relpath(TRAIN)} {args.out} --dry-run',
            file=sys.stderr)
        raise
    print(f'Run it:\n  python {osp.relpath(TRAIN)} {args.out}')


def read_student(path: str) -> Config:
    """The student's config, if it is one that can be inherited from."""
    if '::' not in path:
        if not osp.isfile(path):
            raise FileNotFoundError(
                f'The student\'s config {path!r} is not there (looked for '
                f'{osp.abspath(path)!r}).')
        if Config._is_lazy_import(path):
            raise ValueError(
                f'{path} is written with read_base(), from which no config '
                'with _base_ can inherit. Turn it into a plain one first: '
                'python -c "from mmengine.config import Config; '
                f'Config.fromfile({path!r}).dump(\'student.py\')"')
    cfg = read_teacher_config(path)
    if 'student' in cfg.get('model', {}):
        raise ValueError(
            f'{path} is the config of a distillation already (model.type is '
            f'{cfg.model.type!r}). Give the plain config of the student.')
    train_cfg = cfg.get('train_cfg') or {}
    if 'max_epochs' not in train_cfg:
        raise ValueError(
            f'{path} does not say for how many epochs it trains, so how long '
            f'the phases are to be: train_cfg is {dict(train_cfg)}. Phases '
            'are counted in epochs. Write in it, or in a copy, '
            'train_cfg=dict(by_epoch=True, max_epochs=12) and, if it trains '
            'by iterations, train_dataloader.sampler=dict('
            "type='DefaultSampler', shuffle=True).")
    return cfg


def check_classes(student: nn.Module, teacher: nn.Module, dataset: Any,
                  checkpoint: Dict[str, Any]) -> None:
    """See that both know the same classes in the same order, as far as heads
    and checkpoint tell."""
    own, theirs = (sorted(set(head_classes(m).values()))
                   for m in (student, teacher))
    names = list((getattr(dataset, 'metainfo', None) or {}).get('classes', ()))
    taught = taught_classes(checkpoint)
    if own != theirs:
        detail = (f'The student\'s heads have {_numbers(own)} classes, the '
                  f'teacher\'s {_numbers(theirs)}.')
    elif names and taught and names != taught:
        number, (ours, other) = next(
            (i, pair) for i, pair in enumerate(
                zip([*names, None], [*taught, None])) if pair[0] != pair[1])
        detail = (f'Class {number} is {ours!r} in the training data, but '
                  f'{other!r} in the teacher\'s checkpoint.')
    else:
        return
    raise ValueError(
        f'The teacher\'s classes are not the student\'s. {detail} If that is '
        'a mistake, give the config and checkpoint of a teacher that was '
        'trained on these classes. If it is meant, --other-classes takes the '
        "teacher's features only: no head starts from its, and it is not "
        'evaluated.')


def taught_classes(checkpoint: Dict[str, Any]) -> List[str]:
    """What a checkpoint of MMEngine, or of mmcv before it, says."""
    meta = checkpoint.get('meta') or {}
    classes = (meta.get('dataset_meta') or {}).get('classes')
    classes = classes or meta.get('CLASSES') or ()
    return [classes] if isinstance(classes, str) else list(classes)


def _numbers(numbers: Sequence[int]) -> str:
    return ' and '.join(map(str, numbers)) or 'no'


def write_config(args, cfg: Config, student: nn.Module, teacher: nn.Module,
                 iters: int) -> str:
    """The text of the config.

    Args:
        args (Namespace): The command line's.
        cfg (Config): The student's.
        student (nn.Module): Built from it.
        teacher (nn.Module): The teacher.
        iters (int): Iterations of an epoch.

    Returns:
        str: Formatted as the configs that ship.
    """
    kind, model, train_cfg = recipe(cfg, student, teacher)
    total = sum(train_cfg[phase]['max_epochs'] for phase in PHASES
                if phase in train_cfg)
    if isinstance(train_cfg.get('schedule'), list):
        total += train_cfg['mimic']['max_epochs'] * (
            len(train_cfg['schedule']) - 1)
    inherit = [] if args.other_classes else inheritable(student, teacher)
    if inherit:
        model['inherit'] = inherit
    if args.other_classes:
        train_cfg['evaluate_teacher'] = False
    if cfg.train_cfg.get('val_interval', 1) != 1:
        train_cfg['val_interval'] = cfg.train_cfg.val_interval
    shortest = iters * min(train_cfg[phase]['max_epochs'] for phase in PHASES
                           if phase in train_cfg)
    frozen = frozen_by_config(student)
    model = dict(
        _delete_=True,
        type='StageByStageDistiller',
        student=Name('student' if frozen else '_base_.model'),
        teacher=dict(
            cfg=reachable(args.teacher, args.out),
            checkpoint=reachable(args.checkpoint, args.out)),
        **model)
    warmup = dict(
        type='LinearLR',
        start_factor=0.001,
        by_epoch=False,
        begin=0,
        end=max(1, min(500, shortest // 10)))
    cosine = dict(
        type='CosineAnnealingLR', by_epoch=True, convert_to_iter_based=True)
    lines = [
        '# Written by tools/make_config.py of sskd_mm, with its recipe for '
        f'{kind}.', f'_base_ = {inherited(args.student, args.out)!r}',
        f'custom_imports = dict(imports={imports(cfg)!r})',
        *([f'allow_pickle = {[reachable(args.checkpoint, args.out)]!r}'] *
          args.allow_pickle), ''
    ]
    if frozen:
        lines += [
            'student = _base_.model',
            '# Every stage mimics the teacher, so none may be frozen.',
            f'student.backbone.update({_arguments(frozen)})'
        ]
    lines += [f'model = {_code(model)}', *(['del student'] * bool(frozen))]
    lines += [
        '', f'warmup = {_code(warmup)}', f'cosine = {_code(cosine)}',
        f'# {total} epochs in all; the student\'s own config has '
        f'{cfg.train_cfg.max_epochs}.',
        f'train_cfg = {_code(dict(_delete_=True, **train_cfg))}', ''
    ]
    style = dict(
        based_on_style='pep8', split_before_expression_after_opening_paren=1)
    return FormatCode('\n'.join(lines), style_config=style)[0]


def recipe(cfg: Config, student: nn.Module,
           teacher: nn.Module) -> Tuple[str, dict, dict]:
    """What is distilled, and the settings for it.

    Returns:
        tuple: What the student is, and ``model`` and ``train_cfg`` as far as
        they depend on that.
    """
    epochs = cfg.train_cfg.max_epochs
    model, train_cfg = {}, dict(type='StageByStageTrainLoop')
    head = getattr(student, 'head', None)
    if isinstance(head, MarginHead):
        # configs/_base_/sskd_face.py as it was before ORL was measured.
        last = max(1, round(epochs / 20))
        model['stages'] = ['auto', 'backbone.features']
        model['mimic_loss'] = dict(type='L2MimicLoss', normalize=True)
        train_cfg.update(
            schedule='joint',
            mimic=phase(max(1, epochs - last)),
            head=phase(last, scaled(cfg, lr=0.1)))
        return 'faces', model, train_cfg
    if hasattr(head, 'num_classes') and not hasattr(student, 'bbox_head'):
        # configs/_base_/sskd_imagenet.py, but both mimic phases alike.
        mimic = max(1, (epochs - max(1, round(epochs / 10))) // 2)
        pooled = all(hasattr(m, 'neck') and m.neck for m in (student, teacher))
        model['stages'] = pair_stages(student, teacher, pooled)
        # The mean over all elements of a feature is a small loss. Of SGD this
        # makes up for it, and keeps the decay of the weights as it was.
        sgd = cfg.optim_wrapper.get('optimizer', {}).get('type') == 'SGD'
        train_cfg.update(
            schedule=['joint', 'last'],
            mimic=phase(
                mimic, scaled(cfg, lr=10, weight_decay=0.1) if sgd else {}),
            head=phase(max(1, epochs - 2 * mimic)))
        if pooled:
            train_cfg['head']['cached_passes'] = 1
        return 'classifiers', model, train_cfg
    # configs/_base_/sskd_detection.py
    mimic, last = (max(1, round(epochs * part / 12)) for part in (5, 1))
    if all(getattr(m, 'neck', None) for m in (student, teacher)):
        model['stages'] = ['neck']
    else:
        model['stages'] = pair_stages(student, teacher, False)
        train_cfg['schedule'] = 'last'
    model['mimic_loss'] = dict(type='L2MimicLoss', normalize=True)
    train_cfg.update(
        mimic=phase(mimic),
        head=phase(last, scaled(cfg, lr=0.35)),
        finetune=phase(max(1, epochs - mimic - last), scaled(cfg, lr=0.7)))
    return 'detectors', model, train_cfg


def phase(epochs: int, optimizer: dict = {}) -> dict:
    """The settings of a phase."""
    settings = dict(max_epochs=epochs)
    if optimizer:
        settings['optim_wrapper'] = dict(optimizer=optimizer)
    return dict(settings, param_scheduler=[Name('warmup'), Name('cosine')])


def scaled(cfg: Config, **factors: float) -> Dict[str, float]:
    """Settings of the student's optimizer times these factors, as far as it
    has them."""
    optimizer = cfg.optim_wrapper.get('optimizer', {})
    return {
        key: float(f'{optimizer[key] * factor:.3g}')
        for key, factor in factors.items() if optimizer.get(key)
    }


def pair_stages(student: nn.Module, teacher: nn.Module, pooled: bool) -> list:
    """The stages of both and maybe what a classifier has pooled; where one
    has more stages than the other, the last of each."""
    own, theirs = find_stages(student), find_stages(teacher)
    stages = ['auto'] if len(own) == len(theirs) else [
        dict(student=own[-1], teacher=theirs[-1])
    ]
    return [*stages, 'neck'] if pooled else stages


def inheritable(student: nn.Module, teacher: nn.Module) -> List[str]:
    """The parts behind the backbone that are of one kind in both, and whose
    weights fit for the most part."""
    names = []
    for name, module in student.named_children():
        other = getattr(teacher, name, None)
        if name == 'backbone' or type(other) is not type(module):
            continue
        shapes = {key: x.shape for key, x in other.state_dict().items()}
        sizes = {True: 0, False: 0}
        for key, x in module.state_dict().items():
            sizes[shapes.get(key) == x.shape] += x.numel()
        if sizes[True] > sizes[False]:
            names.append(name)
    return names


def frozen_by_config(student: nn.Module) -> dict:
    """The settings by which mmdet's and mmpretrain's backbones freeze
    nothing, where this one freezes."""
    backbone = getattr(student, 'backbone', None)
    settings = {}
    if getattr(backbone, 'frozen_stages', -1) >= 0:
        settings['frozen_stages'] = -1
    if getattr(backbone, 'norm_eval', False):
        settings['norm_eval'] = False
    return settings


def imports(cfg: Config) -> List[str]:
    """The student's own ``custom_imports`` behind sskd_mm, which stands in
    for operators that they may need."""
    own = (cfg.get('custom_imports') or {}).get('imports') or []
    own = [own] if isinstance(own, str) else own
    return ['sskd_mm', *(name for name in own if name != 'sskd_mm')]


def inherited(path: str, out: str) -> str:
    """The student's config as ``_base_`` of the written one."""
    if '::' in path or osp.isabs(path):
        return path
    path = osp.relpath(path, osp.dirname(osp.abspath(out)))
    return path if path.startswith('.') else f'./{path}'


def reachable(path: str, out: str) -> str:
    """A file of the teacher, to be found from wherever training starts."""
    if '::' in path or '://' in path or osp.isabs(path):
        return path
    return '{{fileDirname}}/' + osp.relpath(path,
                                            osp.dirname(osp.abspath(out)))


def _code(value: Any) -> str:
    """Source of a value, dicts written as in configs."""
    if isinstance(value, dict):
        return f'dict({_arguments(value)})'
    if isinstance(value, list):
        return f'[{", ".join(map(_code, value))}]'
    return repr(value)


def _arguments(value: dict) -> str:
    return ', '.join(f'{key}={_code(v)}' for key, v in value.items())


if __name__ == '__main__':
    main()
