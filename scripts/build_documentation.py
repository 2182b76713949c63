"""Build the documentation, look for dead links, and serve it.

./scripts/docs                       everything, warnings are errors
./scripts/docs --without-examples    pages alone, quickly
./scripts/docs --serve               and then serve it on this machine
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from documentation.generated import pages
from documentation.links import dead_links, empty_pages
from documentation.staging import forget_gone_examples, stage

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build" / "docs"
SOURCE, HTML, READ = BUILD / "source", BUILD / "html", BUILD / "read"


def main(arguments=None):
    """Stage the sources, run Sphinx on them, and check what it wrote."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--without-examples", action="store_true", help="do not run the gallery's examples")
    parser.add_argument("--serve", action="store_true", help="serve the pages on this machine when they are built")
    parser.add_argument("--port", type=int, default=8000, help="of --serve (%(default)s)")
    given = parser.parse_args(arguments)

    began = time.monotonic()
    # Of names and pages that are gone nothing may stay; examples are not run again unless they changed.
    for stale in (HTML, SOURCE / "reference" / "generated"):
        shutil.rmtree(stale, ignore_errors=True)
    forget_gone_examples(SOURCE / "gallery")
    stage(SOURCE, pages())
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-d", READ, "-W", "--keep-going", "-q", "-T", SOURCE, HTML]
    if given.without_examples:
        command += ["-D", "sphinx_gallery_conf.plot_gallery=0"]
    paths = [str(ROOT), str(ROOT / "scripts"), *filter(None, [os.environ.get("PYTHONPATH")])]
    ended = subprocess.run(command, env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)}, check=False)
    if ended.returncode:
        sys.exit("The documentation was not built; mend what is named above, and run the same command again.")
    wrong = [*dead_links(HTML), *empty_pages(HTML)]
    if wrong:
        sys.exit(
            "\n".join([*wrong, f"{len(wrong)} links or pages are wrong; mend them, and run the same command again."])
        )
    count = sum(1 for _ in HTML.rglob("*.html"))
    print(f"{count} pages in {time.monotonic() - began:.0f} s, no dead link, no empty page: {HTML / 'index.html'}")
    if given.serve:
        serve = [sys.executable, "-m", "http.server", str(given.port), "--bind", "127.0.0.1", "--directory", HTML]
        subprocess.run(serve, check=False)


if __name__ == "__main__":
    main()
