# Copyright (c) sskd_mm authors. All rights reserved.
import torch
import torch.distributed as dist
from mmengine.config import ConfigDict


def setup_cpu_distributed(cfg: ConfigDict) -> None:
    """Let several processes train on a machine without a GPU.

    MMEngine selects a GPU for each process whatever the backend, and hands
    DDP the number of one. Where there is no GPU this starts the process group
    with gloo before the Runner would, and tells DDP to take the CPU.

    Args:
        cfg (Config): The run's config, which is changed in place. Nothing is
            done for ``launcher='none'`` or where there is a GPU.
    """
    if cfg.launcher != 'pytorch' or torch.cuda.is_available():
        return
    if not dist.is_initialized():
        dist.init_process_group('gloo')
    wrapper = dict(
        type='MMDistributedDataParallel',
        device_ids=None,
        broadcast_buffers=False,
        find_unused_parameters=cfg.get('find_unused_parameters', False))
    cfg.model_wrapper_cfg = {**wrapper, **cfg.get('model_wrapper_cfg', {})}
