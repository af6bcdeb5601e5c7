# Copyright (c) sskd_mm authors. All rights reserved.
"""IJB-B and IJB-C from metadata files as insightface's release has them."""
import numpy as np
import pytest
import torch
from sklearn.metrics import roc_curve
from sklearn.preprocessing import normalize

from sskd_mm.evaluation import IJB

FACES = 80


@pytest.fixture(params=['ijbb', 'ijbc'])
def release(request, tmp_path):
    """Templates 10 to 39 of people 100 to 111; odd people are in G2."""
    rng = np.random.default_rng(0)
    name = request.param
    meta = tmp_path / 'meta'
    meta.mkdir()
    template = np.concatenate([np.arange(10, 40), rng.integers(10, 40, 50)])
    media = rng.integers(0, 3, FACES)
    who = {t: 100 + (t - 10) % 12 for t in range(10, 40)}
    pairs = rng.integers(10, 40, (60, 2))
    same = [int(who[a] == who[b]) for a, b in pairs]

    def write(file, lines):
        (meta / f'{name}_{file}').write_text('\n'.join(lines) + '\n')

    write('face_tid_mid.txt',
          [f'{i}.jpg {template[i]} {media[i]}' for i in range(FACES)])
    write('name_5pts_score.txt', [
        f'{i}.jpg ' + ' '.join(f'{i + k / 8:.3f}' for k in range(10)) + ' 0.9'
        for i in range(FACES)
    ])
    write('template_pair_label.txt',
          [f'{a} {b} {y}' for (a, b), y in zip(pairs, same)])
    header = 'TEMPLATE_ID,SUBJECT_ID,FILENAME,SIGHTING_ID'
    letter = dict(ijbb='S', ijbc='G')[name]
    lists = dict(
        one=[t for t in range(10, 22) if who[t] % 2 == 0],
        two=[t for t in range(10, 22) if who[t] % 2],
        probe=range(22, 40))
    for file, templates in zip((f'1N_gallery_{letter}1',
                                f'1N_gallery_{letter}2', '1N_probe_mixed'),
                               lists.values()):
        # A line a face: templates come several times.
        write(f'{file}.csv', [header] + [
            f'{t},{who[t]},img/{i}.jpg,7' for t in templates
            for i in np.flatnonzero(template == t)
        ])
    return tmp_path, name, template, media, who, pairs, same, lists


def test_read(release):
    root, name, template, media, who, pairs, same, lists = release
    protocol = IJB.read(str(root), name)
    assert protocol.images[3] == str(root / 'loose_crop' / '3.jpg')
    assert protocol.landmarks.shape == (FACES, 5, 2)
    assert protocol.landmarks[2, 1].tolist() == [2.25, 2.375]
    assert protocol.scores.tolist() == [0.9] * FACES
    assert protocol.templates.tolist() == template.tolist()
    assert protocol.media.tolist() == media.tolist()
    assert np.stack(protocol.pairs[:2], 1).tolist() == pairs.tolist()
    assert protocol.pairs[2].tolist() == [bool(x) for x in same]
    assert protocol.galleries[0][0].tolist() == lists['one']
    assert protocol.galleries[1][1].tolist() == [who[t] for t in lists['two']]
    assert protocol.probes[0].tolist() == list(lists['probe'])


def test_against_the_definition(release):
    root, name, template, media, who, pairs, same, lists = release
    rng = np.random.default_rng(1)
    centres = rng.standard_normal((12, 6))
    x = np.stack([centres[who[t] - 100] for t in template])
    x += 1.2 * rng.standard_normal(x.shape)
    verification, identification = IJB.read(str(root), name).score(
        torch.as_tensor(x))

    pooled = {
        t: normalize(
            np.mean([
                x[(template == t) & (media == m)].mean(0)
                for m in set(media[template == t])
            ], 0)[None])[0]
        for t in set(template)
    }
    scores = [pooled[a] @ pooled[b] for a, b in pairs]
    assert verification.similarities == pytest.approx(scores, abs=1e-6)
    far, tar, _ = roc_curve(same, scores)
    assert verification.roc.tar_at_far(0.1) == tar[far <= 0.1].max()

    rank1, tpirs = [], []
    for gallery in (lists['one'], lists['two']):
        ranks, mates, alarms = [], [], []
        for probe in lists['probe']:
            s = {who[t]: pooled[probe] @ pooled[t] for t in gallery}
            if who[probe] in s:
                ranks.append(sorted(s, key=s.get)[::-1].index(who[probe]))
                mates.append(s[who[probe]])
            else:
                alarms.append(max(s.values()))
        rank1.append(np.mean([r == 0 for r in ranks]))
        allowed = int(0.3 * len(alarms))
        limit = sorted(alarms)[::-1][allowed]
        tpirs.append(np.mean([m > limit for m in mates]))
    assert identification.cmc(1)[0] == pytest.approx(np.mean(rank1))
    assert identification.tpir_at_fpir(0.3) == pytest.approx(np.mean(tpirs))
    assert 0 < np.mean(tpirs) < 1
    figures = IJB.summary(verification, identification)
    assert figures['rank-1'] == pytest.approx(100 * np.mean(rank1))
    assert {'TAR@FAR=0.0001', 'TPIR@FPIR=0.01'} <= figures.keys()


