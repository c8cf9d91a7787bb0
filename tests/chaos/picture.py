"""The picture of a soak, as PNG: what each process held over time, a panel for each figure. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from matplotlib import colormaps
from matplotlib.figure import Figure

from deploy.load.plots import kept
from tests.chaos.samples import Sample

_FIGURES: Final = ("memory", "files", "tasks", "bindings", "sessions", "keys", "lasting-keys", "messages")
_MIB: Final = 2**20


def plot_samples(samples: Sequence[tuple[float, Sample]], path: Path) -> None:
    """Draw samples, each with the seconds at which it was taken, into a file. Raises `OSError`."""
    picture = Figure(figsize=(11, 2.2 * len(_FIGURES)), layout="constrained")
    panels = picture.subplots(len(_FIGURES), 1, sharex=True)
    colours = [colormaps["tab20"](number) for number in range(20)]
    for panel, figure in zip(panels, _FIGURES, strict=True):
        panel.set_prop_cycle(color=colours)
        names = sorted({name for _, one in samples for name in one if name.endswith(f" {figure}")})
        most = 0.0
        for name in names:
            points = [(at / 60, one[name] / (_MIB if figure == "memory" else 1)) for at, one in samples if name in one]
            most = max(most, *(value for _, value in points))
            panel.plot([at for at, _ in points], [value for _, value in points], label=name.rpartition(" ")[0])
        panel.set_ylabel(f"{figure}, MiB" if figure == "memory" else figure)
        panel.set_ylim(bottom=0, top=1.1 * most or 1)
        if names:
            panel.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=7)
    panels[-1].set_xlabel("minutes")
    kept(picture, path)
