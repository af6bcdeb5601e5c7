# Copyright (c) sskd_mm authors. All rights reserved.
import re
from typing import Any, Dict, Iterable, List, Optional, Sequence, Tuple

import torch
from mmengine.logging import MMLogger
from torch import Tensor, nn

from .find_weights import find_weights
from .load_into import Loaded

_MISFIT = re.compile(r'size mismatch for (.+?): .*?Size\(\[(.*?)\]\)'
                     r'.*?Size\(\[(.*?)\]\)')

Shape = Tuple[int, ...]


class LoadReport:
    """Watches a module being loaded, and raises if the file does not fit.

    MMEngine only warns of what it could not load, and trains on. Here it is
    an error if

    - a weight has another shape,
    - a layer is only partly filled, e.g. its weight but not its bias,
    - one side has more layers of a kind than the other, as ResNets of
      different depth do: a weight exists on one side only, and both have one
      of the same shape whose name differs in a number only
      (``layer1.2.conv1.weight`` and ``layer1.1.conv1.weight``), or
    - nothing fits at all.

    Everything else is only logged: a layer that the file lacks stays as
    initialised, and a part that the module lacks is skipped, such as the
    classifier of an ImageNet backbone. Integer tensors (counters, index
    tables) are ignored. Keys are compared after the module has renamed them.

    Args:
        module (nn.Module): The module to watch, loaded by itself or as the
            student of a distiller.
        name (str): Its name in messages.
        source (str): The file's name in messages.
        other_classes (bool): Whether the file may have other classes. A layer
            of a head that differs in its outputs only then stays as
            initialised, with a warning. Defaults to False.

    Raises:
        ValueError: While loading, in the cases above.

    Example:
        >>> report = LoadReport(model.backbone, 'the backbone', 'resnet18.pth')
        >>> load_checkpoint(model.backbone, 'resnet18.pth')
        >>> report.close()
    """

    def __init__(self,
                 module: nn.Module,
                 name: str,
                 source: str,
                 other_classes: bool = False) -> None:
        self.module = module
        self.name = name
        self.source = source
        self.other_classes = other_classes
        self._done = False
        self._file: Dict[str, Any] = {}
        self._found: Optional[Loaded] = None
        self._handles = [
            module.register_load_state_dict_pre_hook(self._begin),
            module.register_load_state_dict_post_hook(self._end)
        ]

    def close(self) -> None:
        """Stop watching.

        Raises:
            ValueError: Nothing was loaded.
        """
        for handle in self._handles:
            handle.remove()
        if not self._done:
            raise ValueError(
                f'{self.name}: {self.source!r} was never loaded. Its class '
                f'({type(self.module).__name__}) or its parent does not call '
                'init_weights; set init_cfg at a module that does, or load '
                'the whole file with load_from.')

    def _begin(self, module, state_dict, prefix, local_metadata, strict,
               missing_keys, unexpected_keys, error_msgs) -> None:
        # With a prefix, it is loaded as part of a larger module.
        if prefix:
            return
        self._file = dict(state_dict)
        # torch fills these lists while it loads the submodules.
        self._found = Loaded(missing_keys, unexpected_keys, error_msgs)

    def _end(self, module, incompatible_keys) -> None:
        if self._found is None:
            return
        file, self._file = self._file, {}
        found, self._found = self._found, None
        self._done = True
        self._report(file, found)

    def _report(self, file: Dict[str, Any], found: Loaded) -> None:
        own = float_shapes(self.module)
        shapes = {k: getattr(v, 'shape', None) for k, v in file.items()}
        misfit, failed = split_errors(found.errors)
        missing = [k for k in found.missing if k in own]
        loaded = list(own.keys() - {*missing, *misfit})
        layers = {_layer(k) for k in loaded}
        classes = {
            k: misfit.pop(k)
            for k in list(misfit)
            if self.other_classes and _layer(k) not in layers
            and _is_of_classes(self.module, k, misfit[k])
        }
        rows = {_row(k, own) for k in loaded}
        errors = ''.join([
            listed('Another shape',
                   [f'{k} {a}, not {b}' for k, (a, b) in misfit.items()]),
            listed('Not copied', failed),
            listed('Missing, though the rest of the layer is there',
                   [k for k in missing if _layer(k) in layers]),
            listed('Missing, though the file has other layers of the kind',
                   [k for k in missing if _row(k, own) in rows]),
            listed('Unused, though other layers of the kind are used',
                   [k for k in found.unexpected if _row(k, shapes) in rows])
        ])
        if not loaded:
            errors += (f'\nThe file has: {", ".join(_outermost(shapes, []))}. '
                       f'Wanted: {", ".join(_outermost(own, []))}.')
        if errors:
            raise ValueError(
                f'{self.source!r} does not fit {self.name}: '
                f'{len(loaded)} of {len(own)} weights match.'
                f'{errors}\n{self._remedy(file, own, bool(loaded))}')
        logger = MMLogger.get_current_instance()
        logger.info(
            f'{self.name}: {len(loaded)} of {len(own)} weights loaded from '
            f'{self.source}. Not in the file and left as initialised: '
            f'{", ".join(_outermost(missing, loaded)) or "none"}. '
            'Unused entries of the file: '
            f'{", ".join(_outermost(found.unexpected, loaded)) or "none"}.')
        if classes:
            logger.warning(
                f'{self.name}: {self.source} has other classes, so these '
                'stay as initialised:' + ''.join(
                    f'\n  {k} {b}, in the file {a}'
                    for k, (a, b) in classes.items()))

    def _remedy(self, file: Dict[str, Any], own: Dict[str, Shape],
                some_fit: bool) -> str:
        places = [] if some_fit else find_weights(file, own)
        if places and not places[0].key:
            return (f'Its weights are under {places[0]}. Set init_cfg='
                    f"dict(type='Pretrained', checkpoint={self.source!r}, "
                    f'prefix={places[0].prefix!r}) at {self.name} instead.')
        if places:
            return (f'Its weights are under {places[0]}. Save them to a '
                    'separate file: dict(state_dict=...) with plain names.')
        return ('Give a file of the same architecture (depth, widths, '
                'num_classes). To load only a part of a file, set '
                "init_cfg=dict(type='Pretrained', checkpoint=..., "
                "prefix='backbone.') at that module, with the prefix of its "
                'keys in the file.')


