# Copyright (c) sskd_mm authors. All rights reserved.
from collections import OrderedDict

from mmengine.model import BaseModel

from .load_into import load_into


class StudentKeys(BaseModel):
    """A model whose ``state_dict`` is exactly its student's.

    It saves ``self.student.state_dict()`` and loads by
    ``self.student.load_state_dict``, under any prefix; other modules are left
    out. The student's own state-dict hooks then work as in the plain model.
    In a submodule they would not: torch ignores what a submodule's
    ``state_dict`` hook returns (``TimmClassifier`` strips its prefix there),
    and some hooks rely on the plain model's names (mmdet's detectors,
    mmpretrain's Swin).

    Attributes:
        student (nn.Module): Set by the subclass.

    Example:
        >>> plain_model.load_state_dict(distiller.state_dict())
        <All keys matched successfully>
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self._register_state_dict_hook(_show_modules)
        self.register_load_state_dict_post_hook(_show_modules)

    def _save_to_state_dict(self, destination, prefix, keep_vars) -> None:
        student = self.student.state_dict(keep_vars=keep_vars)
        for entries, own in ((destination, student),
                             (getattr(destination, '_metadata', {}),
                              getattr(student, '_metadata', {}))):
            # Metadata keys are module names, without the trailing dot.
            entries.update(
                {(prefix + key).rstrip('.'): x for key, x in own.items()})
        self._hide_modules()

    def _load_from_state_dict(self, state_dict, prefix, local_metadata, strict,
                              missing_keys, unexpected_keys,
                              error_msgs) -> None:
        own = OrderedDict((key[len(prefix):], x)
                          for key, x in state_dict.items()
                          if key.startswith(prefix))
        own._metadata = {
            key[len(prefix):]: x
            for key, x in getattr(state_dict, '_metadata', {}).items()
            if f'{key}.'.startswith(prefix)
        }
        missing, unexpected, errors = load_into(
            self.student,
            own,
            assign=local_metadata.get('assign_to_params_buffers', False))
        missing_keys += [prefix + key for key in missing]
        unexpected_keys += [prefix + key for key in unexpected]
        error_msgs += errors
        self._hide_modules()

    def _hide_modules(self) -> None:
        # torch would now recurse into the modules, but all is done.
        self._hidden = self._modules
        self._modules = {}


def _show_modules(model: StudentKeys, *args) -> None:
    model._modules = model.__dict__.pop('_hidden')
