"""Run in a process of its own: reads recipes as JSON, prints a digest of each one's training step.

What draws a recipe's points is made from the same parts; of every eighth recipe its digest is printed too.
"""

from __future__ import annotations

import hashlib
import json
import sys


def main() -> None:
    import atentdsl

    for i, recipe in enumerate(json.load(sys.stdin)):
        for goal in ("train", "draw") if i % 8 == 0 else ("train",):
            text = atentdsl.compile(recipe, goal=goal).text
            print(hashlib.sha256(text.encode()).hexdigest())


if __name__ == "__main__":
    main()
