from neurobench_grasp import DatasetSpec, DecoderSpec, ModelSpec, ProtocolSpec, Scores, hookimpl


@hookimpl
def ngb_models():
    yield ModelSpec("fake_model", build=lambda seed: None, summary="a fake", card={"licence": "CC0"})


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
