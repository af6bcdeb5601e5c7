# Copyright (c) sskd_mm authors. All rights reserved.
import copy
import math
import multiprocessing

import numpy as np
import pytest
import torch
import torch.distributed as dist
from mmengine.registry import MODELS

from sskd_mm.losses.joint import Knowledge

NUM_SAMPLES = 20


def knowledge(channels, seed, num_samples=4):
    generator = torch.Generator().manual_seed(seed)
    return Knowledge(
        (), torch.randn(num_samples, channels, generator=generator), None)


STUDENT, TEACHER = knowledge(3, 0), knowledge(5, 1)
LABELS, INDICES = torch.tensor([2, 0, 2, 1]), torch.tensor([7, 3, 19, 0])


def prepared(num_samples=NUM_SAMPLES, student=STUDENT, teacher=TEACHER, **cfg):
    torch.manual_seed(0)
    loss = MODELS.build(dict(type='CRDLoss', **{'dim': 6, **cfg}))
    loss.prepare(student, teacher, num_samples)
    return loss


def unit(x):
    return x / np.sqrt((x * x).sum(-1, keepdims=True))


class Reference:
    """The authors' procedure in loops, from a loss's initial state."""

    def __init__(self, loss, num_negatives):
        self.weights = {
            key: value.double().numpy().copy()
            for key, value in loss.state_dict().items()
        }
        self.num_negatives = num_negatives
        self.z = {}

    def __call__(self, student, teacher, indices, drawn):
        w, total = self.weights, 0
        vectors = {
            name: unit(x @ w[f'{name}_map.weight'].T + w[f'{name}_map.bias'])
            for name, x in (('student', student), ('teacher', teacher))
        }
        for name, other in (('student', 'teacher'), ('teacher', 'student')):
            bank = w[f'{other}_bank']
            scores = np.array([[
                np.exp(vector @ bank[k] / 0.07) for k in (own, *others)
            ] for vector, own, others in zip(vectors[name], indices, drawn)])
            z = self.z.setdefault(name, scores.mean() * NUM_SAMPLES)
            noise = self.num_negatives / NUM_SAMPLES
            for own, *others in scores / z:
                total -= np.log(own / (own + noise))
                for k in others:
                    total -= np.log(noise / (k + noise))
        for name, vector in vectors.items():
            bank = w[f'{name}_bank']
            bank[indices] = unit(0.5 * bank[indices] + 0.5 * vector)
        return total / len(indices)


def test_against_loops(monkeypatch):
    loss = prepared(num_negatives=7)
    reference = Reference(loss, 7)
    draws = np.random.default_rng(0).integers(NUM_SAMPLES, size=(3, 4, 7))
    for seed, drawn in enumerate(draws):
        # The same samples return, with new features.
        student, teacher = knowledge(3, 10 + seed), knowledge(5, 20 + seed)
        monkeypatch.setattr(
            loss, '_draw', lambda labels: (torch.tensor(drawn), torch.ones(4)))
        value = loss(student, teacher, LABELS, INDICES).item()
        expected = reference(student.embedding.double().numpy(),
                             teacher.embedding.double().numpy(),
                             INDICES.numpy(), drawn)
        assert value == pytest.approx(expected, rel=1e-5)
        for name in ('student_bank', 'teacher_bank'):
            np.testing.assert_allclose(
                getattr(loss, name), reference.weights[name], atol=1e-5)


def test_normalisation_is_that_of_the_first_batch():
    loss = prepared()
    assert not loss.has_means
    loss(STUDENT, TEACHER, LABELS, INDICES)
    assert loss.has_means
    first = loss.log_means.clone()
    assert (first != 0).all()
    loss(knowledge(3, 5), knowledge(5, 6), LABELS, INDICES)
    assert torch.equal(loss.log_means, first)


def test_draws_every_sample_of_other_classes_and_none_of_its_own():
    loss = prepared(num_samples=12)
    # Two of class 0, three of class 5, one of class 9; six are unknown.
    loss.classes.copy_(
        torch.tensor([5, -1, 0, -1, 9, 5, -1, 0, -1, -1, 5, -1]))
    for label, own in ((0, {2, 7}), (5, {0, 5, 10}), (9, {4}), (3, set())):
        drawn, exist = loss._draw(torch.full((4000, ), label))
        assert drawn.shape == (4000, 11)
        assert exist.all()
        counts = torch.bincount(drawn.flatten(), minlength=12)
        expected = 44000 / (12 - len(own))
        for sample, count in enumerate(counts.tolist()):
            if sample in own:
                assert count == 0
            else:  # five standard deviations
                assert abs(count - expected) < 5 * math.sqrt(expected)


def test_notes_classes_before_it_draws():
    """A sample is never its own negative, not even when first seen."""
    loss = prepared()
    seen = []
    draw = loss._draw
    loss._draw = lambda labels: seen.append(draw(labels)[0]) or draw(labels)
    for _ in range(50):
        loss(STUDENT, TEACHER, LABELS, INDICES)
        loss.classes.fill_(-1)
    for row, (own, label) in enumerate(zip(INDICES, LABELS)):
        drawn = {int(k) for step in seen for k in step[row]}
        assert drawn == set(range(NUM_SAMPLES)) - set(
            INDICES[LABELS == label].tolist())


