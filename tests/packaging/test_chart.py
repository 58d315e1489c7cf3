"""The chart: judged by Helm, by Kubernetes' schemas and by the program itself. No cluster is here.

docs/kubernetes.md tells what was not run.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from receiver import __version__
from receiver.config.loading import load
from receiver.config.settings import PREFIX, Settings, is_secret
from receiver.embedded.child_process import free_port
from tests.support import charts
from tests.support.charts import CASES, CHART, OPERATOR, containers, environment, only, rendered, rendered_text
from tests.support.commands import commands
from tests.support.figures import run_with_input
from tests.support.program import program
from tools.docs import chart

MINIMAL, PRODUCTION, TLS = (CHART / "ci" / f"{name}-values.yaml" for name in ("minimal", "production", "tls"))
VERSIONS = ("1.30", "1.34")
"""The oldest that the chart takes, and that of the kubectl which is tried."""
cases = pytest.mark.parametrize("values", CASES, ids=lambda path: path.name.removesuffix("-values.yaml"))


def receivers(values: Path) -> Any:
    """The StatefulSet."""
    return only(rendered(values), "StatefulSet")


def receiver(values: Path) -> Any:
    """Its container."""
    ((_, container),) = containers(receivers(values))
    return container


def with_pods(values: Path) -> Iterator[tuple[Any, Any]]:
    """Every container that the chart makes, with its pod."""
    for one in rendered(values):
        if one["kind"] in ("StatefulSet", "Job", "Pod"):
            yield from containers(one)


# What judges it from outside.


@cases
def test_helm_finds_no_fault(values: Path) -> None:
    """Not a warning either."""
    done = charts.run("helm", "lint", CHART, "--strict", "--values", values)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("version", VERSIONS)
@cases
def test_kubernetes_takes_every_object(values: Path, version: str) -> None:
    """By its schemas, of which no field may be unknown."""
    charts.program("helm")
    judge = pytest.importorskip("kubernetes_validate", reason="not installed (make chart)")
    objects = [one for one in rendered(values) if one["apiVersion"] != OPERATOR]
    assert len(objects) >= 4
    for one in objects:
        judge.validate(one, version, strict=True)


def test_a_wrong_object_is_found() -> None:
    """Else the judge above would judge nothing."""
    charts.program("helm")
    judge = pytest.importorskip("kubernetes_validate", reason="not installed (make chart)")
    one = receivers(MINIMAL)
    one["spec"]["template"]["spec"]["terminationGracePeriod"] = 1
    with pytest.raises(judge.ValidationError):
        judge.validate(one, VERSIONS[-1], strict=True)


def test_kustomize_builds_on_what_helm_renders(tmp_path: Path) -> None:
    """With the file that the page shows: another namespace, image and number, and a patch."""
    shutil.copy(CHART / "ci" / "kustomization.yaml", tmp_path)
    (tmp_path / "rendered.yaml").write_text(rendered_text(PRODUCTION), "utf-8")
    done = charts.run("kubectl", "kustomize", tmp_path)
    assert done.returncode == 0, done.stderr
    built = only(list(yaml.safe_load_all(done.stdout)), "StatefulSet")
    ((pod, container),) = containers(built)
    assert built["spec"]["replicas"] == 5
    assert container["image"].startswith("mirror.example/esc-receiver@sha256:")
    assert pod["dnsPolicy"] == "ClusterFirst"


async def test_the_rules_are_those_of_the_repository(promtool: Path, tmp_path: Path) -> None:
    """All of them, as `promtool check rules` takes them; Helm leaves their templates alone."""
    groups = only(rendered(PRODUCTION), "PrometheusRule")["spec"]["groups"]
    shipped = [CHART.parents[1] / "dashboards" / "alerts" / name for name in ("recording.yml", "alerts.yml")]
    assert groups == [group for path in shipped for group in yaml.safe_load(path.read_text("utf-8"))["groups"]]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": groups}), "utf-8")
    status, said = await run_with_input(promtool, b"", "check", "rules", tmp_path / "rules.yml")
    assert status == 0, said


# Values.


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ("settings.wrokers=2", "wrokers"),
        ("settings.postgres_dsn=postgresql://u:p@h/d", "postgres_dsn"),
        ("settings.data_dir=/tmp", "data_dir"),
        ("secrets.postgres_dsn=null", "postgres_dsn"),
        ("secrets.read_tokens.nmae=x", "read_tokens"),
        ("replicaCount=0", "replicaCount"),
        ("migration.mode=never", "migration/mode"),
        ("image.digest=sha256:0", "image/digest"),
        ("ingress.enabled=true", "ingress/host"),
        ("resuorces.limits=1", "resuorces"),
    ],
)
def test_wrong_values_are_refused(given: str, named: str) -> None:
    """Before anything is made, and named."""
    assert named in charts.refused("--set", given)


def test_the_schema_knows_every_setting() -> None:
    """Those of the program, no others; else: `make docs`."""
    assert not chart.renew(checking=True)


def test_the_release_of_the_chart_is_that_of_the_program() -> None:
    """An image without a tag in the values is this release's."""
    assert yaml.safe_load((CHART / "Chart.yaml").read_text("utf-8"))["appVersion"] == __version__
    assert receiver(MINIMAL)["image"] == f"registry.example/esc-receiver:{__version__}"
    assert receiver(TLS)["image"] == "registry.example/esc-receiver:1.2.3"


