from neurobench_grasp import hookimpl


@hookimpl
def ngb_models():
    yield {"name": "a_dict"}