def test_number_of_negatives():
    labels = torch.zeros(3).long()
    assert prepared(num_negatives=7)._draw(labels)[0].shape == (3, 7)
    assert prepared()._draw(labels)[0].shape == (3, NUM_SAMPLES - 1)


def test_no_other_class():
    """Without negatives, only the pairs of the same sample count."""
    loss = prepared(num_samples=4)
    state = Reference(loss, 3).weights
    indices, labels = torch.arange(4), torch.zeros(4).long()
    value = loss(STUDENT, TEACHER, labels, indices).item()
    expected, names = 0, ('student', 'teacher')
    for number, x in enumerate((STUDENT, TEACHER)):
        name, other = names[number], names[1 - number]
        vectors = unit(
            x.embedding.double().numpy() @ state[f'{name}_map.weight'].T +
            state[f'{name}_map.bias'])
        scores = np.exp((vectors * state[f'{other}_bank']).sum(1) / 0.07)
        # Whatever was drawn instead has a part in the normalisation.
        scores = scores / loss.log_means[number].exp().item()
        expected -= np.log(scores / (scores + 3)).mean()
    assert value == pytest.approx(expected, rel=1e-5)


def test_resumes_from_its_state():
    one = prepared()
    one(STUDENT, TEACHER, LABELS, INDICES)
    # Another initialisation, of which nothing may be left.
    other = MODELS.build(dict(type='CRDLoss', dim=6))
    other.prepare(STUDENT, TEACHER, NUM_SAMPLES)
    state = copy.deepcopy(one.state_dict())
    assert {
        'student_bank', 'teacher_bank', 'classes', 'log_means', 'has_means'
    } < set(state)
    other.load_state_dict(state)
    values = []
    for loss in (one, other):
        torch.manual_seed(5)
        values += [
            loss(knowledge(3, 7), knowledge(5, 8), LABELS, INDICES).item()
        ]
    assert values[0] == values[1]
    for ours, theirs in zip(one.state_dict().values(),
                            other.state_dict().values()):
        assert torch.equal(ours, theirs)


def test_backward_sees_the_banks_before_their_update():
    loss = prepared(num_negatives=7).double()
    student = STUDENT.embedding.double().requires_grad_()
    teacher = Knowledge((), TEACHER.embedding.double(), None)

    def value(embedding):
        torch.manual_seed(0)
        return copy.deepcopy(loss)(Knowledge((), embedding, None), teacher,
                                   LABELS, INDICES)

    # Z of the first batch is a constant, unlike in finite differences.
    loss.has_means.fill_(True)
    loss.log_means.fill_(0.3)
    assert torch.autograd.gradcheck(value, student)


def test_learns_to_tell_samples_apart():
    student = knowledge(16, 0, NUM_SAMPLES)
    teacher = knowledge(16, 1, NUM_SAMPLES)
    loss = prepared(student=student, teacher=teacher, dim=16)
    optimizer = torch.optim.Adam(loss.parameters(), lr=0.02)
    labels = torch.arange(NUM_SAMPLES) % 5
    values = []
    for _ in range(100):
        values.append(
            loss(student, teacher, labels, torch.arange(NUM_SAMPLES)))
        optimizer.zero_grad()
        values[-1].backward()
        optimizer.step()
    assert values[-1] < 0.5 * values[0]
    vectors = loss.student_bank @ loss.teacher_bank.T
    assert (vectors.argmax(1) == torch.arange(NUM_SAMPLES)).float().mean() > .8


def _half(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group(
        'gloo', init_method=f'file://{folder}/init', rank=rank, world_size=2)
    loss = prepared()
    part = slice(2 * rank, 2 * rank + 2)
    student, teacher = [
        Knowledge((), k.embedding[part], None) for k in (STUDENT, TEACHER)
    ]
    loss(student, teacher, LABELS[part], INDICES[part])
    torch.save(loss.state_dict(), folder / f'{rank}.pth')
    dist.destroy_process_group()


def test_two_processes_fill_their_banks_as_one_does(tmp_path):
    context = multiprocessing.get_context('fork')
    processes = [
        context.Process(target=_half, args=(rank, tmp_path), daemon=True)
        for rank in range(2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    one = prepared()
    one(STUDENT, TEACHER, LABELS, INDICES)
    zero, other = [torch.load(tmp_path / f'{rank}.pth') for rank in range(2)]
    assert torch.equal(zero['log_means'], other['log_means'])
    for name in ('student_bank', 'teacher_bank', 'classes'):
        torch.testing.assert_close(zero[name], other[name])
        torch.testing.assert_close(zero[name], getattr(one, name))


def test_errors():
    with pytest.raises(ValueError, match='temperature is 0; .* positive'):
        prepared(temperature=0)
    with pytest.raises(ValueError, match='momentum is 1; .*less than 1'):
        prepared(momentum=1)
    with pytest.raises(ValueError, match='training set has only one'):
        prepared(num_samples=1)
