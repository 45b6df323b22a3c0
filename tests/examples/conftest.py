"""Makes the example's own modules importable, as they are when its scripts run."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples" / "blog_upload"))
