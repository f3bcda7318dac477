"""What deploys the bot, held against the code: compose.yml and infra/k8s, container and nginx.

No container is built or run here; what the containers would run is tested by ``test_cluster.py``.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from actions import server as action_server
from bot import cli
from bot.channels import mobile, openapi
from bot.runtime import rasa_cli
from tests.support import ROOT

CONTAINER = ROOT / "infra" / "container"
NGINX = (ROOT / "infra" / "nginx" / "nginx.conf.template").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yml").read_text())

BOT_IMAGE = "skills-bot"
BOT, ACTIONS, WEB = "bot", "actions", "nginx"
PORTS = {BOT: 5005, ACTIONS: 5055}
# Of AWS's own tools, and of Rasa's access to S3.
OF_OTHERS = re.compile(r"AWS_\w+|BUCKET_NAME|NGINX_ENTRYPOINT_LOCAL_RESOLVERS|NGINX_ENVSUBST_\w+")
SECRET = re.compile(r"PASSWORD|SECRET|TOKEN|_PASS$|_SOURCE$|(TRACKER|DIRECTORY|REDIS|BROKER)_URL")
# What Sanic gives connections to end, in seconds.
GRACEFUL_SECONDS = 15.0


def variables(text: str) -> set[str]:
    return set(re.findall(r"\$\{([A-Z_]+)\}", text))


def seconds(text: str) -> float:
    assert text.endswith("s")
    return float(text[:-1])


def python_sources() -> str:
    files = [file for name in ("common", "bot", "actions") for file in (ROOT / name).rglob("*.py")]
    return "\n".join(file.read_text() for file in files)


CONFIGURATION = variables(
    (ROOT / "endpoints.production.yml").read_text() + (ROOT / "credentials.yml").read_text()
)


# --- kubernetes -------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["base", "trial"])
def resources(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    """What `kubectl apply --kustomize` would send."""
    return built(request.param)


def built(name: str) -> list[dict[str, Any]]:
    if shutil.which("kubectl") is None:
        pytest.skip("not installed: kubectl, which has kustomize")
    folder = ROOT / "infra" / "k8s" / name
    made = subprocess.run(
        ["kubectl", "kustomize", folder], capture_output=True, text=True, check=True
    )
    return list(yaml.safe_load_all(made.stdout))


def pods(resources: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give the name and the pod of each workload."""
    for one in resources:
        if one["kind"] in ("Deployment", "StatefulSet"):
            yield one["metadata"]["name"], one["spec"]["template"]["spec"]
        elif one["kind"] == "CronJob":
            template = one["spec"]["jobTemplate"]["spec"]["template"]
            yield one["metadata"]["name"], template["spec"]


