"""``python -m diskimage_create``."""

import sys

from diskimage_create.cli import main

sys.exit(main())
