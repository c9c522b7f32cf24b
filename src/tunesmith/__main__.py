"""`python -m tunesmith` is `tunesmith`."""

import sys

from tunesmith.cli.main import main

sys.exit(main())
