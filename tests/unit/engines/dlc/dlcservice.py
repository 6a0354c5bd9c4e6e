"""A service that speaks the published REST calls of PAI-DLC (2020-12-03), and runs what it is given as processes here.

CreateJob, ListJobs, GetJob, GetPodLogs, StopJob. A job runs as soon as it is made; a test may set its status and
reasons instead, as the cluster would.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import subprocess
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

REQUIRED = ("DisplayName", "JobSpecs", "JobType", "UserCommand")
LARGEST_PAGE = 100
CREATED = "2026-11-28T10:00:00Z"


@dataclass
class ServedJob:
    """A job, as CreateJob made it; ``told`` are the fields that a test has set."""

    id: str
    body: dict
    process: subprocess.Popen | None = None
    told: dict = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    is_stopped: bool = False
    reader: threading.Thread | None = None

    def state(self) -> dict:
        if self.told:
            return self.told
        if self.is_stopped:
            return {"Status": "Stopped", "ReasonCode": "JobStoppedByUser", "ReasonMessage": "Job is stopped by user."}
        code = self.process.poll() if self.process else None
        if code is None:
            return {"Status": "Running" if self.process else "Queuing"}
        self.reader.join()
        if code == 0:
            return {"Status": "Succeeded", "ReasonCode": "JobSucceeded", "ReasonMessage": "Job succeeded"}
        return {
            "Status": "Failed",
            "ReasonCode": "JobFailed",
            "ReasonMessage": f"pod failed with exit code {code % 256}",
        }

    def as_json(self, *, detail: bool) -> dict:
        pods = [{"PodId": f"{self.id}-master-0", "Status": "Running", "NodeName": "node-1", "Type": "master"}]
        fields = {"JobId": self.id, "DisplayName": self.body["DisplayName"], "GmtCreateTime": CREATED} | self.state()
        fields |= {"WorkspaceId": self.body.get("WorkspaceId")}
        return fields | ({"Pods": pods, "UserCommand": self.body["UserCommand"]} if detail else {})


class Service:
    """The service and what it was asked.

    ``refusals`` are answers (status, code) for the next calls of an action, None for its own; ``lost`` are actions,
    call by call, whose answers never arrive though they were carried out.
    """

    def __init__(self) -> None:
        self.jobs: dict[str, ServedJob] = {}
        self.asked: list[tuple[str, str, dict, str]] = []
        self.refusals: dict[str, list[tuple[int, str] | None]] = {}
        self.lost: list[str] = []
        self.runs = self.chooses = True
        self.newest_listed = True
        self._ids = itertools.count(1)
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = 1 << 16  # an answer is one packet: the second of two would wait 40 ms

            def do_GET(self):
                service.answer(self)

            do_POST = do_GET  # noqa: N815 - as http.server has it

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.endpoint = f"127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        for job in self.jobs.values():
            if job.process is not None and job.process.poll() is None:
                os.killpg(job.process.pid, signal.SIGKILL)
            if job.process is not None:
                job.process.wait()
                job.reader.join()

    def take_away(self, job_id: str, code: str, message: str) -> None:
        """End a job as the cluster does that wants its machine: nothing is asked of it."""
        job = self.jobs[job_id]
        os.killpg(job.process.pid, signal.SIGKILL)
        job.process.wait()
        job.told = {"Status": "Stopped", "ReasonCode": code, "ReasonMessage": message}

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(handler.path)
        words = {key: values[0] for key, values in parse_qs(parts.query).items()}
        if length := int(handler.headers.get("content-length") or 0):
            text = handler.rfile.read(length)
            words |= json.loads(text)
        action = handler.headers["x-acs-action"]
        signed = handler.headers.get("Authorization", "")
        self.asked.append((action, parts.path, words, signed))
        status, body = self._answer(action, [unquote(part) for part in parts.path.split("/")[1:]], words, signed)
        if self.lost and self.lost.pop(0) == action:
            handler.close_connection = True
            return
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        handler.send_response(status)
        handler.send_header("content-type", "application/json")
        handler.send_header("content-length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    def _answer(self, action: str, path: list[str], words: dict, signed: str) -> tuple[int, dict | bytes]:
        if (refusals := self.refusals.get(action)) and (refusal := refusals.pop(0)):
            status, code = refusal
            return status, b"<html>Bad gateway" if code == "html" else error(code)
        if "Credential=the-id" not in signed:
            return 403, error("InvalidAccessKeyId.NotFound")
        match action, path[3:]:
            case "CreateJob", []:
                return self._create(words)
            case "ListJobs", []:
                return 200, self._list(words)
            case _, [job_id, *_] if job_id not in self.jobs:
                return 404, error("JobNotExists")
            case "GetJob", [job_id]:
                return 200, self.jobs[job_id].as_json(detail=True)
            case "GetPodLogs", [job_id, "pods", pod, "logs"] if pod == f"{job_id}-master-0":
                lines = self.jobs[job_id].lines
                return 200, {"JobId": job_id, "PodId": pod, "Logs": lines[: int(words.get("MaxLines", 2000))]}
            case "StopJob", [job_id, "stop"]:
                return self._stop(self.jobs[job_id])
        return 404, error("InvalidAction")

    def _create(self, body: dict) -> tuple[int, dict]:
        missing = [key for key in REQUIRED if not body.get(key)]
        if missing or not re.fullmatch(r"[A-Za-z0-9_.-]{1,256}", body["DisplayName"]):
            return 400, error(f"InvalidParameter.{missing[0] if missing else 'DisplayName'}")
        job = ServedJob(f"dlc{next(self._ids):013d}", body)
        if self.runs:
            job.process = subprocess.Popen(
                ["sh", "-c", body["UserCommand"]],
                env={"PATH": os.environ["PATH"]} | body.get("Envs", {}),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
            job.reader = threading.Thread(target=_read, args=(job,))
            job.reader.start()
        self.jobs[job.id] = job
        return 200, {"JobId": job.id, "RequestId": "r"}

    def _list(self, words: dict) -> dict:
        chosen = [job for job in self.jobs.values() if self.newest_listed or job is not [*self.jobs.values()][-1]]
        if "JobIds" in words and self.chooses:
            chosen = [job for job in chosen if job.id in words["JobIds"].split(",")]
        if "DisplayName" in words:
            chosen = [job for job in chosen if words["DisplayName"].lower() in job.body["DisplayName"].lower()]
        size, page = min(int(words.get("PageSize", 10)), LARGEST_PAGE), int(words.get("PageNumber", 1))
        shown = chosen[(page - 1) * size : page * size]
        return {"Jobs": [job.as_json(detail=False) for job in shown], "TotalCount": len(chosen), "RequestId": "r"}

    def _stop(self, job: ServedJob) -> tuple[int, dict]:
        if job.state()["Status"] in ("Succeeded", "Failed", "Stopped"):
            return 400, error("JobStatusNotAllowed")
        job.is_stopped = True
        if job.process is not None:
            os.kill(job.process.pid, signal.SIGTERM)
        return 200, {"JobId": job.id, "RequestId": "r"}


def _read(job: ServedJob) -> None:
    with job.process.stdout as lines:
        job.lines.extend(line.rstrip("\n") for line in lines)


def error(code: str) -> dict:
    return {"Code": code, "Message": f"said of {code}", "RequestId": "r"}
