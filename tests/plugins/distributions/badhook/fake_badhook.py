from neurobench_grasp import ModelSpec, hookimpl


@hookimpl
def ngb_modles():
    yield ModelSpec("never", build=lambda seed: None, summary="a typing error in the hook's name")
