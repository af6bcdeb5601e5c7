# Copyright (c) sskd_mm authors. All rights reserved.
"""Write the config that distils a teacher into a student you have, and check
it with a dry run.

python tools/make_config.py STUDENT_CONFIG TEACHER_CONFIG TEACHER_CHECKPOINT \
    -o configs/my_distillation.py

It inherits from the student's own config, and has the recipe that ships for
detectors, classifiers or networks for faces, in as many epochs or iterations
as the student's config trains.
"""
import os
import os.path as osp
import shlex
import sys
from contextlib import contextmanager
from typing import Any, Dict, Iterator

from sskd_mm_cli import ToolParser, add_pickle_option, run_tool

TRAIN = osp.join(osp.dirname(osp.abspath(__file__)), 'train.py')


def parse_args():
    parser = ToolParser(__doc__)
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
        '--import',
        dest='imports',
        nargs='+',
        default=[],
        metavar='MODULE',
        help="modules that register the project's networks and data sets, "
        'where its own train.py imports them and its configs do not')
    add_pickle_option(parser)
    return parser.parse_args()


def main():
    args = parse_args()
    from sskd_mm.analysis import print_plan
    from sskd_mm.compat import apply_pickle_option, load_checkpoint_file
    from sskd_mm.config_writer import read_student
    from sskd_mm.datasets import check_data_files
    if osp.exists(args.out):
        raise FileExistsError(f'{args.out} is there already. Remove it, or '
                              'give another name with -o.')
    import_modules(args)
    cfg = read_student(args.student)
    apply_pickle_option(args)
    checkpoint = load_checkpoint_file(args.checkpoint)
    check_data_files(cfg)
    os.makedirs(osp.dirname(osp.abspath(args.out)), exist_ok=True)
    settings = choose_settings(args, cfg, checkpoint)
    try:
        plan = write_and_try(args, cfg, settings)
    except Exception:
        print(
            f'{args.out} is written, but its dry run fails as follows. Mend '
            f'it there, then look again:\n  {command(args)} --dry-run',
            file=sys.stderr)
        raise
    print_plan(plan)
    print(f'Run it:\n  {command(args)}')


def import_modules(args) -> None:
    """Import what ``--import`` names."""
    from mmengine.config import Config
    from mmengine.utils import import_modules_from_strings
    if args.imports and '::' not in args.student and osp.isfile(
            args.student) and Config._is_lazy_import(args.student):
        raise ValueError(
            '--import is for configs that name their types as strings. '
            f'{args.student} is a new-style one: import what it needs in it.')
    try:
        import_modules_from_strings(args.imports or None)
    except ImportError as error:
        raise ImportError(
            f'--import {" ".join(args.imports)}: {error}\nRun the command in '
            "your project's folder, with PYTHONPATH=. before it.") from error


def choose_settings(args, cfg, checkpoint: Dict[str, Any]) -> Dict[str, Any]:
    """Collect what :func:`write_config` needs to know about both networks."""
    from mmengine.registry import DefaultScope
    from mmengine.runner import Runner

    from sskd_mm.config_writer import (TrainingLength, check_teacher_classes,
                                       choose_recipe, find_inheritable,
                                       find_thawing, read_teacher)
    from sskd_mm.models import build_model
    with naming_import():
        with DefaultScope.overwrite_default_scope(cfg.get('default_scope')):
            loader = Runner.build_dataloader(cfg.train_dataloader, seed=0)
        student = build_model(cfg)
        teacher = build_model(read_teacher(args.teacher))
    inherit = []
    if not args.other_classes:
        check_teacher_classes(student, teacher, loader.dataset, checkpoint)
        inherit = find_inheritable(student, teacher)
    recipe = choose_recipe(cfg, student, teacher, inherit, loader.dataset)
    if args.other_classes:
        recipe.train_cfg['evaluate_teacher'] = False
    # MMEngine's own for a training by iterations.
    by_epoch = TrainingLength.of(cfg.train_cfg).key == 'max_epochs'
    default = 1 if by_epoch else 1000
    interval = cfg.train_cfg.get('val_interval', default)
    if interval != default:
        recipe.train_cfg['val_interval'] = interval
    return dict(recipe=recipe, thawing=find_thawing(cfg, student))


def write_and_try(args, cfg, settings: Dict[str, Any]) -> Dict[str, Any]:
    """Write the config and dry-run it.

    If the engine refuses to cache features for the head phase, the config
    does without.
    """
    from mmengine.config import Config

    from sskd_mm.analysis import dry_run
    from sskd_mm.config_writer import write_config
    head = settings['recipe'].train_cfg['head']
    while True:
        text = write_config(
            args.out,
            args.student,
            args.teacher,
            args.checkpoint,
            cfg,
            **settings,
            imports=args.imports,
            pickled=args.allow_pickle)
        with open(args.out, 'w') as file:
            file.write(text)
        try:
            plan = dry_run(Config.fromfile(args.out))
        except ValueError as error:
            if 'cached_passes' not in head or 'cached_passes' not in str(
                    error):
                raise
            print(f'Without cached_passes in the head phase: {error}\n')
            del head['cached_passes']
            continue
        finally:
            print(f'Written: {args.out}\n\n{text}')
        return plan


@contextmanager
def naming_import() -> Iterator[None]:
    """Suggest ``--import`` for an unknown type."""
    try:
        yield
    except KeyError as error:
        if 'registry' not in str(error):
            raise
        raise ValueError(
            f'{error.args[0]}\nIf your project registers it in its own '
            'train.py, name the module that does: --import MODULE') from error


def command(args) -> str:
    """Get the command line that trains with the written config."""
    train = f'python {osp.relpath(TRAIN)}'
    if osp.basename(sys.argv[0]).startswith('sskd '):
        train = 'sskd train'
    return f'{train} {shlex.quote(args.out)}'


if __name__ == '__main__':
    run_tool(main)