# What the receiver is given.


@cases
def test_the_program_takes_its_environment(values: Path, tmp_path: Path) -> None:
    """Read as the program reads it, secrets from where they are mounted."""
    given = in_folder(environment(receiver(values)), tmp_path)
    settings = load(None, given)
    assert settings.refuse_open
    assert settings.host == "0.0.0.0"  # noqa: S104 - its own network
    assert settings.migrate is (values == MINIMAL)
    told = yaml.safe_load(values.read_text("utf-8")).get("settings", {})
    assert [
        name for name, value in told.items() if getattr(settings, name) == Settings.model_fields[name].default
    ] == []
    (port,) = receiver(values)["ports"]
    assert port["containerPort"] == settings.port


def in_folder(given: dict[str, str], folder: Path) -> dict[str, str]:
    """The environment with its folders below this one, and a secret in each file that it names."""
    secrets = {
        "POSTGRES_DSN": "postgresql://u:p@db/esc",
        "NATS_URL": "nats://n:4222",
        "NATS_CREDENTIALS": "creds",
        "READ_TOKENS": "one-token",
        "SOURCES": '{"esc": {"tokens": ["t"]}}',
    }
    moved = {name: re.sub(r"^/(etc|var/lib)/", f"{folder}/", value) for name, value in given.items()}
    for name, value in moved.items():
        short = name.removeprefix(PREFIX).removesuffix("_FILE")
        if name.endswith("_FILE") and short in secrets:
            Path(value).parent.mkdir(parents=True, exist_ok=True)
            Path(value).write_text(secrets[short], "utf-8")
    return moved


def test_the_variables_are_settings() -> None:
    """A name that nothing reads would be passed over in silence."""
    for values in CASES:
        names = {name for name in environment(receiver(values)) if name.startswith(PREFIX)}
        assert {name.removeprefix(PREFIX).removesuffix("_FILE").lower() for name in names} <= {
            *Settings.model_fields,
            *(name.removesuffix("_file") for name in Settings.model_fields),
        }


@cases
def test_secrets_are_files_and_never_variables(values: Path) -> None:
    """Nor is any in what Helm keeps of the release."""
    assert "kind: Secret\n" not in rendered_text(values)
    for _, container in with_pods(values):
        for one in container.get("env", ()):
            assert "valueFrom" not in one
            short = one["name"].removeprefix(PREFIX).lower()
            assert not (short in Settings.model_fields and is_secret(short))


@cases
def test_it_runs_as_nobody_who_may_do_nothing(values: Path) -> None:
    """Receiver, migration and test: no root, no privilege, no token, a root that cannot be written to."""
    for pod, container in with_pods(values):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] == 10001
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