def pod(resources: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return dict(pods(resources))[name]


def container(resources: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return pod(resources, name)["containers"][0]


def environment(resources: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """Return the variables of a container; the value of one by reference is that reference."""
    spec = container(resources, name)
    found = {item["name"]: item.get("value", item.get("valueFrom")) for item in spec["env"]}
    for source in spec.get("envFrom", ()):
        (data,) = (
            one["data"]
            for one in resources
            if one["kind"] == "ConfigMap"
            and one["metadata"]["name"] == source["configMapRef"]["name"]
        )
        found |= data
    return found


def test_pods_are_confined(resources: list[dict[str, Any]]) -> None:
    for name, spec in pods(resources):
        assert spec["automountServiceAccountToken"] is False, name
        context = spec["securityContext"]
        assert context["runAsNonRoot"] is True, name
        assert context["runAsUser"] > 0, name
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}, name
        for one in spec["containers"]:
            assert one["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, name
            assert one["resources"]["limits"]["memory"], name
            mounted = {mount["name"] for mount in one["volumeMounts"]}
            assert mounted >= {volume["name"] for volume in spec.get("volumes", ())}, name


def test_secrets_are_references(resources: list[dict[str, Any]]) -> None:
    assert not [one for one in resources if one["kind"] == "Secret"]
    for name, _ in pods(resources):
        for variable, value in environment(resources, name).items():
            if SECRET.search(variable):
                assert value["secretKeyRef"]["name"] == "skills-bot", (name, variable)


def test_the_nightly_sync_runs_what_is_there() -> None:
    resources = built("sync")
    ((name, spec),) = pods(resources)
    test_pods_are_confined(resources)
    test_secrets_are_references(resources)
    (job,) = resources
    assert job["spec"]["concurrencyPolicy"] == "Forbid"
    assert job["spec"]["jobTemplate"]["spec"]["backoffLimit"] == 0  # a refusal stays one
    command, told = container(resources, name), environment(resources, name)
    assert command["image"] == BOT_IMAGE
    group = get_command(cli.app)
    *_, last = command["command"][3:]
    sync = group.commands["directory"].commands[last]
    assert command["command"][:3] == ["python", "-m", "bot"]
    known = {variable for option in sync.params for variable in [option.envvar] if variable}
    assert told.keys() == known | {"DIRECTORY_URL", "DIRECTORY_SOURCE_TOKEN"}
    for variable in told:
        assert f'"{variable}"' in python_sources()
    assert {volume["name"] for volume in spec["volumes"]} == {"tmp", "work"}


def test_probes_ask_what_is_there(resources: list[dict[str, Any]]) -> None:
    served = {
        BOT: {mobile_path(path) for path in ("/health", "/ready")},
        ACTIONS: {action_server.HEALTH_PATH, action_server.READY_PATH},
        WEB: set(re.findall(r"location = (\S+)", NGINX)),
    }
    for name, paths in served.items():
        spec = container(resources, name)
        ports = {port["name"] for port in spec["ports"]}
        probes = [spec[kind] for kind in spec if kind.endswith("Probe")]
        assert {"readinessProbe", "livenessProbe"} <= set(spec)
        for probe in probes:
            assert probe["httpGet"]["path"] in paths, name
            assert probe["httpGet"]["port"] in ports, name


def mobile_path(path: str) -> str:
    """Return the whole of a path of the contract, which must have it."""
    document = openapi.document()
    assert path in document["paths"]
    return str(document["servers"][0]["url"]) + path


def test_services_lead_to_pods(resources: list[dict[str, Any]]) -> None:
    workloads = [one for one in resources if one["kind"] in ("Deployment", "StatefulSet")]
    for one in resources:
        if one["kind"] == "Service":
            (target,) = (
                workload["spec"]["template"]
                for workload in workloads
                if one["spec"]["selector"].items()
                <= workload["spec"]["template"]["metadata"]["labels"].items()
            )
            listed = target["spec"]["containers"][0]["ports"]
            ports = {p["containerPort"] for p in listed} | {p["name"] for p in listed}
            for port in one["spec"]["ports"]:
                assert port.get("targetPort", port["port"]) in ports, one["metadata"]["name"]


def test_nginx_finds_bots_and_action_servers(resources: list[dict[str, Any]]) -> None:
    services = {o["metadata"]["name"]: o for o in resources if o["kind"] == "Service"}
    given = environment(resources, WEB)
    for variable, name in (("BOT_SERVERS", BOT), ("ACTION_SERVERS", ACTIONS)):
        host, port = re.match(r"server (\w+)\.\S+:(\d+) resolve ", given[variable]).groups()  # type: ignore[union-attr]
        assert (host, int(port)) == (name, PORTS[name])
        assert services[host]["spec"]["clusterIP"] == "None"  # it is to see each of them
    assert variables(NGINX) - {"CAPITALS"} <= {*given, "NGINX_LOCAL_RESOLVERS"}
    url = environment(resources, BOT)["ACTIONS_URL"]
    host, port = re.fullmatch(r"http://([\w-]+):(\d+)/webhook", url).groups()  # type: ignore[union-attr]
    assert int(port) == services[host]["spec"]["ports"][0]["port"]
    assert port == given["NGINX_ACTIONS_LISTEN"]


def test_settings_are_those_of_the_code(resources: list[dict[str, Any]]) -> None:
    sources = python_sources()
    given = environment(resources, BOT)
    assert {*given, *rasa_cli.DEFAULTS} >= CONFIGURATION
    for variable in {*given, *environment(resources, ACTIONS)}:
        assert (
            variable in CONFIGURATION or f'"{variable}"' in sources or OF_OTHERS.fullmatch(variable)
        ), variable


def test_a_pod_that_goes_has_the_time_to_finish(resources: list[dict[str, Any]]) -> None:
    spec = pod(resources, BOT)
    needed = mobile.FINISH_SECONDS + GRACEFUL_SECONDS
    for name in (BOT, ACTIONS, WEB):
        stopping = container(resources, name)["lifecycle"]["preStop"]["exec"]["command"]
        assert stopping == ["sleep", "5"]  # meanwhile it is taken out of its service
    assert spec["terminationGracePeriodSeconds"] > 5 + needed
    for one in resources:
        if one["kind"] == "Deployment" and one["metadata"]["name"] in (BOT, WEB):
            assert one["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
            assert one["spec"]["replicas"] >= 2


# --- compose ----------------------------------------------------------------------------------


def test_compose_confines_its_containers() -> None:
    for name, service in COMPOSE["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        # What we build has a user of its own.
        assert "build" in service or service["user"].split(":")[0] not in ("0", "root"), name


def test_compose_takes_secrets_from_outside() -> None:
    for name, service in COMPOSE["services"].items():
        for variable, value in service["environment"].items():
            if SECRET.search(variable):
                assert "${" in value, (name, variable)
                # The whole of it, or the password in an address.
                assert re.match(r"\$\{", value) or re.search(r"://\w*:\$\{", value), variable


def test_compose_gives_what_the_configuration_needs() -> None:
    sources, services = python_sources(), COMPOSE["services"]
    given = services[BOT]["environment"]
    assert {*given, *rasa_cli.DEFAULTS} >= CONFIGURATION
    for variable in {*given, *services[ACTIONS]["environment"]}:
        assert (
            variable in CONFIGURATION or f'"{variable}"' in sources or OF_OTHERS.fullmatch(variable)
        ), variable
    assert variables(NGINX) - {"CAPITALS", "NGINX_LOCAL_RESOLVERS"} <= set(
        services[WEB]["environment"]
    )


def test_compose_finds_its_servers() -> None:
    services = COMPOSE["services"]
    for variable, name in (("BOT_SERVERS", BOT), ("ACTION_SERVERS", ACTIONS)):
        assert services[WEB]["environment"][variable].startswith(
            f"server {name}:{PORTS[name]} resolve "
        )
        assert services[name]["deploy"]["replicas"] >= 2
    listens = services[WEB]["environment"]["NGINX_ACTIONS_LISTEN"]
    assert services[BOT]["environment"]["ACTIONS_URL"] == f"http://nginx:{listens}/webhook"
    probed = {name: services[name]["healthcheck"]["test"][-1] for name in PORTS}
    assert probed == {
        BOT: f"http://127.0.0.1:{PORTS[BOT]}{mobile_path('/health')}",
        ACTIONS: f"http://127.0.0.1:{PORTS[ACTIONS]}{action_server.HEALTH_PATH}",
    }
    grace = seconds(services[BOT]["stop_grace_period"])
    assert grace > mobile.FINISH_SECONDS + GRACEFUL_SECONDS


# --- images -----------------------------------------------------------------------------------


def pins(path: Path) -> dict[str, str]:
    return dict(re.findall(r"^([\w.-]+)==(\S+)", path.read_text(), re.MULTILINE))


@pytest.mark.parametrize("name", [BOT, ACTIONS])
def test_images_have_the_packages_that_are_tested(name: str) -> None:
    locked = pins(CONTAINER / f"requirements-{name}.lock")
    assert locked.items() <= pins(ROOT / "requirements.lock").items()
    assert not {"torch", "tensorflow", "transformers"} & set(locked)
    lines = (CONTAINER / f"requirements-{name}.lock").read_text().splitlines()
    assert sum(line.startswith("    --hash=sha256:") for line in lines) >= len(locked)


def stages() -> dict[str, str]:
    text = (CONTAINER / "Dockerfile").read_text()
    found = re.split(r"^FROM \S+ AS (\w+)$", text, flags=re.MULTILINE)
    return dict(zip(found[1::2], found[2::2], strict=True))


def test_images_run_as_nobody_in_particular() -> None:
    for name in (BOT, ACTIONS):
        stage = stages()[name]
        assert re.findall(r"^USER (\S+)$", stage, re.MULTILINE) == ["10001:10001"]
        assert "--require-hashes" in stage
        assert f"EXPOSE {PORTS[name]}\n" in stage
        entry = re.search(r"^ENTRYPOINT \[", stage, re.MULTILINE)
        assert entry, "exec form, for SIGTERM to reach the program"


def test_what_images_copy_is_there_and_let_through() -> None:
    let_through = (CONTAINER / "Dockerfile.dockerignore").read_text().splitlines()
    for stage in stages().values():
        for sources in re.findall(r"^COPY (.+) \S+$", stage, re.MULTILINE):
            for source in sources.split():
                assert (ROOT / source).exists(), source
                pattern = re.compile(rf"!{re.escape(source)}(/|$)|!infra/container/\*\.lock")
                assert any(map(pattern.match, let_through)), source
