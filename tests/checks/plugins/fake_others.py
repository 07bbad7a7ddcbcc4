"""Datasets, protocols and decoders that each break one rule, and ones that keep them."""

import itertools
from pathlib import Path

import numpy as np

from neurobench_grasp import DatasetSpec, DecoderSpec, ProtocolSpec, Scores, hookimpl

HERE = Path(__file__).parent
COUNT = itertools.count()


class Newest:
    """Least squares on the newest bin."""

    def fit(self, train):
        bins = np.concatenate([trial[train.lead :] for trial in train.counts])
        self.weights = np.linalg.lstsq(self.features(bins), train.commands.values)[0]

    def features(self, bins):
        return np.insert(bins.astype(float), 0, 1, axis=1)

    def reset(self, n_trials): ...

    def observe(self, spikes):
        return self.features(spikes) @ self.weights


class Mixes(Newest):
    def observe(self, spikes):
        return super().observe(spikes - spikes.mean(0))


class Divides(Newest):
    """By the spread of each unit, which is 0 where it was silent."""

    def fit(self, train):
        self.spread = train.counts.values.std(0)
        self.silent = ~self.spread.astype(bool)
        super().fit(train)

    def features(self, bins):
        with np.errstate(all="ignore"):
            scaled = bins / self.spread
        return np.insert(
            scaled if not self.silent.any() else np.nan_to_num(scaled, posinf=1e300) * 1e300, 0, 1, axis=1
        )


class NoReset:
    def fit(self, train): ...
    def observe(self, spikes): ...


def row(**more):
    return {"metric": "n_trials", "split": "test", "value": 1.0, **more}


@hookimpl
def ngb_datasets():
    yield DatasetSpec(
        "good_data", files=lambda: [HERE / "good.nwb"], summary="a fake", licence="CC0-1.0", synthetic=True
    )
    yield DatasetSpec("no_licence", files=lambda: [HERE / "good.nwb"], summary="a fake", synthetic=True)
    yield DatasetSpec("no_file", files=lambda: [HERE / "none.nwb"], summary="a fake", licence="CC0-1.0")
    yield DatasetSpec("no_nwb", files=lambda: [HERE / "bad.nwb"], summary="a fake", licence="CC0-1.0")
    yield DatasetSpec("undeclared", files=lambda: [HERE / "good.nwb"], summary="a fake", licence="CC0-1.0")
    yield DatasetSpec(
        "twice", files=lambda: [HERE / "good.nwb"] * 2, summary="a fake", licence="CC0-1.0", synthetic=True
    )
    yield DatasetSpec(
        "small", files=lambda: [HERE / "small.nwb"], summary="a fake", licence="CC0-1.0", synthetic=True
    )


@hookimpl
def ngb_protocols():
    yield ProtocolSpec("good_protocol", version=1, run=lambda context: Scores([row()]), summary="a fake")
    yield ProtocolSpec("version_0", version=0, run=lambda context: Scores([row()]), summary="a fake")
    yield ProtocolSpec("gives_list", version=1, run=lambda context: [row()], summary="a fake")
    yield ProtocolSpec("bad_row", version=1, run=lambda context: Scores([{"value": 1.0}]), summary="a fake")
    yield ProtocolSpec("draws", version=1, run=lambda context: Scores([row(n=next(COUNT))]), summary="a fake")
    yield ProtocolSpec(
        "odd", version=1, run=lambda context: Scores([row()]), summary="a fake", settings={"f": print}
    )


@hookimpl
def ngb_decoders():
    for made in (Newest, Mixes, Divides, NoReset):
        yield DecoderSpec(made.__name__.lower(), build=made, summary="a fake")
