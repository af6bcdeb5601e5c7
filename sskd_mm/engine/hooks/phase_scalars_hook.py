# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Optional

from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from ...stages import Phase


@HOOKS.register_module()
class PhaseScalarsHook(Hook):
    """Tags what is logged with the phase that it belongs to.

    Beside ``loss``, which all phases share, the log, ``scalars.json``,
    TensorBoard and every other visualizer backend get the scalar
    ``<phase>/loss``, e.g. ``mimic/layer1/loss``, so that phases have curves of
    their own. What a phase logged is forgotten when the next one begins, or
    the log would go on to smooth and show it.
    :class:`StageByStageTrainLoop` registers this hook by itself.
    """

    # After RuntimeInfoHook (VERY_HIGH), which notes the losses, and before
    # LoggerHook (BELOW_NORMAL), which passes them on.
    priority = 'ABOVE_NORMAL'

    def before_phase(self, runner, phase: Phase) -> None:
        """Forget the last phase's losses and distances."""
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
        """Note the loss again, under the phase's name."""
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
