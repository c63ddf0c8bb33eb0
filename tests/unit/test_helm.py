"""The Helm chart in deploy/helm: its values, and the objects that Helm makes of it."""

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml

import promo_api
from promo_api.config.settings import Settings, variable
from tests.deployment_page import block
from tests.pages import ROOT
from tests.specification import specification

_CHART = ROOT / "deploy" / "helm"
_VALUES = yaml.safe_load((_CHART / "values.yaml").read_text(encoding="utf-8"))
_TEMPLATES = {file.name: file.read_text(encoding="utf-8") for file in sorted((_CHART / "templates").iterdir())}
_TEXT = "\n".join(_TEMPLATES.values())
_COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
_DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
_SETTINGS = {variable(declared) for declared in fields(Settings)}
# The oldest version in Chart.yaml, and a new one.
_OLDEST, _NEWEST = "1.27.0", "1.34.0"
_ADDRESS = "settings.ANTIFRAUD_ADDRESS=antifraud:9090"
_SECRETS = [f"secrets.create.{name}=0123456789abcdef0123456789abcdef" for name in (
    "service.SECRET_KEY", "service.POSTGRES_PASSWORD", "owner.POSTGRES_PASSWORD",
)]  # fmt: skip
_ALL_OFF = ["autoscaling.enabled=false", "networkPolicy.enabled=false"]
_ALL_ON = ["serviceMonitor.enabled=true", "serviceMonitor.labels.release=prometheus", *_SECRETS]
_HOOKS = {"pre-install", "pre-upgrade"}
Render = Callable[..., list[dict[str, Any]]]


def _helm(*arguments: str) -> "subprocess.CompletedProcess[str]":
    path = shutil.which("helm")
    if path is None:
        pytest.skip("helm is not installed (https://helm.sh, or go install helm.sh/helm/v3/cmd/helm)")
    return subprocess.run([path, *arguments], check=False, capture_output=True, text=True)


@pytest.fixture
def render() -> Render:
    """Returns the objects of the chart with these values."""

    def render(*values: str, version: str = _NEWEST, option: str = "--set") -> list[dict[str, Any]]:
        done = _template(*values, version=version, option=option)
        assert done.returncode == 0, done.stderr
        return [each for each in yaml.safe_load_all(done.stdout) if each]

    return render


def _template(*values: str, version: str = _NEWEST, option: str = "--set") -> "subprocess.CompletedProcess[str]":
    sets = [argument for value in (_ADDRESS, *values) for argument in (option, value)]
    return _helm("template", "promo", str(_CHART), "--kube-version", version, *sets)


def _find(objects: list[dict[str, Any]], kind: str, name: str = "promo-promo-code-api") -> dict[str, Any]:
    [found] = [each for each in objects if each["kind"] == kind and each["metadata"]["name"] == name]
    return found


