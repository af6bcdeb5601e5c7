# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Optional

from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from ...stages import Phase


@HOOKS.register_module()
class PhaseScalarsHook(Hook):
    """Logs each phase's loss under a name of its own.

    Beside ``loss``, the log, ``scalars.json``, TensorBoard and every other
    visualizer backend get ``<phase>/loss``, e.g. ``mimic/layer1/loss``, so
    that each phase has its own curve. When a phase begins, the scalars of the
    last one are dropped, or the log would keep smoothing and showing them.
    Registered by :class:`StageByStageTrainLoop`.
    """

    # Between RuntimeInfoHook (VERY_HIGH), which records the losses, and
    # LoggerHook (BELOW_NORMAL), which writes them.
    priority = 'ABOVE_NORMAL'

    def before_phase(self, runner, phase: Phase) -> None:
        """Drop the last phase's losses and distances."""
        self._key = f'train/{phase.name}/loss'
        names = tuple(f'train/{p.name}/loss' for p in runner.train_loop.phases)
        scalars = runner.message_hub.log_scalars
        for name in list(scalars):
            if name.startswith(('train/loss', 'train/distance', *names)):
                del scalars[name]

    def after_train_iter(self,
                         runner,
                         batch_idx: int,
                         data_batch=None,
                         outputs: Optional[dict] = None) -> None:
        """Record the loss again, under the phase's name."""
        hub = runner.message_hub
        hub.update_scalar(self._key, hub.get_scalar('train/loss').current())

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Leave out the names of what was forgotten, of each of which a
        resumed run would warn."""
        hub = checkpoint['message_hub']
        hub['resumed_keys'] = {
            key: value
            for key, value in hub['resumed_keys'].items()
            if key in hub['log_scalars'] or key in hub['runtime_info']
        }
