"""The recipes for containers: they can be read, and their parts fit each other."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from pgherald.config import load

FOLDER = Path(__file__).parents[2] / "docs" / "containers"


@pytest.fixture
def compose() -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text())
    return read


@pytest.fixture
def pod() -> dict[str, Any]:
    documents = list(yaml.safe_load_all((FOLDER / "kubernetes.yaml").read_text()))
    assert [document["kind"] for document in documents] == ["PersistentVolumeClaim", "Deployment"]
    found: dict[str, Any] = documents[1]["spec"]["template"]["spec"]
    return found


def paths() -> dict[str, str]:
    """Where the configuration of the recipes puts each client's file."""
    config = load(FOLDER / "config.toml", {"HOME": "/state"})
    return {client.kind: str(client.path) for client in config.clients}


def mounts(container: dict[str, Any]) -> dict[str, str]:
    """What a container has at which place."""
    return {item["mountPath"]: item["name"] for item in container["volumeMounts"]}


def test_compose_fits_the_configuration(compose: dict[str, Any]) -> None:
    """PgAdmin is told the file that pgherald writes, in folders that both have, and imports none."""
    services = compose["services"]
    told = services["pgadmin"]["environment"]
    assert told["PGSERVICEFILE"] == paths()["service_file"]
    assert "PGADMIN_SERVER_JSON_FILE" not in told
    for service in services.values():
        volumes = dict(item.split(":")[:2] for item in service["volumes"])
        assert (volumes["logins"], volumes["pgadmin"]) == ("/logins", "/var/lib/pgadmin")
    assert all(path.startswith(("/logins/", "/var/lib/pgadmin/")) for path in paths().values())
    assert set(compose["secrets"]) == {"heroku_token", "pgadmin_password"}


def test_kubernetes_fits_the_configuration(pod: dict[str, Any]) -> None:
    """The same in a pod; only pgherald has the token, and nothing runs as root."""
    pgherald, pgadmin = pod["containers"]
    told = {item["name"]: item["value"] for item in pgadmin["env"]}
    assert told["PGSERVICEFILE"] == paths()["service_file"]
    assert "PGADMIN_SERVER_JSON_FILE" not in told
    for container in (pgherald, pgadmin):
        assert (mounts(container)["/logins"], mounts(container)["/var/lib/pgadmin"]) == (
            "logins", "data",
        )  # fmt: skip
    assert "token" not in mounts(pgadmin).values()
    volumes = {volume["name"] for volume in pod["volumes"]}
    assert set(mounts(pgherald).values()) | set(mounts(pgadmin).values()) == volumes
    assert pod["securityContext"]["runAsUser"] == 5050


def test_the_image_takes_what_is_there() -> None:
    """Each file that the image is built from is in the repository, and the account is pgAdmin's."""
    text = (FOLDER / "Dockerfile").read_text()
    root = FOLDER.parents[1]
    for line in re.findall(r"^COPY (.*)$", text, re.MULTILINE):
        *sources, _ = line.split()
        assert all((root / source).exists() for source in sources)
    assert "USER 5050:0" in text
    (made,) = re.findall(r"chown 5050:0 (.*)", text)
    # All that Compose mounts as volumes: Docker gives them the owner that they have here.
    assert made.split() == ["/logins", "/state", "/var/lib/pgadmin"]
