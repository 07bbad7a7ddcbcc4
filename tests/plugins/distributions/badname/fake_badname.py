from neurobench_grasp import ModelSpec, hookimpl


@hookimpl
def ngb_models():
    yield ModelSpec("../../etc/passwd", build=lambda seed: None, summary="a fake")
