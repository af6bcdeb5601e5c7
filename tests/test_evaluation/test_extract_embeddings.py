# Copyright (c) sskd_mm authors. All rights reserved.
import numpy as np
import pytest
import torch
from torch import nn

from sskd_mm.evaluation import extract_embeddings


class Model(nn.Module):
    """Embeds an image as its columns' means; dies of some images."""

    def __init__(self, dead=()):
        super().__init__()
        self.dead = dead
        self.seen = []

    def data_preprocessor(self, batch, training):
        assert not training and not self.training
        self.seen += batch['data_samples']
        if set(self.dead) & set(batch['data_samples']):
            raise KeyboardInterrupt
        return dict(inputs=torch.stack(batch['inputs']).float())

    def extract_feat(self, inputs):
        return (inputs, inputs.mean((1, 2)))


def images(count=11):
    x = np.random.default_rng(0).random((count, 3, 4, 5)).astype('float32')
    return [
        dict(inputs=torch.as_tensor(image), data_samples=i)
        for i, image in enumerate(x)
    ], x.mean((1, 2))


@pytest.mark.parametrize('mirror', [True, False])
def test_of_image_and_mirrored_image(mirror):
    dataset, means = images()
    found = extract_embeddings(
        Model(), dataset, batch_size=4, num_workers=0, mirror=mirror)
    expected = means + means[:, ::-1] if mirror else means
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_goes_on_where_it_was_stopped(tmp_path):
    dataset, means = images()
    settings = dict(
        batch_size=4,
        num_workers=0,
        mirror=False,
        file=str(tmp_path / 'x.npy'),
        key=dict(checkpoint='abc'))
    with pytest.raises(KeyboardInterrupt):
        extract_embeddings(Model(dead=[9]), dataset, **settings)
    model = Model()
    found = extract_embeddings(model, dataset, **settings)
    np.testing.assert_allclose(found, means, rtol=1e-6)
    # The first image tells how wide an embedding is.
    assert model.seen == [0, 8, 9, 10]
    with pytest.raises(ValueError, match='checkpoint was abc, now xyz'):
        extract_embeddings(
            model, dataset, **{**settings, 'key': dict(checkpoint='xyz')})


def test_no_embedding():
    model = Model()
    model.extract_feat = lambda inputs: (inputs, )
    with pytest.raises(ValueError, match=r'\(1, 3, 4, 5\), which is not an'):
        extract_embeddings(model, images()[0], num_workers=0)
    with pytest.raises(ValueError, match='no images'):
        extract_embeddings(model, [])


def test_images_of_unequal_sizes():
    dataset = images()[0]
    dataset[3]['inputs'] = torch.zeros(3, 5, 5)
    with pytest.raises(ValueError, match='differ in size: 4 x 5, 5 x 5.*Res'):
        extract_embeddings(Model(), dataset, 4, num_workers=0)
    extract_embeddings(Model(), dataset[3:4], 4, num_workers=0)
