"""`python -m s6.paper`: the paper neighbours in the foreground until SIGTERM."""

import sys

from s6.paper.main import main

if __name__ == "__main__":
    sys.exit(main())
