"""The command line in a process whose address space ends a little above what it uses when training begins.

python exhausted.py MEGABYTES run RECIPE ...
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path


def main() -> None:
    from atentdsl.cli import run
    from atentdsl.runtime import loop

    megabytes, words = int(sys.argv[1]), sys.argv[2:]
    through = loop._Fit.through

    def limited(self):
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + megabytes * 2**20, resource.RLIM_INFINITY))
        return through(self)

    loop._Fit.through = limited
    sys.argv = ["atentdsl", *words]
    sys.exit(run(words))


if __name__ == "__main__":
    main()
