"""Run in a process of its own: reads recipes as JSON, prints a digest of each compiled text."""

from __future__ import annotations

import hashlib
import json
import sys


def main() -> None:
    import atentdsl

    for recipe in json.load(sys.stdin):
        for goal in ("train", "draw"):
            text = atentdsl.compile(recipe, goal=goal).text
            print(hashlib.sha256(text.encode()).hexdigest())


if __name__ == "__main__":
    main()
