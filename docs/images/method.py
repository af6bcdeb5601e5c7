# Copyright (c) sskd_mm authors. All rights reserved.
"""Draw the phases of a distillation: docs/images/method.svg, the shipped
recipe, and docs/images/stages.svg, the strict form.

python docs/images/method.py

Nothing is drawn on a background of its own and every colour stands out from
white and from black, so that one picture serves light and dark pages.
"""
from pathlib import Path

PARTS = ('layer1', 'layer2', 'layer3', 'layer4', 'neck', 'head')
TEACHER, TRAINS, FROZEN, REST = '#3f73b5', '#c4620a', '#6b7683', '#848d97'
STOP = '#d1383d'

PANEL, STEP, LEFT = 590, 82, 88  # widths: of a phase, of a part, before them
TOP, GAP = 96, 62  # heights: above the teacher, between the two
HEIGHTS = dict(teacher=64, student=50)


def text(x, y, content, colour=REST, size=18, anchor='middle', weight=400):
    return (f'<text x="{x}" y="{y}" fill="{colour}" font-size="{size}" '
            f'text-anchor="{anchor}" font-weight="{weight}">{content}</text>')


def line(x1, y1, x2, y2, colour=REST, width=2, end=''):
    return (f'<path d="M{x1} {y1}L{x2} {y2}" stroke="{colour}" fill="none" '
            f'stroke-width="{width}" {end}/>')


def box(x, y, height, name, colour, locked=False):
    """A part of a network; without a colour it is not computed."""
    width = STEP - 10
    frame = (f'fill="{colour}"' if colour else
             f'fill="none" stroke="{REST}" stroke-dasharray="3 4" '
             'opacity=".7"')
    return (f'<rect x="{x}" y="{y}" width="{width}" height="{height}" '
            f'rx="7" {frame}/>' +
            text(x + width / 2, y + height / 2 + (15 if locked else 6), name,
                 '#fff' if colour else REST) +
            (lock(x + width / 2 - 6.5, y + 4) if locked else ''))


def lock(x, y):
    """A padlock, whose upper left corner is there."""
    return (f'<path d="M{x + 3} {y + 7}v-2a3.5 3.5 0 0 1 7 0v2" '
            'stroke="#fff" fill="none" stroke-width="1.8"/>'
            f'<rect x="{x + 1}" y="{y + 6.5}" width="11" height="8" rx="1.5" '
            'fill="#fff"/>')


def phase(x, y, title, about, trains, tap=None):
    """One phase: the parts that train, and the part where student and teacher
    are compared, None where the student trains on its task."""
    last = len(PARTS) - 1 if tap is None else PARTS.index(tap)
    rows = dict(teacher=y + TOP, student=y + TOP + HEIGHTS['teacher'] + GAP)
    out = [
        text(x, y + 26, title, TRAINS, 24, 'start', 700),
        text(x, y + 54, about, REST, 18, 'start')
    ]
    middle = {row: rows[row] + HEIGHTS[row] / 2 for row in rows}
    centre = sum(middle.values()) / 2
    shown = ['student'] if tap is None else ['teacher', 'student']
    for row in shown:
        under = HEIGHTS[row] + 28
        out.append(
            text(x + LEFT, rows[row] + (-8 if row == 'teacher' else under - 8),
                 row, REST, 16, 'start'))
        for i, name in enumerate(PARTS):
            colour = TEACHER
            if row == 'student':
                colour = TRAINS if name in trains else FROZEN
            left = x + LEFT + i * STEP
            out.append(
                box(left, rows[row], HEIGHTS[row], name,
                    colour if i <= last else None, i <= last
                    and colour == FROZEN))
            if i < last:
                out.append(
                    line(left + STEP - 10, middle[row], left + STEP,
                         middle[row]))
    # Images go into whatever is run.
    at = middle['student'] if tap is None else centre
    out.append(text(x, at + 6, 'images', REST, 18, 'start'))
    for row in shown:
        out.append(
            line(x + 68, at, x + LEFT - 3, middle[row],
                 end='marker-end="url(#to)"'))
    end = x + LEFT + last * STEP + (STEP - 10) / 2
    if tap is None:
        out += [
            text(x + LEFT, rows['teacher'] + HEIGHTS['teacher'] / 2,
                 'teacher released', REST, 18, 'start'),
            line(end, rows['student'] - 4, end, rows['student'] - 34, TRAINS,
                 3),
            text(end + 36, rows['student'] - 44, "the task's own loss", TRAINS,
                 18, 'end', 700)
        ]
        return ''.join(out)
    out.append(
        line(end, rows['teacher'] + HEIGHTS['teacher'] + 3, end,
             rows['student'] - 3, TRAINS, 3,
             'marker-start="url(#by)" marker-end="url(#by)"'))
    out.append(
        text(end + (14 if last < 3 else -14), centre + 16, 'L2 distance',
             TRAINS, 18, 'start' if last < 3 else 'end', 700))
    for row in rows:
        out.append(
            line(x + LEFT + (last + 1) * STEP - 5, rows[row] - 5,
                 x + LEFT + (last + 1) * STEP - 5,
                 rows[row] + HEIGHTS[row] + 5, STOP, 4))
    return ''.join(out)


