"""``python -m spann3r_ros``: the same as the console script ``spann3r_ros``."""

import sys

from spann3r_ros.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
