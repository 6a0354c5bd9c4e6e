"""Ray's own client of its Jobs API, as careful as a launch must be: it never waits for ever, and says what is wrong.

Ray is imported when the first question is asked, and by nobody who has no job on it.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pytest_evalrun.engines.protocol import ClusterAway
from pytest_evalrun.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

# Ray's client waits for an answer for as long as it takes: for ever, where a machine is gone without a word.
ANSWER_SECONDS = 30.0
# Its variables, the strongest first: both are stronger than what its functions are called with.
VARIABLES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")


def address_of(option: str | None) -> str:
    """Say which cluster is meant: by ``--eval-ray-address``, else as Ray itself finds out. Raises ConfigError."""
    found = [option, *(os.environ.get(name) for name in VARIABLES)]
    address = next(filter(None, found), None)
    if address is None:
        raise ConfigError(
            "--eval-engine ray: found no address of a cluster; accepted: --eval-ray-address http://HEAD:8265 (where "
            "Ray's dashboard is), or RAY_ADDRESS in the environment"
        )
    return address


def connected(address: str) -> Any:
    """Connect: a ``JobSubmissionClient``. Raises ConfigError where there is no Ray, here or at the address."""
    try:
        from ray.job_submission import JobSubmissionClient
    except ImportError as error:
        raise ConfigError(f'--eval-engine ray needs Ray here ({error}): pip install "pytest-evalrun[ray]"') from None

    class Client(JobSubmissionClient):  # type: ignore[misc]
        """All of its questions go through one method."""

        def _do_request(self, method: str, endpoint: str, **words: Any) -> Any:
            try:
                response = super()._do_request(method, endpoint, **{"timeout": ANSWER_SECONDS} | words)
            except Exception as error:  # noqa: BLE001 - the network, and a token that is none any more
                raise ClusterAway(f"Ray at {address} does not answer: {inmost(error)}") from None
            # What it has refused comes with the same number as what it could not do.
            if response.status_code >= 500 and not last_line(response.text).startswith(("ValueError", "TypeError")):
                raise ClusterAway(f"Ray at {address} cannot answer now: {last_line(response.text)}")
            return response

        def cluster_status(self) -> Any:
            return self._do_request("GET", "/api/cluster_status").json()["data"]["clusterStatus"]

    try:
        with meant(address):
            return Client(address)
    except Exception as error:  # noqa: BLE001 - Ray raises whatever it finds on its way to an address
        why = inmost(error) if isinstance(error, ClusterAway) else " ".join(str(error).split()).rstrip(".")
        raise ConfigError(
            f"--eval-engine ray: found no cluster at {address}: {why}; accepted: where Ray's dashboard is, "
            "as in --eval-ray-address http://HEAD:8265, or RAY_ADDRESS, and `ray start --head` run there"
        ) from None


def machines(client: Any) -> list[dict[str, float]]:
    """Give what each machine has, by Ray's names of resources. Raises ClusterAway."""
    from ray.util.state import list_nodes

    address = client.get_address()
    try:
        with meant(address):
            nodes = list_nodes(address=address, limit=10_000, timeout=int(ANSWER_SECONDS))
    except Exception as error:  # noqa: BLE001 - likewise
        raise ClusterAway(f"Ray at {address} does not say which machines it has: {plain(error)}") from None
    return [node.resources_total or {} for node in nodes if node.state == "ALIVE"]


def never_grows(client: Any) -> bool:
    """Whether the cluster is what it is: True only where its own report names no kind of machine to be added."""
    try:
        report = client.cluster_status()["autoscalerReport"]
        kinds = report["nodeTypeMapping"].items()
        return not report["pendingLaunches"] and all(kind == f"node_{node}" for node, kind in kinds)
    except (ValueError, KeyError, TypeError, AttributeError):
        return False


@contextmanager
def meant(address: str) -> Iterator[None]:
    """Within it, Ray's functions go to this address, whatever its variables say."""
    before = {name: os.environ.get(name) for name in VARIABLES}
    os.environ.update(dict.fromkeys(VARIABLES, address))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def plain(error: Exception) -> str:
    return last_line(str(error)) or type(error).__name__


def inmost(error: Exception) -> str:
    """What is wrong, without all whose fault it is not: errors of a connection name each that passed them on."""
    return plain(error).rpartition(": ")[2].strip("'\") ") or plain(error)


def last_line(text: str) -> str:
    """Of a traceback what matters; Ray ends some of its messages with a full stop in a line of its own."""
    lines = [line.strip() for line in text.splitlines() if line.strip(" .")]
    return lines[-1] if lines else ""
