# Copyright (c) sskd_mm authors. All rights reserved.
from mmengine.registry import DefaultScope

from sskd_mm.engine.learning_rates import learning_rates
from sskd_mm.stages import plan_phases

#: Training images of the sets that configs are named after.
IMAGES = dict(
    coco=117266,
    small=49,
    bccd=205,
    digits=1000,
    cifar10=50000,
    cifar100=50000,
    in1k=1281167,
    ms1mv3=5179510,
    casia=490623,
    orl=200)


def check_schedule(name, cfg):
    """Each phase of a shipped config reaches its learning rate, be it with
    some of the factors that recipes have, and ends near 0.

    Args:
        name (str): The config file's, without its ending.
        cfg (Config): As it ships.
    """
    images = [IMAGES[key] for key in name.split('_') if key in IMAGES][-1]
    iters = -(-images // cfg.train_dataloader.batch_size)
    stages = ['layer1', 'layer2', 'layer3', 'layer4', 'neck']
    settings = {
        key: value
        for key, value in cfg.train_cfg.items()
        if key in ('mimic', 'head', 'finetune', 'phases', 'schedule')
    }
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        phases = plan_phases(
            dict(
                dataloader=cfg.train_dataloader,
                optim_wrapper=cfg.optim_wrapper,
                param_scheduler=cfg.get('param_scheduler')),
            stages[-1:] if cfg.model.stages == ['neck'] else stages, [],
            iters_of_pass=lambda phase: iters,
            **settings)
        for phase in phases:
            rates = learning_rates(phase)
            rate = phase.optim_wrapper.optimizer.lr
            assert rates[0] <= max(rates) <= 1.001 * rate, phase.name
            # What BCCD's head gets: its 52 iterations are hardly more than
            # the warm-up.
            assert max(rates) > 0.25 * rate, phase.name
            assert max(rates) / 3 < rates[len(rates) // 2], phase.name
            # A few images of COCO make a phase of seven iterations.
            assert rates[-1] < 0.1 * max(rates), phase.name
