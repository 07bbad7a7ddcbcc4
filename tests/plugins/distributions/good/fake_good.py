from neurobench_grasp import DatasetSpec, DecoderSpec, ModelCard, ModelSpec, ProtocolSpec, Scores, hookimpl

CARD = ModelCard(
    licence="CC0-1.0",
    authors=("A. Author",),
    citation="",
    action_space="none",
    training_data=("dandi:000128",),
    parameters=0,
    steps=0,
    compute="none",
    seeds=(),
    simulator="none",
)


@hookimpl
def ngb_models():
    yield ModelSpec("fake_model", build=lambda seed: None, summary="a fake", card=CARD)


@hookimpl
def ngb_datasets():
    return [DatasetSpec("fake_data", files=lambda: [], summary="nothing", licence="CC0", synthetic=True)]


def count(context):
    return Scores([{"metric": "n_trials", "split": "test", "value": len(context.sessions[0].trials)}])


@hookimpl
def ngb_protocols():
    yield ProtocolSpec("fake_protocol", version=3, run=count, summary="counts trials")


@hookimpl
def ngb_decoders():
    yield DecoderSpec("fake_decoder", build=lambda: None, summary="rests")