@cases
def test_commands_are_those_of_the_program(values: Path) -> None:
    """With what it is started with."""
    for _, container in with_pods(values):
        if "args" in container:
            name, *options = container["args"]
            commands()[name].make_context(name, options)


@cases
def test_it_is_given_longer_than_it_drains(values: Path) -> None:
    """The pause before it is told, and three times stop_timeout_s."""
    ((pod, container),) = containers(receivers(values))
    stop_s = (
        yaml.safe_load(values.read_text("utf-8")).get("settings", {}).get("stop_timeout_s", Settings().stop_timeout_s)
    )
    pause_s = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["terminationGracePeriodSeconds"] > pause_s + 3 * stop_s


def test_the_readiness_probe_waits_longer_than_readyz_does() -> None:
    """An answer that says what is wrong is worth more than none."""
    probes = receiver(MINIMAL)
    assert probes["readinessProbe"]["timeoutSeconds"] > 3 * Settings().readyz_timeout_s
    assert {probes[name]["httpGet"]["path"] for name in ("startupProbe", "livenessProbe")} == {"/healthz"}
    assert probes["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert receiver(TLS)["readinessProbe"]["httpGet"]["scheme"] == "HTTPS"


async def test_what_is_rendered_runs_and_its_probes_answer(postgres_dsn: str, nats_url: str, tmp_path: Path) -> None:
    """This environment, but for folders, port and address; `/healthz` and `/readyz` as Kubernetes asks."""
    given = in_folder(environment(receiver(MINIMAL)), tmp_path)
    Path(given[f"{PREFIX}POSTGRES_DSN_FILE"]).write_text(postgres_dsn, "utf-8")
    Path(given[f"{PREFIX}NATS_URL_FILE"]).write_text(nats_url, "utf-8")
    settings: dict[str, object] = {name.removeprefix(PREFIX).lower(): value for name, value in given.items()}
    settings |= {"host": "127.0.0.1", "port": free_port()}
    async with program(*receiver(MINIMAL)["args"], **settings) as running, aiohttp.ClientSession() as session:
        await running.says('"mode": "direct"')
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            path = receiver(MINIMAL)[probe]["httpGet"]["path"]
            async with session.get(f"http://127.0.0.1:{settings['port']}{path}") as answer:
                assert answer.status == 200


# What stands around it.


@cases
def test_each_receiver_has_a_disk_that_outlives_it(values: Path) -> None:
    """Mounted where the spool is, and large enough for what its workers may spool."""
    one = receivers(values)
    (claim,) = one["spec"]["volumeClaimTemplates"]
    assert one["spec"]["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    mounted = {mount["name"]: mount["mountPath"] for mount in receiver(values)["volumeMounts"]}
    assert mounted[claim["metadata"]["name"]] == environment(receiver(values))[f"{PREFIX}DATA_DIR"]
    told = yaml.safe_load(values.read_text("utf-8")).get("settings", {})
    spooled = told.get("spool_bytes_max", Settings().spool_bytes_max) * told.get("workers", 1)
    size = claim["spec"]["resources"]["requests"]["storage"]
    assert int(size.removesuffix("Gi")) * 2**30 > 2 * spooled


@cases
def test_whatever_selects_receivers_selects_them(values: Path) -> None:
    """Services, budget, policy and affinity: labels that the pods have, and the migration has not."""
    labels = receivers(values)["spec"]["template"]["metadata"]["labels"]
    selectors = list(selecting(rendered(values)))
    assert len(selectors) >= 3
    for selector in selectors:
        assert selector.items() <= labels.items()
    for one in rendered(values):
        if one["kind"] == "Job":
            job = one["spec"]["template"]["metadata"]["labels"]
            services = [each["spec"]["selector"] for each in rendered(values) if each["kind"] == "Service"]
            assert [selector for selector in services if selector.items() <= job.items()] == []


def selecting(objects: list[charts.Object]) -> Iterator[dict[str, str]]:
    """The labels by which they find receivers."""
    for one in objects:
        match one["kind"]:
            case "Service":
                yield one["spec"]["selector"]
            case "StatefulSet" | "PodDisruptionBudget":
                yield one["spec"]["selector"]["matchLabels"]
            case "NetworkPolicy":
                yield one["spec"]["podSelector"]["matchLabels"]


def test_two_receivers_are_kept_apart() -> None:
    """On nodes if it can be, or must be, and one at a time is taken away."""
    preferred = receivers(MINIMAL)["spec"]["template"]["spec"]["affinity"]["podAntiAffinity"]
    assert list(preferred) == ["preferredDuringSchedulingIgnoredDuringExecution"]
    required = receivers(PRODUCTION)["spec"]["template"]["spec"]
    (term,) = required["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert term["topologyKey"] == "kubernetes.io/hostname"
    (spread,) = required["topologySpreadConstraints"]
    assert spread["labelSelector"]["matchLabels"] == term["labelSelector"]["matchLabels"]
    assert "affinity" not in receivers(TLS)["spec"]["template"]["spec"]
    assert only(rendered(MINIMAL), "PodDisruptionBudget")["spec"]["maxUnavailable"] == 1


def test_the_migration_is_a_hook_where_it_is_asked_for() -> None:
    """Before anything else, with the DSN and nothing of the release; the receivers then do not migrate."""
    job = only(rendered(PRODUCTION), "Job")
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    ((pod, container),) = containers(job)
    assert container["args"] == ["migrate"]
    assert "serviceAccountName" not in pod
    assert f"{PREFIX}POSTGRES_DSN_FILE" in environment(container)
    for values, told in ((MINIMAL, None), (PRODUCTION, "off"), (TLS, "off")):
        assert environment(receiver(values)).get(f"{PREFIX}MIGRATE") == told
        assert any(one["kind"] == "Job" for one in rendered(values)) is (values == PRODUCTION)


async def test_the_migration_runs(empty_postgres_dsn: str, tmp_path: Path) -> None:
    """The Job's command with the Job's environment, on an empty database."""
    ((_, container),) = containers(only(rendered(PRODUCTION), "Job"))
    given = in_folder(environment(container), tmp_path)
    Path(given[f"{PREFIX}POSTGRES_DSN_FILE"]).write_text(empty_postgres_dsn, "utf-8")
    settings: dict[str, object] = {name.removeprefix(PREFIX).lower(): value for name, value in given.items()}
    async with program(*container["args"], **settings) as running:
        assert await running.ended() == 0


def test_the_policy_opens_what_is_needed() -> None:
    """In: the port, from whom it is said. Out: names, PostgreSQL, NATS, and what is added."""
    policy = only(rendered(PRODUCTION), "NetworkPolicy")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert [len(rule["from"]) for rule in policy["ingress"]] == [2, 1]
    ports = [port["port"] for rule in policy["egress"] for port in rule["ports"]]
    assert ports == [53, 53, 5432, 4222, "http", 4318]
    assert all("to" in rule for rule in policy["egress"][:3])


def test_prometheus_asks_each_receiver() -> None:
    """Through the service that also names those that are not ready."""
    objects = rendered(PRODUCTION)
    wanted = only(objects, "ServiceMonitor")["spec"]["selector"]["matchLabels"]
    (found,) = (
        one for one in objects if one["kind"] == "Service" and wanted.items() <= one["metadata"]["labels"].items()
    )
    assert found["spec"]["clusterIP"] == "None"
    assert found["spec"]["publishNotReadyAddresses"] is True
    assert only(rendered(TLS), "ServiceMonitor")["spec"]["endpoints"][0]["scheme"] == "https"


def test_what_is_switched_off_is_not_there() -> None:
    """The little that is needed."""
    assert sorted(one["kind"] for one in rendered(MINIMAL)) == [
        "Pod", "PodDisruptionBudget", "Service", "Service", "ServiceAccount", "StatefulSet",
    ]  # fmt: skip