def _pods(objects: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    yield from (each["spec"]["template"]["spec"] for each in objects if each["kind"] in ("Deployment", "Job"))


def _containers(pod: dict[str, Any]) -> list[dict[str, Any]]:
    return [*pod.get("initContainers", ()), *pod["containers"]]


def _environment(container: dict[str, Any]) -> dict[str, str]:
    return {each["name"]: each.get("value", "") for each in container["env"]}


# Without helm


def test_version() -> None:
    """The versions of the chart and of the image are that of the project."""
    chart = yaml.safe_load((_CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert chart["version"] == chart["appVersion"] == promo_api.__version__
    assert _VALUES["image"]["tag"] == ""


def test_settings_exist() -> None:
    """The chart sets only settings that exist, and no secret."""
    own = set(re.findall(r"\{name: ([A-Z_]+), value: '", _TEXT))
    assert own == {"SERVER_ADDRESS", "METRICS_ADDRESS"}
    assert own | _VALUES["settings"].keys() <= _SETTINGS
    assert all(isinstance(value, str) for value in _VALUES["settings"].values())
    secrets = {variable(declared) for declared in fields(Settings) if not declared.repr} - {"ANTIFRAUD_ADDRESS"}
    assert not secrets & _VALUES["settings"].keys()


def test_ports() -> None:
    """The ports are those of the image, and those of the policy are the defaults of the settings."""
    ports = re.findall(r"'0\.0\.0\.0:(\d+)'", _TEXT)
    assert re.findall(r"^EXPOSE (\d+) (\d+)$", _DOCKERFILE, re.MULTILINE) == [tuple(ports)]
    assert re.findall(r"containerPort: (\d+)", _TEXT) == re.findall(r"\bport: (\d+), targetPort", _TEXT) == ports
    egress = _VALUES["networkPolicy"]["egress"]
    assert egress["postgres"]["ports"] == [int(Settings.postgres_port)]
    assert egress["redis"]["ports"] == [Settings.redis_port]


def test_probes() -> None:
    """The probes ask operations of api.yml: only readiness depends on PostgreSQL."""
    paths = specification()["paths"]
    probes = re.findall(r"(\w+)Probe:\n\s+httpGet: \{path: /api(/\w+), port: http\}", _TEMPLATES["deployment.yaml"])
    assert probes == [("startup", "/ping"), ("liveness", "/ping"), ("readiness", "/health")]
    assert all("get" in paths[path] for _, path in probes)


def test_user_and_images() -> None:
    """The user is that of the image, and psql has the version that docker-compose.yml uses."""
    [(user, group)] = re.findall(r"^USER (\d+):(\d+)$", _DOCKERFILE, re.MULTILINE)
    assert f"runAsUser: {user}\n" in _TEXT
    assert f"runAsGroup: {group}\n" in _TEXT
    assert _VALUES["migrate"]["image"] == _COMPOSE["grants"]["image"]
    assert _VALUES["resources"]["limits"]["memory"] == "1Gi"
    assert _COMPOSE["web"]["mem_limit"] == "1g"


def test_grants() -> None:
    """The chart has deploy/grants.sql itself, not a copy."""
    assert (_CHART / "grants.sql").resolve() == ROOT / "deploy" / "grants.sql"


def test_every_value_is_used() -> None:
    """The templates use each value, and only values that exist; the schema lists all."""
    schema = yaml.safe_load((_CHART / "values.schema.json").read_text(encoding="utf-8"))
    assert schema["properties"].keys() - {"global"} == _VALUES.keys()
    used = set(re.findall(r"\.Values\.(\w+)", _TEXT))
    assert used == _VALUES.keys()
    for first, second in re.findall(r"\.Values\.(\w+)\.(\w+)", _TEXT):
        assert second in _VALUES[first], f"{first}.{second}"


# With helm


def test_lint() -> None:
    """Helm finds no fault with the chart."""
    done = _helm("lint", "--strict", str(_CHART), "--set", _ADDRESS, "--kube-version", _NEWEST)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("version", [_OLDEST, _NEWEST])
@pytest.mark.parametrize("values", [[], _ALL_ON, _ALL_OFF], ids=["default", "all on", "all off"])
def test_objects_are_valid(render: Render, version: str, values: list[str]) -> None:
    """Each object is valid by the schemas of Kubernetes, without unknown members."""
    reason = "kubernetes-validate is not installed (pip install kubernetes-validate)"
    kubernetes = pytest.importorskip("kubernetes_validate", reason=reason)
    for each in render(*values, version=version):
        if each["kind"] != "ServiceMonitor":  # not of Kubernetes itself
            assert kubernetes.validate(each, version, strict=True) == version.removesuffix(".0")


def test_kinds(render: Render) -> None:
    """By default no Secret is created and nothing needs an operator; the migrations run before everything else."""
    objects = render()
    hooks = {each["kind"] for each in objects if "helm.sh/hook" in each["metadata"].get("annotations", {})}
    assert hooks == {"ConfigMap", "NetworkPolicy", "Job"}
    assert {each["kind"] for each in objects} - hooks == {
        "Deployment", "Service", "PodDisruptionBudget", "HorizontalPodAutoscaler",
    }  # fmt: skip
    assert {each["kind"] for each in render(*_ALL_ON)} - {each["kind"] for each in objects} == {
        "Secret", "ServiceMonitor",
    }  # fmt: skip
    assert "HorizontalPodAutoscaler" not in str(render(*_ALL_OFF))


def test_containers_are_confined(render: Render) -> None:
    """Pods meet the standard `restricted` of Kubernetes, and get neither a token nor variables of other Services."""
    for pod in _pods(render()):
        assert pod["automountServiceAccountToken"] is pod["enableServiceLinks"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in _containers(pod):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"].keys() == {"requests", "limits"}
            assert "tmp" in {mount["name"] for mount in container["volumeMounts"]}


def test_settings_are_valid(render: Render) -> None:
    """The service accepts the settings of the service and of the migrations."""
    objects = render("settings.LOG_FORMAT=text")
    [api] = _containers(_find(objects, "Deployment")["spec"]["template"]["spec"])
    migrate, _ = _containers(_find(objects, "Job", "promo-promo-code-api-migrate")["spec"]["template"]["spec"])
    for container, username in ((api, "promo"), (migrate, "promo_owner")):
        environment = _environment(container)
        assert environment.keys() <= _SETTINGS
        assert len(environment) == len(container["env"])
        settings = Settings.from_environment(environment | {"SECRET_KEY": "x" * 32})
        assert (settings.postgres_username, settings.server_drain_s) == (username, 10)


@pytest.mark.parametrize(("drain_s", "stop_s"), [(10, 20), (0, 60)])
def test_grace_period(render: Render, drain_s: int, stop_s: int) -> None:
    """A pod is killed 10 seconds after the drain and the stop timeout at the earliest."""
    changes = (f"settings.SERVER_DRAIN_S={drain_s}", f"settings.SERVER_STOP_TIMEOUT_S={stop_s}")
    deployment = _find(render(*changes, option="--set-string"), "Deployment")
    assert deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == drain_s + stop_s + 10


def test_migrations(render: Render) -> None:
    """A hook migrates as the owner, then grants the rights; the pods of the service never get the owner's password."""
    objects = render()
    job = _find(objects, "Job", "promo-promo-code-api-migrate")
    assert set(job["metadata"]["annotations"]["helm.sh/hook"].split(",")) == _HOOKS
    migrate, grants = _containers(job["spec"]["template"]["spec"])
    assert migrate["command"] == ["python", "-m", "promo_api", "migrate"]
    # A later source replaces values of an earlier one.
    assert [each["secretRef"]["name"] for each in migrate["envFrom"]] == ["promo-code-api", "promo-code-api-owner"]
    assert grants["command"] == ["psql", "-Xqf", "/grants/grants.sql", "-v", "service=promo"]
    script = _find(objects, "ConfigMap", "promo-promo-code-api-migrate")["data"]["grants.sql"]
    assert script.strip() == (ROOT / "deploy" / "grants.sql").read_text(encoding="utf-8").strip()
    assert "owner" not in str(_find(objects, "Deployment"))


def test_autoscaling(render: Render) -> None:
    """With autoscaling the Deployment has no number of replicas, which each upgrade would reset."""
    assert "replicas" not in _find(render(), "Deployment")["spec"]
    assert _find(render(*_ALL_OFF), "Deployment")["spec"]["replicas"] == 2


def test_selectors(render: Render) -> None:
    """The Service, the budget and the policy select the pods of the service, and not those of the migrations."""
    objects = render(*_ALL_ON)
    pod = _find(objects, "Deployment")["spec"]["template"]["metadata"]["labels"]
    migration = _find(objects, "Job", "promo-promo-code-api-migrate")["spec"]["template"]["metadata"]["labels"]
    selectors = [
        _find(objects, "Deployment")["spec"]["selector"]["matchLabels"],
        _find(objects, "Service")["spec"]["selector"],
        _find(objects, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        _find(objects, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
    ]
    assert all(selector.items() <= pod.items() for selector in selectors)
    assert not any(selector.items() <= migration.items() for selector in selectors)


def test_network_policy(render: Render) -> None:
    """Only the ingress controller and Prometheus reach the pods; they reach DNS, PostgreSQL, Redis and anti-fraud."""
    objects = render()
    policy = _find(objects, "NetworkPolicy")["spec"]
    peers = [rule["from"][0]["namespaceSelector"]["matchLabels"] for rule in policy["ingress"]]
    assert peers == [{"kubernetes.io/metadata.name": name} for name in ("ingress-nginx", "monitoring")]
    assert [rule["ports"] for rule in policy["ingress"]] == [[{"port": "http"}], [{"port": "metrics"}]]
    assert _egress(policy) == {53, 5432, 6379, 9090, 25, 465, 587}
    migrate = _find(objects, "NetworkPolicy", "promo-promo-code-api-migrate")["spec"]
    assert (_egress(migrate), migrate.get("ingress")) == ({53, 5432}, None)
    assert migrate["policyTypes"] == policy["policyTypes"] == ["Ingress", "Egress"]


def _egress(policy: dict[str, Any]) -> set[int]:
    return {port["port"] for rule in policy["egress"] for port in rule["ports"]}


def test_service_monitor(render: Render) -> None:
    """Prometheus reads the metrics port, under the job name of the alerts."""
    objects = render(*_ALL_ON)
    [endpoint] = _find(objects, "ServiceMonitor")["spec"]["endpoints"]
    assert endpoint["port"] in {port["name"] for port in _find(objects, "Service")["spec"]["ports"]}
    rules = (ROOT / "deploy" / "prometheus-rules.yml").read_text(encoding="utf-8")
    assert f'job="{endpoint["relabelings"][0]["replacement"]}"' in rules
    assert _find(objects, "ServiceMonitor")["metadata"]["labels"]["release"] == "prometheus"


def test_created_secrets(render: Render) -> None:
    """Secrets are created before the migrations, which use them, and only with values."""
    objects = render(*_SECRETS)
    for name in ("promo-code-api", "promo-code-api-owner"):
        annotations = _find(objects, "Secret", name)["metadata"]["annotations"]
        assert int(annotations["helm.sh/hook-weight"]) < -1
        assert set(annotations["helm.sh/hook"].split(",")) == _HOOKS


@pytest.mark.parametrize(
    "value",
    [
        "settings.SERVER_WORKERS=4",  # a number
        "settings.SECRET_KEY=secret",
        "settings.SERVER_ADDRESS=x",
        "setings.SERVER_WORKERS=4",
        "secrets.create.service.SECRET_KEY=x",
    ],
)
def test_invalid_values(value: str) -> None:
    """Helm refuses numbers, secrets among the settings, unknown values and incomplete secrets."""
    done = _template(value)
    assert done.returncode == 1
    assert "values don't meet the specifications of the schema" in done.stderr


def test_values_of_the_page(tmp_path: Path) -> None:
    """The example values of docs/deployment.md are valid, and have the names that its commands use."""
    file = tmp_path / "values.yaml"
    file.write_text(block("yaml values"), encoding="utf-8")
    done = _helm("template", "promo-code-api", str(_CHART), "--kube-version", _NEWEST, "--values", str(file))
    assert done.returncode == 0, done.stderr
    objects = list(filter(None, yaml.safe_load_all(done.stdout)))
    assert _find(objects, "Service", "promo-code-api")
    [container] = _containers(_find(objects, "Deployment", "promo-code-api")["spec"]["template"]["spec"])
    assert container["image"] == f"registry.example/promo-code-api:{promo_api.__version__}"
    assert re.findall(r"generic (\S+)", block("sh secrets")) == [
        _VALUES["secrets"]["service"],
        _VALUES["secrets"]["owner"],
    ]
    assert "--install promo-code-api deploy/helm" in block("sh helm")
