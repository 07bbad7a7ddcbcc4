"""The protocol ``behaviour_gru``: an upper reference for models that are scored by ``encoding``.

A recurrent network from recorded behaviour to the rates of these very units is trained on their training
trials: how far does any model of behaviour get? It sees neurons in training, so it is a reference and never a
candidate.
"""

from dataclasses import asdict

from neurobench_grasp import ProtocolSpec, hookimpl
from neurobench_grasp.protocols.settings import ENCODING
from ngb_behaviour_gru.settings import GRU, NAME


def _run(context):
    from ngb_behaviour_gru.protocol import run  # torch; listing must stay fast

    return run(context)


@hookimpl
def ngb_protocols():
    """Offer the protocol."""
    yield ProtocolSpec(
        NAME,
        version=1,
        run=_run,
        summary="encoding beside a GRU on behaviour that is trained on these units; on request",
        settings={**asdict(ENCODING), **asdict(GRU)},
    )