def legend(x, y):
    out = []
    for colour, label in ((TRAINS, 'trains'), (FROZEN, 'frozen'),
                          (TEACHER, 'teacher, frozen'), (None, 'not computed'),
                          (STOP, 'both networks stop here')):
        if colour == STOP:
            out.append(line(x + 14, y - 16, x + 14, y + 6, STOP, 4))
        else:
            fill = (f'fill="{colour}"' if colour else
                    f'fill="none" stroke="{REST}" stroke-dasharray="3 4"')
            out.append(f'<rect x="{x}" y="{y - 15}" width="28" height="20" '
                       f'rx="4" {fill}/>')
            if colour == FROZEN:
                out.append(lock(x + 8, y - 14))
        out.append(text(x + 42, y + 1, label, REST, 18, 'start'))
        y += 36
    return ''.join(out)


def draw(name, title, phases):
    """Draw four panels; None is the legend."""
    down = TOP + sum(HEIGHTS.values()) + GAP + 58
    across = PANEL + 40
    marker = ('<marker id="{}" viewBox="0 0 10 10" refX="8" refY="5" '
              'markerWidth="{}" markerHeight="{}" orient="auto-start-reverse">'
              '<path d="M0 0L10 5L0 10z" fill="{}"/></marker>')
    body = [
        '<defs>',
        marker.format('to', 7, 7, REST),
        marker.format('by', 5, 5, TRAINS), '</defs>'
    ]
    for number, settings in enumerate(phases):
        x, y = number % 2 * across, number // 2 * down
        body.append(
            phase(x, y, *settings) if settings else legend(x + LEFT, y + 50))
    rows = -(-len(phases) // 2)
    # A legend below everything else is not as high as a phase.
    height = rows * down - (150 if len(phases) % 2 else 30)
    Path(__file__).with_name(f'{name}.svg').write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" '
        f'viewBox="-10 -6 {across + PANEL + 20} {height}" '
        'font-family="-apple-system,Segoe UI,Helvetica,Arial,sans-serif">'
        f'<title>{title}</title>' + '\n'.join(body) + '</svg>\n')


def main():
    draw('method', 'The phases of the shipped recipe', [
        ('Mimic', 'Backbone and FPN learn the teacher&#8217;s features; no '
         'labels.', PARTS[:-1], 'neck'),
        ('Head', 'The features are frozen; the head learns its task.',
         PARTS[-1:]),
        ('Finetune', 'Optional: the whole student trains for some epochs.',
         PARTS), None
    ])
    draw('stages', 'The phases of the strict form, stage by stage', [
        ('mimic/layer1', 'The first stage learns the teacher&#8217;s feature.',
         PARTS[:1], 'layer1'),
        ('mimic/layer2', 'It is frozen; the second stage learns.', PARTS[1:2],
         'layer2'),
        ('&#8230; mimic/neck', 'And so on, up to what the head reads.',
         PARTS[-2:-1], 'neck'),
        ('head', 'All of it is frozen; the head learns its task.',
         PARTS[-1:]), None
    ])


if __name__ == '__main__':
    main()
