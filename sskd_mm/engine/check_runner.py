# Copyright (c) sskd_mm authors. All rights reserved.
import logging

from mmengine.logging import print_log
from mmengine.model import MMDistributedDataParallel
from mmengine.registry import MODEL_WRAPPERS
from mmengine.runner import FlexibleRunner, Runner

_INSTEAD = ('Every process holds student and teacher whole: use Runner with '
            'MMDistributedDataParallel, its default for several processes. '
            "Memory is saved by optim_wrapper=dict(type='AmpOptimWrapper'), "
            'and by a smaller batch_size with accumulative_counts.')
#: Keys of mmcv 1.x that MMEngine passes over, and what stands for them.
_OLD_KEYS = dict(
    fp16="optim_wrapper=dict(type='AmpOptimWrapper')",
    optimizer_config='optim_wrapper=dict(clip_grad=dict(max_norm=...))',
    lr_config='param_scheduler=[...]',
    checkpoint_config='default_hooks=dict(checkpoint=dict(...))',
    log_config='default_hooks=dict(logger=dict(...))',
    evaluation='val_evaluator and train_cfg.val_interval',
    resume_from='load_from and resume=True')


def check_runner(runner: Runner) -> None:
    """See that nothing in a config asks for what phases cannot go with.

    Args:
        runner (Runner): The runner that is about to train.

    Raises:
        TypeError: It is a ``FlexibleRunner``.
        ValueError: The model wrapper is no ``MMDistributedDataParallel``, or
            MMEngine is to compile the training step.
    """
    cfg = runner.cfg
    for key in _OLD_KEYS.keys() & cfg.keys():
        print_log(
            f'{key}={cfg[key]} has no effect, as in any training with '
            f'MMEngine: it is a key of mmcv 1.x. Write {_OLD_KEYS[key]}.',
            logger='current',
            level=logging.WARNING)
    if isinstance(runner, FlexibleRunner):
        raise TypeError(
            'StageByStageTrainLoop does not run in a FlexibleRunner. There a '
            'strategy (DeepSpeed, FSDP, ColossalAI) owns model and optimizer '
            'and prepares them once, while each phase freezes other parts '
            'and builds optimizer and wrapper anew. Leave runner_type and '
            f'strategy out. {_INSTEAD}')
    wrapper = (cfg.get('model_wrapper_cfg') or {}).get(
        'type', MMDistributedDataParallel)
    if isinstance(wrapper, str):
        wrapper = MODEL_WRAPPERS.get(wrapper) or wrapper
    if not (isinstance(wrapper, type)
            and issubclass(wrapper, MMDistributedDataParallel)):
        raise ValueError(
            'model_wrapper_cfg: StageByStageTrainLoop does not run in a '
            f'{getattr(wrapper, "__name__", wrapper)}. Parameters that are '
            'flattened, sharded or wrapped part by part cannot be frozen '
            'stage by stage, and taps are modules within the wrapped parts. '
            f'{_INSTEAD}')
    if cfg.get('compile'):
        raise ValueError(
            'compile: MMEngine compiles the whole training step. In mimic '
            'phases that is cut short by a hook, so that little of it is '
            'compiled, but again and again. To compile the stages '
            "themselves, write model=dict(type='StageByStageDistiller', "
            'compile=True, ...).')
