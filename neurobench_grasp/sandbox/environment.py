"""Environment variables of subprocesses: an allow-list, so that no token, key or credential reaches them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

KEPT = (
    "PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "PYTHONPATH",
    "PYTHONHOME", "NGB_CACHE", "NGB_CORES", "NGB_DISABLE_PLUGINS", "XDG_CACHE_HOME", "CUDA_VISIBLE_DEVICES",
    "MUJOCO_GL", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS",
)  # fmt: skip
"""Of Python, of this package, and of the libraries that it uses; not the path of HDF5 plugins."""

NETWORK = (
    "http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "ALL_PROXY", "no_proxy", "NO_PROXY",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE",
)  # fmt: skip
INSTALLER = (
    *NETWORK, "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX", "PIP_TRUSTED_HOST",
    "PIP_PROXY", "PIP_CERT", "PIP_CONFIG_FILE", "PIP_CACHE_DIR", "PIP_NO_CACHE_DIR", "PIP_TIMEOUT",
    "PIP_DEFAULT_TIMEOUT", "PIP_RETRIES", "PIP_PRE", "PIP_NO_BINARY", "PIP_ONLY_BINARY", "PIP_PREFER_BINARY",
    "CC", "CXX", "CFLAGS", "CXXFLAGS", "LDFLAGS", "CPATH", "LIBRARY_PATH", "PKG_CONFIG_PATH",
    "MACOSX_DEPLOYMENT_TARGET",
)  # fmt: skip
"""For pip and compilers: from where packages come, not which, nor where to."""

CREDENTIALS = re.compile(r"(^|//|\s)[^\s/]*@")
"""User name or password in an address."""


def child_environment(*more: str, **own: str) -> Mapping[str, str]:
    """Return the variables of a subprocess: those kept, ``more`` of these, and its own ones.

    A variable whose addresses contain a user name or password is left out.
    """
    found = {name: os.environ[name] for name in (*KEPT, *more) if name in os.environ}
    return {k: v for k, v in found.items() if k in KEPT or not CREDENTIALS.search(v)} | own
