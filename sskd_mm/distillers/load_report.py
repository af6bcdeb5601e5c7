# Copyright (c) sskd_mm authors. All rights reserved.
import re
from typing import Dict, Iterable, List, Optional, Sequence, Tuple

import torch
from mmengine.logging import MMLogger
from torch import nn


class LoadReport:
    """Watches a file being loaded into a module, and fails if it does not fit.

    MMEngine only warns of what it could not load, and trains on. Here it is
    an error if

    - a weight has another shape,
    - a layer is filled in part, say its weight but not its bias,
    - the module and the file have a row of layers of different length, as
      ResNets of different depth do: a weight is in one of them only, and
      both have one of its shape that differs in a number alone
      (``layer1.2.conv1.weight`` beside ``layer1.1.conv1.weight``), or
    - nothing fits at all.

    Anything else is logged and no error: a layer that the file knows nothing
    of stays as initialised, and a part of the file that the module does not
    have is passed over, as the classifier of a backbone from ImageNet.
    Integers, which are counters and index tables, do not count.

    What counts is what arrives, so a module may rename or convert a file's
    keys before.

    Args:
        module (nn.Module): What is loaded into.
        name (str): What to call it.
        source (str): The file, for messages.
        prefix (str): With which its keys arrive, where the file is loaded
            into a larger module. Defaults to none.

    Raises:
        ValueError: While it is loaded, as said above.

    Example:
        >>> report = LoadReport(model.backbone, 'the backbone', 'resnet18.pth')
        >>> load_checkpoint(model.backbone, 'resnet18.pth')
        >>> report.close()
    """

    def __init__(self,
                 module: nn.Module,
                 name: str,
                 source: str,
                 prefix: str = '') -> None:
        self.module = module
        self.name = name
        self.source = source
        self.prefix = prefix
        self._done = False
        self._shapes: Dict[str, torch.Size] = {}
        self._lists: Optional[Tuple[List[str], List[str]]] = None
        self._handles = [
            module.register_load_state_dict_pre_hook(self._begin),
            module.register_load_state_dict_post_hook(self._end)
        ]

    def close(self) -> None:
        """Watch no longer.

        Raises:
            ValueError: Nothing was loaded while it watched.
        """
        for handle in self._handles:
            handle.remove()
        if not self._done:
            raise ValueError(
                f'{self.name}: {self.source!r} was never loaded. Its class '
                f'({type(self.module).__name__}) or the one around it does '
                'not pass init_weights on; set init_cfg at a module that '
                'does, or start from the whole file with load_from.')

    def _begin(self, module, state_dict, prefix, local_metadata, strict,
               missing_keys, unexpected_keys, error_msgs) -> None:
        # The module may be loaded as part of a larger one, too.
        if prefix != self.prefix:
            return
        self._shapes = {
            key[len(prefix):]: getattr(value, 'shape', None)
            for key, value in state_dict.items()
        }
        # Both lists are filled while its parts are loaded.
        self._lists = (missing_keys, unexpected_keys)

    def _end(self, module, incompatible_keys) -> None:
        if self._lists is None:
            return
        missing, unused = ([
            key[len(self.prefix):] for key in keys
            if key.startswith(self.prefix)
        ] for keys in self._lists)
        self._lists = None
        self._done = True
        self._report(missing, unused)

    def _report(self, missing: List[str], unused: List[str]) -> None:
        file = self._shapes
        own = {
            k: v.shape
            for k, v in self.module.state_dict().items()
            if v.is_floating_point()
        }
        misfit = [k for k in own if k in file and file[k] != own[k]]
        missing = [k for k in missing if k in own]
        loaded = list(own.keys() - {*missing, *misfit})
        layers = {_layer(k) for k in loaded}
        rows = {_row(k, own) for k in loaded}
        found = ''.join([
            listed('Another shape', [
                f'{k} {tuple(file[k])}, not {tuple(own[k])}' for k in misfit
            ]),
            listed('Missing, though the rest of the layer is there',
                   [k for k in missing if _layer(k) in layers]),
            listed('Missing, though the file has others of the row',
                   [k for k in missing if _row(k, own) in rows]),
            listed('Unused, though others of the row are used',
                   [k for k in unused if _row(k, file) in rows])
        ])
        if not loaded:
            found += (f'\nThe file has: {", ".join(_outermost(file, []))}. '
                      f'Wanted: {", ".join(_outermost(own, []))}.')
        if found:
            raise ValueError(
                f'{self.name} was not loaded as it should from '
                f'{self.source!r}: {len(loaded)} of {len(own)} weights fit.'
                f'{found}\nGive a file of the same architecture (depth, '
                'widths, num_classes). To take only parts of a file, set '
                "init_cfg=dict(type='Pretrained', checkpoint=..., "
                "prefix='backbone.') at these, the prefix being what their "
                'keys begin with in the file.')
        MMLogger.get_current_instance().info(
            f'{self.name}: {len(loaded)} of {len(own)} weights loaded from '
            f'{self.source}. Not in the file, so as initialised: '
            f'{", ".join(_outermost(missing, loaded)) or "none"}. In the '
            'file, but of no use: '
            f'{", ".join(_outermost(unused, loaded)) or "none"}.')


def listed(title: str, names: Sequence[str]) -> str:
    """A line with a title and the first of these names, if there are any."""
    if not names:
        return ''
    more = f', and {len(names) - 5} more' if len(names) > 5 else ''
    return f'\n{title} ({len(names)}): {", ".join(names[:5])}{more}.'


def _layer(key: str) -> str:
    return key.rpartition('.')[0]


def _row(key: str, shapes: Dict[str, torch.Size]) -> tuple:
    """What a weight has in common with those of its row's other blocks."""
    parts = ['*' if part.isdigit() else part for part in key.split('.')]
    return (*parts, shapes.get(key))


def _outermost(keys: Iterable[str], loaded: Iterable[str]) -> List[str]:
    """The largest modules with these keys, of which nothing was loaded."""
    filled = {
        key[:dot.start()]
        for key in loaded for dot in re.finditer(r'\.', key)
    }
    names: Dict[str, None] = {}
    for key in keys:
        name, *rest = key.split('.')
        while rest and name in filled:
            name = f'{name}.{rest.pop(0)}'
        names[name] = None
    return list(names)
