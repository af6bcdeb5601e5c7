# Copyright (c) sskd_mm authors. All rights reserved.
from contextlib import ExitStack
from typing import Any, Callable, Collection, Dict, List, Tuple

from mmengine.logging import MMLogger
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

#: How far outputs may move, of their norm. Rounding alone moves those of
#: float32 by about 1e-6.
TOLERANCE = 1e-4


def fold_batch_norms(model: nn.Module, run: Callable[[], Any],
                     taps: Collection[str] = ()) -> int:
    """Fold the batch norms of a frozen network into the convolutions before
    them, which is one pass over the features less for each.

    What belongs together is seen in a forward pass: the norm's input is the
    convolution's very output, which nothing else is computed from. The order
    in which modules are registered, which ``mmcv.cnn.fuse_conv_bn`` goes by,
    says nothing of the kind. Should the outputs change by more than rounding
    all the same, everything stays as it was.

    Args:
        model (nn.Module): In eval mode, without gradients.
        run (Callable): Runs it as far as it is of interest, and returns
            tensors in lists, tuples and dicts.
        taps (Collection[str]): Modules whose outputs must stay.

    Returns:
        int: The norms that are folded.
    """
    names = {module: name for name, module in model.named_modules()}
    pairs, before = _find_pairs(model, run)
    pairs = [(conv, norm) for conv, norm in pairs if names[conv] not in taps]
    kept = [(module, _slot(model, names[module])) for pair in pairs
            for module in pair]
    for conv, norm in pairs:
        _replace(_slot(model, names[conv]), fuse_conv_bn_eval(conv, norm))
        _replace(_slot(model, names[norm]), nn.Identity())
    model.requires_grad_(False).eval()
    if pairs and not _alike(before, run()):
        for module, slot in kept:
            _replace(slot, module)
        MMLogger.get_current_instance().info(
            f'The batch norms of {type(model).__name__} stay as they are: '
            'folded into convolutions they would change its features.')
        return 0
    return len(pairs)


def _find_pairs(model: nn.Module, run: Callable[[], Any]
                ) -> Tuple[List[Tuple[nn.Module, nn.Module]], Any]:
    """Convolutions and norms that each run once, one on the other's output;
    and what the run gives."""
    outputs: Dict[int, Tuple[Tensor, nn.Module]] = {}
    runs: Dict[nn.Module, int] = {}
    uses: Dict[int, int] = {}
    follows: Dict[nn.Module, nn.Module] = {}

    def hook(module, args, output):
        runs[module] = runs.get(module, 0) + 1
        if isinstance(module, _BatchNorm):
            tensor, conv = outputs.get(id(args[0]), (None, None))
            if tensor is args[0]:
                follows[module] = conv
        else:
            # Held, so that no later tensor gets its place in memory.
            outputs[id(output)] = output, module

    class Uses(TorchFunctionMode):
        """Counts what is computed from each convolution's output."""

        def __torch_function__(self, func, types, args=(), kwargs=None):
            kwargs = kwargs or {}
            result = func(*args, **kwargs)
            if any(isinstance(x, Tensor) for x in tree_leaves(result)):
                for x in tree_leaves((args, kwargs)):
                    if id(x) in outputs:
                        uses[id(x)] = uses.get(id(x), 0) + 1
            return result

    with ExitStack() as stack:
        for module in model.modules():
            if type(module) in (nn.Conv1d, nn.Conv2d, nn.Conv3d) or (
                    isinstance(module, _BatchNorm)
                    and module.running_mean is not None):
                stack.callback(module.register_forward_hook(hook).remove)
        stack.enter_context(Uses())
        result = run()
    alone = {
        module
        for number, (_, module) in outputs.items() if uses.get(number) == 1
    }
    return [(conv, norm) for norm, conv in follows.items()
            if runs[conv] == runs[norm] == 1 and conv in alone], result


def _slot(model: nn.Module, name: str) -> Tuple[nn.Module, str]:
    """The parent of a module and its name there."""
    parent, _, name = name.rpartition('.')
    return model.get_submodule(parent), name


def _replace(slot: Tuple[nn.Module, str], module: nn.Module) -> None:
    parent, name = slot
    parent._modules[name] = module


def _alike(before: Any, after: Any) -> bool:
    for x, y in zip(tree_leaves(before), tree_leaves(after)):
        if isinstance(x, Tensor) and (x.float() - y.float()).norm(
        ) > TOLERANCE * x.float().norm():
            return False
    return True
