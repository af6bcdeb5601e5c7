# Copyright (c) sskd_mm authors. All rights reserved.
import os.path as osp
import textwrap
from pathlib import Path

from mmengine.dist import master_only
from mmengine.hooks import CheckpointHook, Hook
from mmengine.registry import HOOKS

from ...models.student_config import sskd_mm_types, student_config

NAME = 'student.py'


@HOOKS.register_module()
class StudentConfigHook(Hook):
    """Writes the student's plain config, ``student.py``, beside the
    checkpoints.

    See :func:`student_config` for its content. Registered by
    :class:`StageByStageTrainLoop`.

    Example:
        >>> # In any process, without sskd_mm:
        >>> from mmdet.apis import init_detector
        >>> model = init_detector('work_dirs/my_distillation/student.py',
        >>>                       'work_dirs/my_distillation/epoch_12.pth')
    """

    # After CheckpointHook (VERY_LOW), which sets the output folder.
    priority = 'LOWEST'

    @master_only
    def before_train(self, runner) -> None:
        """Write it."""
        if 'student' not in runner.cfg.get('model', {}):
            runner.logger.warning(
                f'{NAME} is not written: the Runner was not built from a '
                'config (Runner.from_cfg).')
            return
        cfg = student_config(runner.cfg, _metainfo(runner))
        own = sskd_mm_types(cfg)
        needs = (f'It needs sskd_mm, for {", ".join(own)}.'
                 if own else 'It does not need sskd_mm.')
        name = osp.basename(runner.cfg.filename or 'this run')
        comment = (f'The student of {name}, for testing and deployment with '
                   f'the checkpoints in this folder. {needs}')
        text = textwrap.fill(
            comment, 79, initial_indent='# ', subsequent_indent='# ')
        text += f'\n{cfg.pretty_text}'
        for hook in runner.hooks:
            if isinstance(hook, CheckpointHook):
                path = hook.file_backend.join_path(hook.out_dir, NAME)
                hook.file_backend.put_text(text, path)
                return
        Path(runner.work_dir, NAME).write_text(text, encoding='utf-8')


def _metainfo(runner) -> dict:
    """Of the training set, or of the validation set if the training set has no
    classes."""
    loops = [runner.train_loop]
    if runner.val_loop is not None:
        loops.append(runner.val_loop)
    for loop in loops:
        found = getattr(loop.dataloader.dataset, 'metainfo', None) or {}
        if found.get('classes'):
            return found
    return {}
