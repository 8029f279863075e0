"""What a node needs before it starts: the home, the CA, a policy folder, the CAs of providers."""

from __future__ import annotations

import shutil
import ssl
from pathlib import Path

from douane.edge.ca import ensure_ca
from douane.edge.config import NodeConfig
from douane.edge.home import Home, HomeError, shipped_policy_dir


class CannotStart(Exception):
    """An option leads nowhere; the message is one clear line."""


def make_config(
    home_path: Path,
    policy_dir: Path | None,
    listen: tuple[str, int],
    connect_to: tuple[tuple[str, int, str, int], ...] = (),
    upstream_ca: Path | None = None,
    console: tuple[str, int] | None = None,
    heartbeat_fd: int | None = None,
) -> NodeConfig:
    """Prepare the home and say how to start; raises `HomeError`, `CannotStart`."""
    if policy_dir is not None and not policy_dir.is_dir():
        raise CannotStart(f"--policy: there is no folder {policy_dir}")
    if upstream_ca is not None:
        check_bundle(upstream_ca)
    home = Home.prepare(home_path)
    ensure_ca(home)
    return NodeConfig(
        home=home,
        policy_dir=policy_dir.absolute() if policy_dir is not None else ensure_policy(home),
        listen_host=listen[0],
        listen_port=listen[1],
        connect_to=connect_to,
        upstream_ca=upstream_ca.absolute() if upstream_ca is not None else None,
        heartbeat_fd=heartbeat_fd,
        console=console,
    )


def check_bundle(path: Path) -> None:
    """Whether a file holds CAs that OpenSSL reads; raises `CannotStart`."""
    try:
        trusted = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        trusted.load_verify_locations(path)
    except ssl.SSLError as error:
        raise CannotStart(f"--upstream-ca: {path} holds no certificate in PEM format") from error
    except OSError as error:
        raise CannotStart(f"--upstream-ca: cannot read {path}: {error.strerror}") from error


def ensure_policy(home: Home) -> Path:
    """The home's own policy folder, made from the shipped one at the first start."""
    folder = home.root / "policy"
    if not (folder / "policy.yaml").exists():
        shipped = shipped_policy_dir()
        try:
            folder.mkdir(exist_ok=True)
            for name in ("cases", "schema"):
                shutil.copytree(shipped / name, folder / name, dirs_exist_ok=True, copy_function=shutil.copyfile)
            for name in ("catalog", "prices"):  # for overlays
                (folder / name).mkdir(exist_ok=True)
            # Last, for its presence says that the folder is whole.
            temporary = folder / "policy.yaml.new"
            shutil.copyfile(shipped / "policy.yaml", temporary)
            temporary.rename(folder / "policy.yaml")
        except OSError as error:
            raise HomeError(f"cannot write {folder}: {error.strerror or error}") from error
    return folder
