"""Errors that users can act on: each message states what happened, where, and what to do next."""


class NgbError(Exception):
    """Something the user can fix; the command line prints it as one sentence and exits with 1."""


class CorruptFileError(NgbError):
    """A file is damaged, truncated or not of the type its name implies."""


class UnsafeFileError(NgbError):
    """A file reaches outside itself or asks for unreasonable resources; nothing of it was read."""


class LayoutError(NgbError):
    """A file does not have the parts that a layout looks for."""


class PluginError(NgbError):
    """A plugin cannot be loaded, or clashes with another."""


class UnknownNameError(NgbError):
    """A model, dataset, protocol or layout of that name is not registered."""


class MissingNetworkError(NgbError):
    """A trained network is needed and does not exist.

    Parameters
    ----------
    message : str
    model : str, optional
        Name of the model that ``ngb train`` would train. Default: the one that is scored.
    """

    def __init__(self, message: str, model: str = "") -> None:
        super().__init__(message)
        self.model = model


class UnsupportedError(NgbError):
    """Model, dataset and protocol are incompatible; the message states why."""
