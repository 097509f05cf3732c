"""A page as a reader's browser meets it: elements, texts, and whether every one is closed."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import PIL.Image

VOID = {"meta", "img", "br", "hr", "link", "input", "base", "embed", "source", "wbr", "col", "area", "track"}


class Element:
    """One element: `tag`, `attributes`, the elements inside it, and all the text inside it."""

    def __init__(self, tag, attributes):
        self.tag, self.attributes, self.inside, self.text = tag, dict(attributes), [], ""

    def all(self, tag=None, **attributes):
        """Those inside it, at any depth, in their order."""
        for one in self.inside:
            wanted = {name.replace("_", "-").rstrip("-"): value for name, value in attributes.items()}
            if tag in (None, one.tag) and wanted.items() <= one.attributes.items():
                yield one
            yield from one.all(tag, **attributes)


class Page(HTMLParser):
    """The whole; an AssertionError where an element is not closed, or another one is."""

    def __init__(self, text):
        super().__init__()
        self.root = Element("", {})
        self.open = [self.root]
        self.feed(text)
        self.close()
        assert [one.tag for one in self.open] == [""], [one.tag for one in self.open]

    def handle_starttag(self, tag, attrs):
        assert len(attrs) == len(dict(attrs)), f"an attribute twice: {tag} {attrs}"
        self.open[-1].inside.append(element := Element(tag, attrs))
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag, attrs):
        self.open[-1].inside.append(Element(tag, attrs))

    def handle_endtag(self, tag):
        assert self.open[-1].tag == tag, f"</{tag}> in <{self.open[-1].tag}>"
        self.open.pop()

    def handle_data(self, data):
        for element in self.open:
            element.text += data

    def section(self, name):
        """The section whose heading has that id."""
        (found,) = self.root.all("section", aria_labelledby=name)
        return found

    def rows(self, name):
        """The cells of the tables in a section, row by row, texts without the spaces around them."""
        return [[cell.text.strip() for cell in row.inside] for row in self.section(name).all("tr")]


def pixels(element):
    """An `img` as numbers 0 to 255, (height, width) or (height, width, 3)."""
    kind, _, data = element.attributes["src"].partition(",")
    assert kind == "data:image/png;base64"
    return np.asarray(PIL.Image.open(io.BytesIO(base64.b64decode(data, validate=True)))).astype(float)


def colours(css):
    """The custom properties that are colours, by scheme: those of the dark one laid over those of the light one."""
    light, dark = css.split("prefers-color-scheme: dark")
    dark = dark.split("* {")[0]
    found = [dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", part)) for part in (light, dark)]
    return {"light": found[0], "dark": {**found[0], **found[1]}}


def contrast(one, other):
    """The ratio of WCAG 2: relative luminances, the lighter over the darker."""
    both = []
    for colour in (one, other):
        channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        both.append(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] + 0.05)
    return max(both) / min(both)
