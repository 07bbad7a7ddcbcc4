from neurobench_grasp import DatasetSpec, hookimpl


@hookimpl
def ngb_models():
    yield DatasetSpec("a_dataset", files=lambda: [], summary="in the wrong hook")
