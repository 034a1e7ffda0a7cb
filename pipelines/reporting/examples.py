"""Labeled images with the teacher's boxes drawn on them: kept, to ignore, or dropped by the policy."""

from __future__ import annotations

from base64 import b64encode

from pipelines.reporting.data import ExampleBox, LabeledExample
from pipelines.reporting.markup import Markup, element, isolate

MOST_DROPPED_DRAWN = 12
MOST_LISTED = 6


def draw_example(example: LabeledExample) -> Markup:
    """Draw one image, its boxes and its caption. Kept boxes are numbered and listed with phrase and score."""
    kept = [box for box in example.boxes if box.kept]
    ignored = [box for box in example.boxes if box.ignored]
    others = (box for box in example.boxes if not box.kept and not box.ignored)
    dropped = sorted(others, key=lambda box: -box.score)
    drawn = [_draw_unlisted(box, "drop", "dropped") for box in dropped[:MOST_DROPPED_DRAWN]]
    drawn += [_draw_unlisted(box, "ignore", "to ignore") for box in ignored]
    drawn += [_draw_kept(number, box, example) for number, box in enumerate(kept, 1)]
    source = f"data:{example.media_type};base64,{b64encode(example.image).decode('ascii')}"
    picture = element(
        "svg",
        element("image", href=source, width=example.width, height=example.height),
        *drawn,
        viewBox=f"0 0 {example.width} {example.height}",
        class_="example",
        role="img",
        aria_label=example.caption,
    )
    listed = [
        element("li", isolate(box.text), " ", element("span", f"{box.score:.2f}", class_="soft"))
        for box in kept[:MOST_LISTED]
    ]
    if len(kept) > MOST_LISTED:
        listed.append(element("li", f"and {len(kept) - MOST_LISTED} more", class_="soft more"))
    return element(
        "figure",
        picture,
        element(
            "figcaption",
            element("p", isolate(example.caption), class_="quote"),
            element("ol", *listed) if kept else None,
            element("p", _format_counts(len(kept), len(ignored), len(dropped)), class_="soft"),
        ),
    )


def _format_counts(kept: int, ignored: int, dropped: int) -> str:
    drawn = f" (the best {MOST_DROPPED_DRAWN} drawn)" if dropped > MOST_DROPPED_DRAWN else ""
    to_ignore = f"{ignored} to ignore, " if ignored else ""
    return f"{kept or 'nothing'} kept, {to_ignore}{dropped} dropped{drawn}"


def _make_rect(box: ExampleBox, style: str) -> Markup:
    x0, y0, x1, y1 = box.box
    return element("rect", x=x0, y=y0, width=x1 - x0, height=y1 - y0, class_=style)


def _draw_unlisted(box: ExampleBox, style: str, became: str) -> Markup:
    title = element("title", f"{became}: {box.text}, score {box.score:.2f}")
    return element("g", title, _make_rect(box, f"{style} under"), _make_rect(box, style))


def _draw_kept(number: int, box: ExampleBox, example: LabeledExample) -> Markup:
    """Draw the box with its number in the corner. The size of the number follows the image's."""
    size = max(example.width, example.height) / 13
    left = min(max(box.box[0], 0), example.width - size)
    top = min(max(box.box[1], 0), example.height - size)
    return element(
        "g",
        element("title", f"kept: {box.text}, score {box.score:.2f}"),
        _make_rect(box, "keep under"),
        _make_rect(box, "keep"),
        element("rect", x=left, y=top, width=size, height=size, class_="tag"),
        element(
            "text",
            str(number),
            x=left + size / 2,
            y=top + size * 0.78,
            font_size=size * 0.8,
            text_anchor="middle",
        ),
    )
