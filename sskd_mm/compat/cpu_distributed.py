# Copyright (c) sskd_mm authors. All rights reserved.
import torch
import torch.distributed as dist
from mmengine.config import ConfigDict


def setup_cpu_distributed(cfg: ConfigDict) -> None:
    """Enable distributed training on a machine without a GPU.

    MMEngine selects a GPU for each process whatever the backend, and passes
    its index to DDP. Without a GPU, this function starts a gloo process group
    before the Runner does, and makes DDP use the CPU.

    Args:
        cfg (Config): The run's config, changed in place. Nothing happens with
            ``launcher='none'`` or if there is a GPU.
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
