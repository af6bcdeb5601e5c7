# Copyright (c) sskd_mm authors. All rights reserved.
from mmengine.logging import MMLogger
from mmengine.model import MMDistributedDataParallel
from mmengine.registry import MODEL_WRAPPERS
from mmengine.runner import FlexibleRunner, Runner

_INSTEAD = ('Use Runner with MMDistributedDataParallel, its default for '
            'several processes, where each holds all of student and teacher. '
            'To save memory, use '
            "optim_wrapper=dict(type='AmpOptimWrapper'), or a smaller "
            'batch_size with accumulative_counts.')
#: Keys of mmcv 1.x, which MMEngine ignores, and their successors.
_OLD_KEYS = dict(
    fp16="optim_wrapper=dict(type='AmpOptimWrapper')",
    optimizer_config='optim_wrapper=dict(clip_grad=dict(max_norm=...))',
    lr_config='param_scheduler=[...]',
    checkpoint_config='default_hooks=dict(checkpoint=dict(...))',
    log_config='default_hooks=dict(logger=dict(...))',
    evaluation='val_evaluator and train_cfg.val_interval',
    resume_from='load_from and resume=True')


def check_runner(runner: Runner) -> None:
    """Refuse runner settings that phases do not work with.

    Raises:
        TypeError: It is a ``FlexibleRunner``.
        ValueError: The model wrapper is no ``MMDistributedDataParallel``, or
            MMEngine would compile the training step.
    """
    cfg = runner.cfg
    for key in _OLD_KEYS.keys() & cfg.keys():
        MMLogger.get_current_instance().warning(
            f'{key}={cfg[key]} has no effect: it is a key of mmcv 1.x, which '
            f'MMEngine ignores. Write {_OLD_KEYS[key]}.')
    if isinstance(runner, FlexibleRunner):
        raise TypeError(
            'StageByStageTrainLoop does not run in a FlexibleRunner, whose '
            'strategy (DeepSpeed, FSDP, ColossalAI) prepares model and '
            'optimizer once, while each phase freezes other parts and builds '
            'optimizer and wrapper anew. Remove runner_type and strategy. '
            f'{_INSTEAD}')
    wrapper = (cfg.get('model_wrapper_cfg') or {}).get(
        'type', MMDistributedDataParallel)
    if isinstance(wrapper, str):
        wrapper = MODEL_WRAPPERS.get(wrapper) or wrapper
    if not (isinstance(wrapper, type)
            and issubclass(wrapper, MMDistributedDataParallel)):
        raise ValueError(
            'model_wrapper_cfg: StageByStageTrainLoop does not run in a '
            f'{getattr(wrapper, "__name__", wrapper)}. Flattened or sharded '
            'parameters cannot be frozen stage by stage, and wrapped modules '
            f'cannot be tapped. {_INSTEAD}')
    if cfg.get('compile'):
        raise ValueError(
            'compile: MMEngine compiles the whole training step, which a '
            'hook ends early in mimic phases, so it would be recompiled '
            'again and again. To compile the stages instead, write '
            "model=dict(type='StageByStageDistiller', compile=True, ...).")
