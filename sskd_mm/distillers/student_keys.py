# Copyright (c) sskd_mm authors. All rights reserved.
from collections import OrderedDict

from mmengine.model import BaseModel

from .load_into import load_into


class StudentKeys(BaseModel):
    """A model whose ``state_dict`` is its student's, both ways.

    It saves what ``self.student.state_dict()`` returns and loads as
    ``self.student.load_state_dict`` does, with any prefix; its other modules
    are no part of a checkpoint. So the student's own hooks do what they do in
    the plain model. As a mere part of this one they would not: torch ignores
    what the ``state_dict`` hook of a part returns (``TimmClassifier`` drops
    its prefix that way), and hooks may take the names of the plain model for
    granted (mmdet's detectors, which load a head as an RPN and the other way
    round, or mmpretrain's Swin with a checkpoint of its version 1).

    Attributes:
        student (nn.Module): Whoever inherits from this sets it.

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
            # The metadata of a module itself has its name without the dot.
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
        # Whoever saves or loads goes on with the modules, but all is done.
        self._hidden = self._modules
        self._modules = {}


def _show_modules(model: StudentKeys, *args) -> None:
    model._modules = model.__dict__.pop('_hidden')
