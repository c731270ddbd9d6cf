"""Write `.env` for docker-compose.yaml, once: random passwords and keys, and facts about this machine."""

import base64
import os
import secrets
import shutil
import sys
from pathlib import Path


def settings(project: Path) -> dict[str, str]:
    """Every variable that docker-compose.yaml requires, and those that depend on this machine."""
    gpu = shutil.which("nvidia-smi") is not None
    return {
        "ADMIN_PASSWORD": secrets.token_urlsafe(16),
        "POSTGRES_PASSWORD": secrets.token_urlsafe(24),
        "S3_SECRET_KEY": secrets.token_urlsafe(30),
        "API_SECRET_KEY": secrets.token_urlsafe(32),
        "JWT_SECRET": secrets.token_urlsafe(48),
        "FERNET_KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "AGE_DATA": str(project / "faces"),
        "COMPOSE_FILE": "docker-compose.yaml" if gpu else "docker-compose.yaml:docker/cpu.yaml",
    }


def write(path: Path) -> bool:
    """Write the file, readable by its owner only; False if there is one already, which is not changed."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return False
    with os.fdopen(handle, "w") as file:
        file.writelines(f"{name}={value}\n" for name, value in settings(path.parent).items())
    return True


if __name__ == "__main__":
    target = Path(__file__).resolve().parents[1] / ".env"
    if write(target):
        print(f"{target}: labels.csv and images/ are expected in AGE_DATA; it also has the password of the user admin")
    else:
        sys.exit(f"{target} exists and was not changed; remove it first to get new passwords")
