"""The command line, as `python -m smart_tuner`; the one file here that knows of it."""

import sys

from run_study import main

if __name__ == "__main__":
    sys.exit(main())
