"""The web page from a clone: ``python app.py`` is ``inpaint serve``, with the same options."""

import sys

from inpaint.cli import main

if __name__ == "__main__":
    main(["serve", *sys.argv[1:]])
