from neurobench_grasp import ModelSpec, hookimpl


@hookimpl
def ngb_models():
    ModelSpec("never", build=lambda seed: None, summary="forgot to yield")
