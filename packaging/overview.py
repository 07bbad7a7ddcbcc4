"""Draw the picture of README.md from what commands wrote and from the reviewed records.

After ``ngb render --model muscle_ppo --to hand.gif`` and ``ngb figures --model muscle_ppo --seed 0``::

    python packaging/overview.py hand.gif ngb-runs/figures/units.csv docs/images/overview.png
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from neurobench_grasp.plots.style import BLACK, BLUE, GREY, VERMILION
from neurobench_grasp.records.record import read_records
from neurobench_grasp.records.table import tables_of

RESULTS = Path(__file__).resolve().parents[1] / "registry/results"
MOMENT = 0.53
"""Of the video."""
AREA, MODELS = "M1", ("muscle_ppo", "torque_ppo")
REFERENCES = {
    "linear_kinematic": "recorded movement",
    "untrained": "untrained network",
    "phase_mean": "mean time course",
}
N_COLOURS = 96


def main(video: str, units: str, picture: str) -> None:
    """Draw hand, neurons and board side by side."""
    figure = Figure(figsize=(10.4, 3.3), dpi=130)
    hand(figure.add_axes((0.0, 0.06, 0.34, 0.80)), Path(video))
    neurons(figure, pd.read_csv(units))
    board(figure.add_axes((0.79, 0.2, 0.2, 0.66)))
    for x, title in (
        (0.01, "a simulated hand replays a movement"),
        (0.38, "its network predicts neurons"),
        (0.69, "models are ranked"),
    ):
        figure.text(x, 0.93, title, size=11, weight="bold")
    figure.text(
        0.99, 0.02, "muscle_ppo on the synthetic dataset demo, a self-test", ha="right", size=7, color=GREY
    )
    figure.savefig(picture)
    Image.open(picture).convert("RGB").quantize(N_COLOURS).save(picture, optimize=True)


def hand(axes: Any, video: Path) -> None:
    """Show one moment: the recorded hand beside the simulated one."""
    with Image.open(video) as frames:
        frames.seek(int(MOMENT * frames.n_frames))
        frame = frames.convert("RGB")
    width, height = frame.size
    axes.imshow(frame.crop((60, 85, width - 60, height - 25)))
    axes.axis("off")
    axes.text(0.2, 1.0, "recorded", color=BLUE, size=9, ha="center", transform=axes.transAxes)
    axes.text(0.72, 1.0, "simulated", color=VERMILION, size=9, ha="center", transform=axes.transAxes)


def neurons(figure: Figure, rates: pd.DataFrame) -> None:
    """Show the 90th-percentile unit of each area in one trial of a held-out object."""
    best = rates[(rates["shown"] == "trial") & (rates["percentile"] == rates["percentile"].max())]
    for k, (area, found) in enumerate(best.groupby("area")):
        axes = figure.add_axes((0.405, 0.57 - 0.37 * k, 0.24, 0.28))
        one = found[found["trial"] == found["trial"].iloc[0]]
        axes.plot(one["time_s"], one["recorded_spikes_per_s"], color=BLACK, linewidth=1, label="recorded")
        axes.plot(one["time_s"], one["predicted_spikes_per_s"], "--", color=VERMILION, label="predicted")
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=7)
        axes.set_ylabel(f"{area}, spikes/s", size=8)
        if k == 0:
            axes.legend(fontsize=7, frameon=False, loc="upper right", borderaxespad=0)
    axes.set_xlabel("time in a trial of a new object (s)", size=8)


def board(axes: Any) -> None:
    """Show the variance that models and references explain on objects never seen, and the ceiling."""
    bars = []
    for model in MODELS:
        (records,) = (p for p in RESULTS.glob(f"{model}-*/records") if [*p.glob("*-demo-encoding-*")])
        (scored,) = (
            t
            for t in tables_of(read_records([records])[0], records)
            if t.first.record.protocol["name"] == "encoding"
        )
        rows = {
            (row["metric"], row.get("of", ""), row.get("reference", "")): row
            for row in scored.mean_rows
            if row.get("area") == AREA
            and row.get("split") == "ood"
            and not {"session", "subject", "layer"} & set(row)
        }
        bars.append((model, rows["single_trial_ev", "", ""]))
        if model == MODELS[0]:
            bars += [(label, rows["single_trial_ev", "", name]) for name, label in REFERENCES.items()]
            ceiling = rows["ceiling", "single_trial_ev", ""]["value"]
    bars.sort(key=lambda bar: bar[1]["value"])
    for y, (label, row) in enumerate(bars):
        low, high = row["ci"]
        axes.barh(y, row["value"], color=VERMILION if label == MODELS[0] else "0.75", height=0.7)
        axes.plot([low, high], [y, y], color=BLACK, linewidth=1)
    axes.axvline(ceiling, color=BLACK, linestyle=":", linewidth=1)
    axes.text(ceiling, len(bars) - 0.45, "ceiling", size=7, ha="center")
    axes.set_yticks(range(len(bars)), [label for label, _ in bars], size=8)
    axes.tick_params(axis="x", labelsize=7)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel(f"variance explained in {AREA}, new objects", size=8, x=0.3)


if __name__ == "__main__":
    main(*sys.argv[1:])
