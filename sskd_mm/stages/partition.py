# Copyright (c) sskd_mm authors. All rights reserved.
import hashlib
from itertools import chain
from typing import Callable, Dict, Iterable, List, Optional, Sequence, Set

import torch
import torch.nn as nn
from torch import Tensor

from .frozen import thawing_advice
from .prefix import Features, run_prefix
from .stage import Stage
from .without_checkpointing import without_checkpointing

#: Name of the stage after the last tap.
HEAD = 'head'


class StagePartition:
    """Assigns the student's parameters and modules to stages.

    A parameter belongs to the first stage whose tap depends on it, found by a
    forward pass and a walk through its graph. A module goes with its own
    parameters; one without any (dropout, pooling) with the stage in which it
    first ran. Parameters that no tap depends on belong to the :data:`HEAD`,
    unless all others in their module belong to one stage. So does everything
    in the student's ``head`` or ``..._head``, even if a tap lies in it, such
    as that of a classifier's logits: earlier stages train through it.

    Args:
        student (nn.Module): The student, on its device. What its config
            freezes (``requires_grad=False``) stays frozen in every phase.
        stages (Sequence[Stage]): Its stages, in the order of execution.
        inputs (Tensor): A preprocessed batch of shape (N, C, H, W).
        pre_activation (bool): As in :func:`run_prefix`. Defaults to False.
        compared (callable, optional): Returns the indices of a stage's
            features that are compared. Parameters that only others depend on,
            such as the last level of an FPN, belong to the head. Defaults to
            all.

    Raises:
        ValueError: A stage whose parameters are all frozen. One without any,
            such as a pooling, is fine: its tap trains the stages before it.
            Of those that ``'auto'`` finds :func:`parse_stages` leaves out
            the frozen ones.

    Attributes:
        params (dict[str, list[str]]): Parameter names of each stage and of
            the head.
        frozen (set[str]): Names of the parameters that the student's config
            freezes.
        features (dict[str, tuple[Tensor]]): The taps' outputs, by stage name.
        in_head (dict[str, list[str]]): For each stage the parameters of a
            head that its tap depends on.
    """

    def __init__(self,
                 student: nn.Module,
                 stages: Sequence[Stage],
                 inputs: Tensor,
                 pre_activation: bool = False,
                 compared: Optional[Callable[[Stage, Features],
                                             Sequence[int]]] = None) -> None:
        self.student = student
        self.frozen: Set[str] = {
            name
            for name, param in student.named_parameters()
            if not param.requires_grad
        }
        names = [stage.name for stage in stages]
        first_run = self._trace(stages, inputs, pre_activation, compared)

        self.params: Dict[str, List[str]] = {n: [] for n in [*names, HEAD]}
        self.in_head = {
            stage: sorted(filter(_is_in_head, reached))
            for stage, reached in self._reached.items()
        }
        owner = {
            name: stage
            for stage in reversed(names)
            for name in self._reached[stage] if not _is_in_head(name)
        }
        self._add_unread(owner)
        for name, _ in student.named_parameters():
            self.params[owner.get(name, HEAD)].append(name)
        self._modules: Dict[str, Set[str]] = {n: set() for n in self.params}
        for name, module in student.named_modules():
            own = _own_params(name, module)
            if own:
                found = [owner[key] for key in own if key in owner]
                stage = min(found, key=names.index) if found else HEAD
            elif _is_container(module):
                continue
            elif _is_in_head(name):
                stage = HEAD
            else:
                stage = first_run.get(name, HEAD)
            self._modules[stage].add(name)
        for name in names:
            if self.params[name] and not self.trainable([name]):
                raise ValueError(
                    f'Stage {name!r} has nothing to train: '
                    f'{len(self.params[name])} parameters, all of them frozen '
                    "by the student's own config. Leave the stage out of "
                    '`stages`, or write before `model`: '
                    f'{thawing_advice(student)}')

    def _trace(
        self, stages: Sequence[Stage], inputs: Tensor, pre_activation: bool,
        compared: Optional[Callable[[Stage, Features], Sequence[int]]]
    ) -> Dict[str, str]:
        """Run up to the last tap; record what each tap depends on, and return
        the stage in which each module first ran."""
        student = self.student
        first_run: Dict[str, str] = {}
        # A dict, since run_prefix may start over.
        fired: Dict[str, None] = {}
        handles = []

        def note_run(name):

            def hook(module, args):
                first_run.setdefault(name, stages[len(fired)].name)

            return hook

        def note_tap(stage):
            return lambda *_: fired.setdefault(stage)

        for name, module in student.named_modules():
            handles.append(module.register_forward_pre_hook(note_run(name)))
        for stage in stages[:-1]:
            handles.append(
                student.get_submodule(stage.student).register_forward_hook(
                    note_tap(stage.name)))
        requires_grad = {p: p.requires_grad for p in student.parameters()}
        modes = {module: module.training for module in student.modules()}
        try:
            student.eval()
            student.requires_grad_(True)
            with torch.enable_grad(), without_checkpointing(
                    student, [stage.student for stage in stages]):
                features = run_prefix(student,
                                      [stage.student for stage in stages],
                                      inputs, pre_activation)
        finally:
            for handle in handles:
                handle.remove()
            for param, value in requires_grad.items():
                param.requires_grad_(value)
            for module, training in modes.items():
                module.training = training
        expected = [stage.name for stage in stages[:-1]]
        taps = [stage.student for stage in stages]
        if list(fired) != expected or list(features) != taps:
            raise ValueError(
                f'stages: the taps {taps} run in the '
                f'order {list(features)}. Write them in that order.')
        names = {p: name for name, p in student.named_parameters()}
        self._reached = {}
        for stage in stages:
            levels = features[stage.student]
            if compared:
                levels = [levels[i] for i in compared(stage, levels)]
            self._reached[stage.name] = {
                names[p]
                for p in _leaves(levels) if p in names
            }
        self.features = {
            stage.name: tuple(x.detach() for x in features[stage.student])
            for stage in stages
        }
        return first_run

    def _add_unread(self, owner: Dict[str, str]) -> None:
        """Assign parameters that no tap depends on to the stage of all others
        in their module. A LeViT's attention biases, for example, are cached
        without a graph in eval mode."""
        # Innermost modules first.
        for name, module in reversed(list(self.student.named_modules())):
            unread = [k for k in _own_params(name, module) if k not in owner]
            stages = {
                owner.get(key, HEAD)
                for key, _ in module.named_parameters(prefix=name)
                if key not in unread
            } if unread else ()
            if len(stages) == 1 and HEAD not in stages:
                owner.update(dict.fromkeys(unread, *stages))

    def trainable(self, trains: Iterable[str]) -> Set[str]:
        """Names of the parameters that train with these stages."""
        return {name
                for stage in trains
                for name in self.params[stage]} - self.frozen

    def set_requires_grad(self, trains: Sequence[str]) -> None:
        """Unfreeze the parameters of these stages and freeze all others."""
        trainable = self.trainable(trains)
        for name, param in self.student.named_parameters():
            param.requires_grad_(name in trainable)
            if name not in trainable:
                param.grad = None

    def set_mode(self, trains: Sequence[str]) -> None:
        """Set what does not train to eval mode, including dropout and batch
        norm.

        Called after the student's own ``train()``, whose choices for modules
        that train, such as ``norm_eval``, are kept. A container is in
        training mode if anything in it is.
        """
        training = {name for stage in trains for name in self._modules[stage]}
        for name, module in reversed(list(self.student.named_modules())):
            if _is_container(module):
                module.training = any(child.training
                                      for child in module.children())
            elif name in training:
                continue
            elif any(m.training for m in module.modules() if m is not module):
                module.training = False
            else:
                # Its own method may refresh caches for evaluation (a LeViT's
                # attention biases).
                module.eval()

    def count(self, trains: Sequence[str]) -> int:
        """Number of the parameters that train with these stages."""
        trainable = self.trainable(trains)
        return sum(p.numel() for name, p in self.student.named_parameters()
                   if name in trainable)

    def fingerprint(self, trains: Sequence[str]) -> Dict[str, str]:
        """Digests of the frozen tensors, to assert that a phase leaves them
        bit-equal.

        Args:
            trains (Sequence[str]): The stages that train.

        Returns:
            dict[str, str]: By name, the digest of each frozen parameter and
            each buffer of a frozen module.
        """
        changing = self.changing(trains)
        tensors = chain(self.student.named_parameters(),
                        self.student.named_buffers())
        return {
            name: _digest(tensor)
            for name, tensor in tensors if name not in changing
        }

    def changing(self, trains: Sequence[str]) -> Set[str]:
        """Names of the tensors that a phase may change: trained parameters,
        and buffers of modules that train."""
        training = {name for stage in trains for name in self._modules[stage]}
        return self.trainable(trains) | {
            name
            for name, _ in self.student.named_buffers()
            if name.rpartition('.')[0] in training
        }


def _is_in_head(name: str) -> bool:
    module = name.partition('.')[0]
    return module == 'head' or module.endswith('_head')


def _own_params(name: str, module: nn.Module) -> List[str]:
    return [
        key for key, _ in module.named_parameters(prefix=name, recurse=False)
    ]


def _is_container(module: nn.Module) -> bool:
    """Whether a module only holds other modules."""
    return (any(True for _ in module.children())
            and not any(True for _ in module.parameters(recurse=False))
            and not any(True for _ in module.buffers(recurse=False)))


def _leaves(features: Sequence[Tensor]) -> Set[Tensor]:
    """The leaf tensors that these features depend on."""
    todo = [x.grad_fn for x in features if x.grad_fn is not None]
    seen, leaves = set(todo), set()
    while todo:
        node = todo.pop()
        if hasattr(node, 'variable'):
            leaves.add(node.variable)
        for following, _ in node.next_functions:
            if following is not None and following not in seen:
                seen.add(following)
                todo.append(following)
    return leaves


def _digest(tensor: Tensor) -> str:
    data = tensor.detach().cpu().contiguous().view(-1).view(torch.uint8)
    return hashlib.sha256(data.numpy()).hexdigest()
