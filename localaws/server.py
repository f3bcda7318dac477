"""The server: moto with our services before it, on loopback."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable

from moto.core.base_backend import BackendDict
from moto.core.config import default_user_config
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from localaws.background import Background
from localaws.budgets import Budgets
from localaws.comprehend.service import Comprehend
from localaws.faults import Faults
from localaws.gateway import Gateway
from localaws.lambda_.service import Lambda
from localaws.processes import Children
from localaws.s3 import S3
from localaws.sagemaker.containers import Host
from localaws.sagemaker.hosting import Endpoint, Hosting, Runtime
from localaws.sagemaker.resources import Resources
from localaws.sagemaker.training import TrainingJob, TrainingJobs
from localaws.service_quotas import ServiceQuotas
from localaws.settings import Settings
from localaws.stepfunctions import StepFunctions

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
NOTICE = """\
This is a stand-in for AWS on %s, nothing of it is Amazon's. What it cannot show, only the real AWS
can: whether the IAM policies allow what is done (nothing is enforced here), true latencies and cold
starts, quotas, costs, and how well Amazon's own model classifies (here a small scikit-learn model
stands in for it). AWS's own tools find it by AWS_ENDPOINT_URL=%s, with any credentials."""


class _Handler(WSGIRequestHandler):
    # Head and body of an answer are two packets; Nagle's algorithm would delay the second by 40 ms.
    disable_nagle_algorithm = True

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Leave the log to the gateway, which knows operations."""


class Server:
    """The local AWS in this process; moto's state is global, so a process has one at most.

    Args:
        settings: Durations, images.
        port: TCP port; 0 takes a free one.
    """

    def __init__(self, settings: Settings, port: int = 0) -> None:
        self._background = Background(settings)
        self._children = Children()
        self._faults = Faults()
        self._http: BaseWSGIServer = make_server(
            HOST,
            port,
            DomainDispatcherApplication(create_backend_app),
            threaded=True,
            request_handler=_Handler,
        )
        self.url = f"http://{HOST}:{self._http.server_port}"
        os.environ["MOTO_PORT"] = str(self._http.server_port)  # where moto finds itself
        default_user_config["stepfunctions"] = {"execute_state_machine": True}
        self._budgets = Budgets()
        self._comprehend = Comprehend(settings, self._faults, self._background)
        self._lambda = Lambda(self._background, self._children, self.url)
        self._sagemaker = Resources()
        sagemaker = (
            self._sagemaker,
            settings,
            self._faults,
            self._background,
            Host(settings, self._children, self.url),
        )
        self._http.app = Gateway(
            self._http.app,
            [
                ("budgets", self._budgets),
                ("comprehend", self._comprehend),
                ("lambda", self._lambda),
                ("s3", S3(self._faults)),
                ("sagemaker", self._sagemaker),
                ("sagemaker", TrainingJobs(*sagemaker)),
                ("sagemaker", Hosting(*sagemaker)),
                ("sagemaker-runtime", Runtime(self._sagemaker)),
                ("service-quotas", ServiceQuotas(self._sagemaker, settings)),
                ("stepfunctions", StepFunctions(settings)),
            ],
            settings,
            self._faults,
            crash=self._lambda.crash,
            reset=self._reset,
        )

    def serve(self, ready: Callable[[str], None]) -> None:
        """Serve until :meth:`shutdown`.

        Args:
            ready: Called with the URL when requests are taken.
        """
        log.warning(NOTICE, self.url, self.url)
        ready(self.url)
        try:
            self._http.serve_forever()
        finally:
            self._background.stopping.set()
            self._faults.clear()
            self._children.close()

    def shutdown(self) -> None:
        """Make :meth:`serve` return; may be called from any thread but its own."""
        self._http.shutdown()

    def _reset(self) -> None:
        self._budgets.reset()
        self._comprehend.reset()
        self._lambda.reset()
        for resource in self._sagemaker.clear():
            if isinstance(resource, (Endpoint, TrainingJob)) and resource.container:
                resource.container.stop()
        BackendDict.reset()
