"""The calls of DLC's API, by Alibaba's SDK: who asks where, how long, and what its errors mean."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from pytest_evalrun.engines.protocol import ClusterAway
from pytest_evalrun.errors import ConfigError, EvalrunError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_evalrun.engines.dlcconfig import Access

CONNECT_MS, READ_MS = 5_000, 20_000
PAGE = 50  # jobs in an answer, and ids in a question
NOT_THERE = 404
TOO_MANY = 429
FAULTS = 500  # of the service, and above
# Nobody's fault but the clock's or the rate's: to be asked again.
PASSING = ("Throttling", "ServiceUnavailable", "InternalError", "RequestTimeout")


class DlcRefusedError(EvalrunError):
    """The service has understood, and says no; ``status`` is that of HTTP."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


class DlcCalls:
    """A connection to the service. Raises ConfigError where the SDK is missing, or finds nobody to ask as.

    Every call raises ClusterAway where there is no answer now, and DlcRefusedError where the answer is no.
    """

    def __init__(self, access: Access, file: str) -> None:
        try:
            from alibabacloud_pai_dlc20201203 import models
            from alibabacloud_pai_dlc20201203.client import Client
            from alibabacloud_tea_openapi.utils_models import Config
        except ModuleNotFoundError as error:
            raise ConfigError(
                f"--eval-engine dlc needs Alibaba's SDK, and {error.name} is missing: pip install 'pytest-evalrun[dlc]'"
            ) from None
        self.models = models
        self._client = Client(
            Config(
                access_key_id=access.access_id,
                access_key_secret=access.access_key,
                security_token=access.security_token,
                credential=None if access.access_id and access.access_key else _own_chain(file),
                endpoint=access.endpoint,
                region_id=access.region or _region(access, file),
                protocol=access.protocol or "https",
                connect_timeout=CONNECT_MS,
                read_timeout=READ_MS,
                user_agent="pytest-evalrun",
            )
        )

    def create(self, request: Any) -> str:
        """Make a job, and give its id."""
        return str(_asked(lambda: self._client.create_job(request)).job_id)

    def jobs(self, **words: Any) -> Iterator[Any]:
        """Give all jobs that ``words`` of ListJobs choose, page by page."""
        page, seen = 1, 0
        while True:
            request = self.models.ListJobsRequest(page_number=page, page_size=PAGE, **words)
            body = _asked(partial(self._client.list_jobs, request))
            yield from body.jobs or []
            page, seen = page + 1, seen + len(body.jobs or [])
            if not body.jobs or seen >= (body.total_count or 0):
                return

    def job(self, job_id: str) -> Any | None:
        """Give one job with its pods; None where the service knows none of that id."""
        try:
            return _asked(lambda: self._client.get_job(job_id, self.models.GetJobRequest()))
        except DlcRefusedError as refused:
            if refused.status == NOT_THERE:
                return None
            raise

    def log(self, job_id: str, pod_id: str, most: int) -> list[str]:
        """Give the lines that a pod has written, no more than ``most``."""
        request = self.models.GetPodLogsRequest(max_lines=most)
        return [*(_asked(lambda: self._client.get_pod_logs(job_id, pod_id, request)).logs or [])]

    def stop(self, job_id: str) -> None:
        _asked(lambda: self._client.stop_job(job_id))


def _own_chain(file: str) -> Any:
    """Let the SDK find who asks: variables, the files of Alibaba's tools, the role of a machine."""
    from alibabacloud_credentials.client import Client
    from alibabacloud_credentials.exceptions import CredentialException

    try:
        client = Client()
        client.get_credential()
    except CredentialException as error:
        raise ConfigError(
            f"--eval-engine dlc: the SDK finds no access key: {error}; set ALIBABA_CLOUD_ACCESS_KEY_ID and "
            f"ALIBABA_CLOUD_ACCESS_KEY_SECRET, or name the file of the tool dlc as dlc_config_path in {file}"
        ) from None
    return client


def _region(access: Access, file: str) -> str | None:
    import os

    region = os.environ.get("ALIBABA_CLOUD_REGION_ID")
    if not region and not access.endpoint:
        raise ConfigError(
            f"{file}: endpoint and region are missing, and ALIBABA_CLOUD_REGION_ID is not set; accepted: one of them, "
            "as in `region: cn-hangzhou`, or dlc_config_path with a file that has one"
        )
    return region


def _asked(call: Callable[[], Any]) -> Any:
    """Give the body of an answer."""
    from alibabacloud_credentials.exceptions import CredentialException
    from alibabacloud_tea_openapi.exceptions import AlibabaCloudException, ThrottlingException

    try:
        return call().body
    except ThrottlingException as error:
        raise ClusterAway(f"DLC: too many questions: {error.message}") from None
    except AlibabaCloudException as error:
        status, code = int(error.status_code or 0), str(error.code)
        if status >= FAULTS or status == TOO_MANY or code.startswith(PASSING):
            raise ClusterAway(f"DLC: {code}: {error.message}") from None
        raise DlcRefusedError(f"{code}: {error.message}", status) from None
    except CredentialException as error:
        raise ClusterAway(f"DLC: no access key at present: {error}") from None
    except _no_answer() as error:
        raise ClusterAway(f"DLC does not answer: {error}") from None


def _no_answer() -> tuple[type[Exception], ...]:
    """What the SDK raises for a connection that fails, and for an answer that is no JSON, as a proxy's page is."""
    from darabonba.exceptions import DaraException, RetryError, UnretryableException

    return DaraException, RetryError, UnretryableException, OSError, ValueError, AttributeError
