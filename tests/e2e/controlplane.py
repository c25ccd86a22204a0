"""A real Kubernetes control plane on loopback, without containers or nodes: etcd, kube-apiserver, kubectl.

Everything runs from one temporary folder and ends with it. The API server keeps the defaults of its release: its
feature gates, its admission plugins, its field validation. There are no nodes, so pods stay Pending; with
``controllers=True`` Deployments make ReplicaSets and Pods as they do in a cluster.

Example:
    >>> with ControlPlane(audit=True) as plane:
    ...     files = plane.serving_certificate(["127.0.0.1"])
    ...     plane.install_webhook("gate", "https://127.0.0.1:8443/v1/admit/production", files.ca_pem)
    ...     plane.kubeconfig_for("alice", ["developers"])
    ...     plane.grant("alice", "edit")
    ...     plane.kubectl("apply", "-f", "-", stdin=manifest, user="alice")
    ...     plane.wait_for_audit_event(lambda event: event["user"]["username"] == "alice")
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from tests.e2e import access
from tests.e2e.apiclient import ApiClient, ControlPlaneError
from tests.e2e.authority import Authority, CertificateFiles, write_rsa_key
from tests.e2e.processes import Process, clean_environment, hold_port, poll_until, program_path
from tests.e2e.registration import WORKLOAD_RESOURCES, Registration, workload_rules

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

START_TIMEOUT_S: Final = 60.0
ADMIN_GROUP: Final = "system:masters"

_AUDIT_POLICY: Final = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {
            "level": "Metadata",
            "verbs": ["create", "update", "patch"],
            "resources": [
                *({"group": group, "resources": list(resources)} for group, resources in WORKLOAD_RESOURCES.items()),
                {"group": "", "resources": ["namespaces", "namespaces/status", "namespaces/finalize"]},
            ],
        },
        {"level": "None"},
    ],
}


class ServingCertificate(NamedTuple):
    """What a TLS server of the tests needs, and what its callers have to trust."""

    cert_path: Path
    key_path: Path
    ca_pem: bytes


class ControlPlane:
    """etcd and kube-apiserver, ready inside the ``with`` block and gone after it.

    Attributes:
        url: address of the API server.
        folder: where certificates, settings, data and logs are.
        authority: the certificate authority of everything here.
        api: the API server as the administrator sees it, for what kubectl is too slow for.
    """

    def __init__(
        self,
        *,
        audit: bool = False,
        controllers: bool = False,
        webhook_client: str | None = None,
        apiserver_arguments: Sequence[str] = (),
        controller_arguments: Sequence[str] = (),
        folder: Path | None = None,
    ) -> None:
        """Describe the control plane; nothing runs before the ``with`` block.

        Args:
            audit: log writes to workloads and namespaces (level Metadata, which carries the annotations).
            controllers: also run kube-controller-manager.
            webhook_client: common name of a client certificate that the API server shows to webhooks (mTLS).
            apiserver_arguments: further command line arguments for kube-apiserver; the last one of a name wins.
            controller_arguments: the same for kube-controller-manager.
            folder: an empty folder to run from, which stays; a temporary one by default.
        """
        self._given_folder = folder
        self._with_audit = audit
        self._with_controllers = controllers
        self._webhook_client = webhook_client
        self._apiserver_arguments = list(apiserver_arguments)
        self._controller_arguments = list(controller_arguments)
        self._processes: list[Process] = []
        self._sockets: list[socket.socket] = []
        self._kubeconfigs: dict[str, Path] = {}

    def __enter__(self) -> Self:
        """Start everything and wait until it is ready."""
        self.folder = self._given_folder or Path(tempfile.mkdtemp(prefix="placet-controlplane-"))
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop everything."""
        self.stop()

    def stop(self) -> None:
        """End the programs, wait for them, and remove the folder unless it was given. A second call does nothing."""
        while self._processes:
            self._processes.pop().stop()
        while self._sockets:
            self._sockets.pop().close()
        if self._given_folder is None:
            shutil.rmtree(self.folder, ignore_errors=True)

    def find_ended(self) -> list[Process]:
        """The programs that ended by themselves."""
        return [process for process in self._processes if not process.running]

    def _start(self) -> None:
        self.authority = Authority(self.folder, "control plane tests")
        self._admin = self.authority.client("admin", [ADMIN_GROUP])
        etcd_port, peer_port, port = (self._hold_port() for _ in range(3))
        self.url = f"https://127.0.0.1:{port}"
        self.api = ApiClient(port, self.authority.path, self._admin)
        self._kubeconfigs["admin"] = self._write_kubeconfig("admin", self._admin)
        self._run("etcd", self._etcd_arguments(etcd_port, peer_port))
        self._flags = self._apiserver_flags(etcd_port, port)
        self.start_apiserver(START_TIMEOUT_S)
        if self._with_controllers:
            self._start_controllers()
        else:
            access.aggregate_roles(self.api)
            self._make_service_account("default")

    def start_apiserver(self, timeout_s: float) -> None:
        """Run the API server and wait until it is ready; again after ``stop_apiserver``, on the same data."""
        self._apiserver = self._run("kube-apiserver", self._flags)
        self._apiserver.wait_until(self.api.is_ready, "ready", timeout_s)

    def stop_apiserver(self) -> None:
        """End the API server alone; what it stores stays."""
        self._processes.remove(self._apiserver)
        self._apiserver.stop()

    def _hold_port(self) -> int:
        self._sockets.append(hold_port())
        port: int = self._sockets[-1].getsockname()[1]
        return port

    def _run(self, program: str, arguments: Sequence[str]) -> Process:
        log = self.folder / f"{program}.log"
        environment = clean_environment(self.folder)
        process = Process(program, [program_path(program), *arguments], log, environment)
        self._processes.append(process)
        return process

    def _etcd_arguments(self, port: int, peer_port: int) -> list[str]:
        client, peer = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{peer_port}"
        return [
            f"--data-dir={self.folder / 'etcd'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--socket-reuse-port",
            "--unsafe-no-fsync",  # the data lives no longer than the test
        ]

    def _apiserver_flags(self, etcd_port: int, port: int) -> list[str]:
        serving = self.authority.server(["127.0.0.1", "localhost", "kubernetes.default.svc", "10.0.0.1"])
        self._account_key = write_rsa_key(self.folder / "service-account.key")
        flags = [
            f"--etcd-servers=http://127.0.0.1:{etcd_port}",
            "--bind-address=127.0.0.1",
            f"--secure-port={port}",
            "--permit-port-sharing",
            "--advertise-address=127.0.0.1",
            "--endpoint-reconciler-type=none",
            "--service-cluster-ip-range=10.0.0.0/24",
            f"--tls-cert-file={serving.certificate}",
            f"--tls-private-key-file={serving.key}",
            f"--client-ca-file={self.authority.path}",
            "--authorization-mode=RBAC",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={self._account_key}",
            f"--service-account-signing-key-file={self._account_key}",
        ]
        if self._with_audit:
            policy = self._write_json("audit-policy", _AUDIT_POLICY)
            flags += [f"--audit-policy-file={policy}", f"--audit-log-path={self._audit_log}"]
        if self._webhook_client:
            flags.append(f"--admission-control-config-file={self._admission_settings(self._webhook_client)}")
        return flags + self._apiserver_arguments

    @property
    def _audit_log(self) -> Path:
        return self.folder / "audit.log"

    def _admission_settings(self, common_name: str) -> Path:
        """Settings that make the API server show a client certificate to webhooks."""
        files = self.authority.client(common_name)
        credentials = {"client-certificate": str(files.certificate), "client-key": str(files.key)}
        kubeconfig = self._write_json(
            "webhook-client",
            # The name of a "user" is the host of the webhooks that see it.
            {"apiVersion": "v1", "kind": "Config", "users": [{"name": "*", "user": credentials}]},
        )
        webhooks = {
            "apiVersion": "apiserver.config.k8s.io/v1",
            "kind": "WebhookAdmissionConfiguration",
            "kubeConfigFile": str(kubeconfig),
        }
        plugins = [{"name": "ValidatingAdmissionWebhook", "configuration": webhooks}]
        settings = {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AdmissionConfiguration", "plugins": plugins}
        return self._write_json("admission-settings", settings)

    def _start_controllers(self) -> None:
        kubeconfig = self.kubeconfig_for("system:kube-controller-manager")
        manager = self._run(
            "kube-controller-manager",
            [
                f"--kubeconfig={kubeconfig}",
                "--use-service-account-credentials=true",
                f"--service-account-private-key-file={self._account_key}",
                f"--root-ca-file={self.authority.path}",
                "--leader-elect=false",
                "--secure-port=0",
                "--kube-api-qps=500",  # it makes an account for each controller, and would wait 4 s between them
                "--kube-api-burst=500",
                "--horizontal-pod-autoscaler-sync-period=2s",  # the first look at a new one comes after it
                *self._controller_arguments,
            ],
        )
        # A service account that only a controller makes shows that the controllers work.
        account = "/api/v1/namespaces/default/serviceaccounts/default"
        manager.wait_until(lambda: self.api.exists(account), "making service accounts", START_TIMEOUT_S)

    # --- users ---------------------------------------------------------------------------------------------------

    def kubeconfig_for(self, user: str, groups: Sequence[str] = ()) -> Path:
        """A kubeconfig with a client certificate for a user; ``kubectl(user=...)`` uses the latest one of that name."""
        self._kubeconfigs[user] = self._write_kubeconfig(user, self.authority.client(user, groups))
        return self._kubeconfigs[user]

    def kubeconfig_path(self, user: str = "admin") -> Path:
        """The kubeconfig of a user that has one, for programs other than kubectl."""
        return self._kubeconfigs[user]

    def grant(self, user: str, cluster_role: str = "edit") -> None:
        """Bind a user to a cluster role (``edit``, ``view``, ``cluster-admin`` ...) in every namespace.

        Raises:
            ControlPlaneError: the role does not exist, or grants nothing.
        """
        access.grant(self.api, user, cluster_role)

    def _write_kubeconfig(self, user: str, files: CertificateFiles) -> Path:
        cluster = {"server": self.url, "certificate-authority": str(self.authority.path)}
        credentials = {"client-certificate": str(files.certificate), "client-key": str(files.key)}
        kubeconfig = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "tests", "cluster": cluster}],
            "users": [{"name": user, "user": credentials}],
            "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": user}}],
            "current-context": "tests",
        }
        return self._write_json(f"{files.certificate.stem}-kubeconfig", kubeconfig)

    def _write_json(self, name: str, content: Mapping[str, Any]) -> Path:
        # All of these files may be YAML, and JSON is YAML.
        path = self.folder / f"{name}.json"
        path.write_text(json.dumps(content, indent=2), encoding="utf-8")
        return path

    # --- use -----------------------------------------------------------------------------------------------------

    def kubectl(
        self, *arguments: str, stdin: str | None = None, user: str = "admin", check: bool = True, timeout_s: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl as the administrator, or as a user that has a kubeconfig.

        Raises:
            ControlPlaneError: kubectl failed and ``check`` is set, or the user has no kubeconfig.
        """
        if user not in self._kubeconfigs:
            message = f"{user} has no kubeconfig yet: call kubeconfig_for({user!r}) first"
            raise ControlPlaneError(message)
        ran = subprocess.run(
            [program_path("kubectl"), f"--kubeconfig={self._kubeconfigs[user]}", *arguments],
            input="" if stdin is None else stdin,
            env=clean_environment(self.folder),
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_s,
        )
        if check and ran.returncode != 0:
            message = f"kubectl {' '.join(arguments)}: exit status {ran.returncode}\n{ran.stdout}{ran.stderr}"
            raise ControlPlaneError(message)
        return ran

    def create_namespace(self, name: str, labels: Mapping[str, str] | None = None) -> None:
        """Make a namespace in which pods can be created at once: with its default service account."""
        metadata = {"name": name, "labels": dict(labels or {})}
        self.api.create("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        self._make_service_account(name)

    def _make_service_account(self, namespace: str) -> None:
        # In a cluster a controller makes it, and the API server refuses pods as long as it is not there.
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
        self.api.create(f"/api/v1/namespaces/{namespace}/serviceaccounts", account, may_exist=True)

    def serving_certificate(self, hosts: Sequence[str]) -> ServingCertificate:
        """A certificate for a webhook that is reached by these host names and IP addresses."""
        files = self.authority.server(hosts)
        return ServingCertificate(files.certificate, files.key, self.authority.pem)

    def install_webhook(
        self,
        name: str,
        url: str,
        ca_bundle: bytes,
        rules: Sequence[Mapping[str, Any]] | None = None,
        *,
        failure_policy: str = "Fail",
        timeout_seconds: int = 10,
        namespace_selector: Mapping[str, Any] | None = None,
        probe: Mapping[str, Any] | None = None,
    ) -> Registration:
        """Write a ValidatingWebhookConfiguration with one webhook and wait until the API server calls it.

        Args:
            name: name of the configuration; the webhook in it is ``<name>.placet.dev``.
            url: where the webhook listens.
            ca_bundle: PEM of the authority that signed its certificate.
            rules: what it is called for; all workload kinds on CREATE and UPDATE when not given.
            failure_policy: ``Fail`` or ``Ignore``.
            timeout_seconds: how long the API server waits for an answer, 1 to 30.
            namespace_selector: which namespaces; one that matches must exist, since the probe is sent there.
            probe: manifest of an object that the rules match; not needed when they match deployments, pods or
                configmaps. It is sent as dry-run creates that are named ``webhook-probe``.

        Returns:
            The registration; its ``remove()`` takes the webhook away and waits until it is no longer called.

        Raises:
            ControlPlaneError: the configuration was refused or exists, or the webhook was not called in time.
        """
        registration = Registration(self.api, name, probe)
        registration.install(
            url,
            ca_bundle,
            rules=workload_rules() if rules is None else rules,
            failure_policy=failure_policy,
            timeout_seconds=timeout_seconds,
            namespace_selector=namespace_selector,
        )
        return registration

    def audit_events(self) -> list[dict[str, Any]]:
        """The API server's audit events so far, oldest first; needs ``audit=True``."""
        if not self._with_audit:
            message = "this control plane keeps no audit log: make it with ControlPlane(audit=True)"
            raise ControlPlaneError(message)
        if not self._audit_log.exists():
            return []
        # A line that is being written has no end yet.
        lines = self._audit_log.read_text(encoding="utf-8").split("\n")[:-1]
        return [json.loads(line) for line in lines]

    def wait_for_audit_event(self, matches: Callable[[dict[str, Any]], bool], timeout_s: float = 10) -> dict[str, Any]:
        """The first audit event that matches. An event may be written a moment after the answer was sent.

        Raises:
            ControlPlaneError: there was none in time.
        """
        found: list[dict[str, Any]] = []

        def look() -> bool:
            found.extend(event for event in self.audit_events() if matches(event))
            return bool(found)

        if not poll_until(look, timeout_s):
            message = f"no such audit event after {timeout_s:g} s among {len(self.audit_events())}"
            raise ControlPlaneError(message)
        return found[0]
