"""The CDK app: turns what the systems declare into resources."""

import sys
from pathlib import Path

# The declarations live in the layers, which are packages of the functions, not of this app.
for _folder in sorted((Path(__file__).resolve().parent.parent / "layers").glob("*/python")):
    if str(_folder) not in sys.path:
        sys.path.append(str(_folder))