def float_shapes(module: nn.Module) -> Dict[str, Shape]:
    """Shapes of a module's floating-point parameters and saved buffers, by
    their names in the module, whatever its ``state_dict`` hooks rename."""
    tensors: Dict[str, Tensor] = {}
    for path, part in module.named_modules(remove_duplicate=False):
        dot = f'{path}.' if path else ''
        tensors.update({dot + k: v for k, v in part._parameters.items()})
        tensors.update({
            dot + k: v
            for k, v in part._buffers.items()
            if k not in part._non_persistent_buffers_set
        })
    return {
        k: tuple(v.shape)
        for k, v in tensors.items() if v is not None and v.is_floating_point()
    }


def split_errors(
        errors: Sequence[str]
) -> Tuple[Dict[str, Tuple[Shape, Shape]], List[str]]:
    """Parse torch's messages on tensors that could not be copied.

    Returns:
        tuple: For each weight of another shape, its shapes in the file and in
        the module; and all other messages.
    """
    misfit, others = {}, []
    for error in errors:
        found = _MISFIT.search(error)
        if found is None:
            others.append(error)
            continue
        key, *sizes = found.groups()
        in_file, in_module = (
            tuple(int(size) for size in text.split(',') if size.strip())
            for text in sizes)
        misfit[key] = in_file, in_module
    return misfit, others


def listed(title: str, names: Sequence[str]) -> str:
    """A line with a title and the first of these names, if there are any."""
    if not names:
        return ''
    more = f', and {len(names) - 5} more' if len(names) > 5 else ''
    return f'\n{title} ({len(names)}): {", ".join(names[:5])}{more}.'


def _is_of_classes(module: nn.Module, key: str,
                   shapes: Tuple[Shape, Shape]) -> bool:
    """Whether a weight's shape depends on the number of classes: its module
    knows that number, and only its outputs differ. A network of another width
    has layers whose inputs differ, too."""
    in_file, own = shapes
    if not own or len(in_file) != len(own) or in_file[1:] != own[1:]:
        return False
    parts = key.split('.')[:-1]
    for end in range(len(parts) + 1):
        owner = module.get_submodule('.'.join(parts[:end]))
        for name in ('num_classes', 'num_labels'):
            number = getattr(owner, name, None)
            if isinstance(number, int) and number > 0:
                return True
    return False


def _layer(key: str) -> str:
    return key.rpartition('.')[0]


def _row(key: str, shapes: Dict[str, torch.Size]) -> tuple:
    """What equivalent weights of repeated layers have in common."""
    parts = ['*' if part.isdigit() else part for part in key.split('.')]
    return (*parts, shapes.get(key))


def _outermost(keys: Iterable[str], loaded: Iterable[str]) -> List[str]:
    """The outermost modules with these keys into which nothing was loaded."""
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
