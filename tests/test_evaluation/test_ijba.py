# Copyright (c) sskd_mm authors. All rights reserved.
import numpy as np
import pytest
import torch

from sskd_mm.evaluation import IJBA

HEADER = ('TEMPLATE_ID,SUBJECT_ID,FILE,MEDIA_ID,SIGHTING_ID,FRAME,FACE_X,'
          'FACE_Y,FACE_WIDTH,FACE_HEIGHT')


@pytest.fixture
def release(tmp_path):
    """Three splits; person 3 is missing from the galleries."""
    rng = np.random.default_rng(0)
    splits = []
    for k in (1, 2, 3):
        verify = tmp_path / f'IJB-A_11_sets/split{k}'
        search = tmp_path / f'IJB-A_1N_sets/split{k}'
        verify.mkdir(parents=True)
        search.mkdir(parents=True)

        def write(file, templates):
            rows = [(t, t % 8, f'img/{rng.integers(0, 40)}.jpg', media)
                    for t in templates for media in rng.integers(0, 3, 3)]
            file.write_text('\n'.join([HEADER] + [
                f'{t},{who},{name},{media},1,,10.5,20,{30 + t % 2},40'
                for t, who, name, media in rows
            ]))
            return rows

        templates = range(100 * k, 100 * k + 24)
        pairs = rng.choice(templates, (40, 2))
        np.savetxt(
            verify / f'verify_comparisons_{k}.csv', pairs, '%d', ',')
        splits.append(
            (write(verify / f'verify_metadata_{k}.csv', templates), pairs,
             write(search / f'search_gallery_{k}.csv',
                   [t for t in templates[:8] if t % 8 != 3]),
             write(search / f'search_probe_{k}.csv', templates[8:])))
    return tmp_path, splits


def test_against_the_definition(release):
    root, splits = release
    protocol = IJBA.read(str(root), 3)
    assert len(set(protocol.faces)) == len(protocol.faces) <= 80
    rng = np.random.default_rng(1)
    x = rng.standard_normal((len(protocol.faces), 5))
    number = {face: i for i, face in enumerate(protocol.faces)}

    def pool(rows):
        pooled = {}
        for t in {row[0] for row in rows}:
            media = {}
            for template, who, file, medium in rows:
                if template == t:
                    face = file, 10.5, 20., 30. + t % 2, 40.
                    media.setdefault(medium, []).append(x[number[face]])
            mean = np.mean([np.mean(m, 0) for m in media.values()], 0)
            pooled[t] = mean / np.linalg.norm(mean)
        return pooled

    tars, tpirs, firsts = [], [], []
    for verify, pairs, gallery, probes in splits:
        pooled = pool(verify)
        scores = np.array([pooled[a] @ pooled[b] for a, b in pairs])
        same = np.array([a % 8 == b % 8 for a, b in pairs])
        tars.append(
            max(
                np.mean(scores[same] >= t) for t in [*scores, np.inf]
                if np.mean(scores[~same] >= t) <= 0.1))
        enrolled = pool(gallery)
        mates, alarms, first = [], [], []
        for t, probe in pool(probes).items():
            s = {g % 8: probe @ e for g, e in enrolled.items()}
            if t % 8 in s:
                mates.append(s[t % 8])
                first.append(max(s, key=s.get) == t % 8)
            else:
                alarms.append(max(s.values()))
        firsts.append(np.mean(first))
        tpirs.append(np.mean([m > max(alarms) for m in mates]))
    figures = protocol.summary(protocol.score(torch.as_tensor(x)))
    for name, values in (('TAR@FAR=0.1', tars), ('rank-1', firsts),
                         ('TPIR@FPIR=0.1', tpirs)):
        assert figures[name] == pytest.approx(
            (100 * np.mean(values), 100 * np.std(values)))
        assert np.std(values) > 0


def test_damaged_metadata(release):
    root, _ = release
    file = root / 'IJB-A_11_sets/split2/verify_metadata_2.csv'
    text = file.read_text()
    for change, message in (
        (text.replace('MEDIA_ID', 'MEDIA'), r"no column \['MEDIA_ID'\]"),
        (text + '\n7,x,img/1.jpg,1,1,,1,2,3,4', 'line 74: .*invalid literal'),
        (text + '\n7,1,img/1.jpg', 'line 74'),
        (HEADER, 'has no faces'),
    ):
        file.write_text(change)
        with pytest.raises(ValueError, match=message):
            IJBA.read(str(root), 3)
    file.write_text('\n'.join(
        line for line in text.split('\n') if not line.startswith('200,')))
    (root / 'IJB-A_11_sets/split2/verify_comparisons_2.csv').write_text(
        '200,201\n202,210\n')
    protocol = IJBA.read(str(root), 3)
    with pytest.raises(ValueError, match='comparisons have no face, e.g. 200'):
        protocol.score(torch.randn(len(protocol.faces), 5))
    with pytest.raises(ValueError, match='3 embeddings of'):
        protocol.score(torch.randn(3, 5))
    with pytest.raises(FileNotFoundError, match='split4'):
        IJBA.read(str(root))


def test_faces_that_could_not_be_embedded(release):
    """No figure is better than with any embedding in their place, and a
    template without others is rejected by everybody."""
    root, splits = release
    for file in root.glob('*/*/*.csv'):
        file.write_bytes(b'\xef\xbb\xbf' + file.read_bytes())
    protocol = IJBA.read(str(root), 3)
    x = torch.randn(len(protocol.faces), 5,
                    generator=torch.Generator().manual_seed(0))
    verify, pairs, gallery, probe = protocol.splits[0]
    x[verify.faces[verify.templates == pairs[0, 0]]] = 0
    for rows in (gallery, probe):
        x[rows.faces[rows.templates == rows.templates[0]]] = 0
    (verification, identification), *_ = protocol.score(x)
    hit = (pairs == pairs[0, 0]).any(1)
    assert (verification.similarities[hit] == -1).all()
    result, = identification.results
    person = probe.subjects[0]
    assert result.other[np.unique(probe.templates) ==
                        probe.templates[0]] == [-np.inf]
    assert person in gallery.subjects
    assert result.rank[np.unique(probe.templates) ==
                       probe.templates[0]] == [8]
