"""Write the packaged table of mean |net| of the evaluation world.

For when bench/world.toml has changed.

`python scripts/measure_usual.py` also copies bench/world.toml to the packaged preset.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from ifd_fast.usual_net import PACKAGED, encode_usual, flow_digest, measure_usual
from ifd_fast.world import load_world

ROOT: Final = Path(__file__).resolve().parents[1]
PRESETS: Final = ROOT / "ifd_fast" / "presets"


def main() -> None:
    """Copy the world and measure it."""
    shutil.copyfile(ROOT / "bench" / "world.toml", PRESETS / "evaluation.toml")
    world = load_world("evaluation")
    (PRESETS / PACKAGED).write_bytes(encode_usual(flow_digest(world), measure_usual(world)))


if __name__ == "__main__":
    main()