def test_damaged_metadata(release):
    root, name = release[:2]
    meta = root / 'meta'

    def rewrite(file, change):
        path = meta / f'{name}_{file}'
        before = path.read_text()
        path.write_text(change(before))
        return path, before

    for file, change, message in (
        ('face_tid_mid.txt', lambda t: t.replace('3.jpg 13', '3.jpg x', 1),
         "tid_mid.txt', line 4: .* should begin with 3 columns"),
        ('face_tid_mid.txt', lambda t: t.rsplit('\n', 2)[0],
         'the same files in the same order'),
        ('name_5pts_score.txt', lambda t: t[:-20],
         'line 80: .* should begin with 12 columns'),
        ('template_pair_label.txt', lambda t: t + '10 x 1\n', 'int64'),
        ('template_pair_label.txt', lambda t: t + '10 77 1\n',
         'templates of the pairs have no face, e.g. 77'),
        ('1N_probe_mixed.csv', lambda t: t + '88,100,x,7\n',
         'templates of the probes have no face, e.g. 88'),
    ):
        path, before = rewrite(file, change)
        with pytest.raises(ValueError, match=message):
            IJB.read(str(root), name).score(torch.randn(FACES, 4))
        path.write_text(before)
    protocol = IJB.read(str(root), name)
    with pytest.raises(ValueError, match='79 embeddings of 80 faces'):
        protocol.score(torch.randn(79, 4))
    path.unlink()
    with pytest.raises(FileNotFoundError, match='probe_mixed'):
        IJB.read(str(root), name)


def test_faces_that_could_not_be_embedded(release):
    """A template without any is missed in every comparison; elsewhere its
    other faces count alone, as if the release had not these."""
    root, name, template, media, who, pairs, same, lists = release
    rng = np.random.default_rng(2)
    x = rng.standard_normal((FACES, 6))
    # One of the first gallery, one of the probes; and a face of each other
    # template that has several.
    lost = np.isin(template, [10, 30])
    first = {t: np.flatnonzero(template == t) for t in set(template)}
    lost[[i[0] for i in first.values() if len(i) > 1]] = True
    verification, identification = IJB.read(str(root), name).score(
        torch.as_tensor(np.where(lost[:, None], 0, x)))
    whole, _ = IJB.read(str(root), name).score(torch.as_tensor(x))

    pooled = {}
    for t in set(template[~lost]):
        mine = (template == t) & ~lost
        mean = np.mean([
            x[mine & (media == m)].mean(0) for m in set(media[mine])], 0)
        pooled[t] = mean / np.linalg.norm(mean)
    scores = [
        pooled[a] @ pooled[b] if a in pooled and b in pooled else -1
        for a, b in pairs
    ]
    assert -1 in scores
    assert verification.similarities == pytest.approx(scores, abs=1e-6)
    assert whole.similarities != pytest.approx(scores, abs=1e-6)
    # Template 10 shows person 100 in the first gallery, template 30 is a
    # probe of person 108; each gallery has six people.
    for number, missed in ((0, [22, 30, 34]), (1, [])):
        rank = identification.results[number].rank
        assert [t for t, r in zip(lists['probe'], rank) if r > 6] == missed


def test_byte_order_marks(release):
    root, name = release[:2]
    expected = IJB.read(str(root), name)
    for file in (root / 'meta').iterdir():
        file.write_bytes(b'\xef\xbb\xbf' + file.read_bytes())
    found = IJB.read(str(root), name)
    assert found.images == expected.images
    for a, b in zip(found[1:5] + found.pairs + found.probes,
                    expected[1:5] + expected.pairs + expected.probes):
        assert np.array_equal(a, b)
