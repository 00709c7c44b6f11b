"""Exported folders on the Hugging Face hub: written there, and fetched from there."""

from __future__ import annotations

import re
from pathlib import Path

from datamodules.errors import DataError
from lightning_modules.bases.places import check_place
from lightning_modules.checkpoints.files import EXPORTED, is_exported

REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+", re.ASCII)


def check_repository(name: str) -> None:
    """Refuses what cannot be a repository's id.

    Raises:
        DataError: It is not `user/name`.
    """
    if not REPOSITORY.fullmatch(name):
        raise DataError(f"{name!r} is no repository of the hub: user/name is needed")


def push(folder: Path, name: str, public: bool = False) -> str:
    """Uploads a folder as one commit, into a repository that is made where it is missing.

    Who is logged in, and where the hub is, `huggingface_hub` knows (`hf auth login`, `HF_TOKEN`, `HF_ENDPOINT`).

    Args:
        folder: What to upload.
        name: `user/name`.
        public: Whether a repository that is made can be seen by everybody.

    Returns:
        The commit's address.

    Raises:
        DataError: The hub does not take it.
    """
    from huggingface_hub import HfApi

    check_repository(name)
    hub = HfApi()
    try:
        hub.create_repo(name, private=not public, exist_ok=True)
        commit = hub.upload_folder(repo_id=name, folder_path=folder, commit_message="Model, code and card")
    except Exception as error:  # whatever its client of HTTP raises
        told = " ".join([line for line in str(error).splitlines() if line.strip()][:2])
        raise DataError(f"{folder} is written, but cannot be uploaded to {name!r}: {told}") from error
    return str(commit.commit_url)


def fetched(path: Path | str) -> Path:
    """What is to be loaded, on this machine: a path as it is, and a repository of the hub from the cache.

    `user/name` is a repository where nothing of that name is here; code that lies in it is never run.

    Raises:
        DataError: There is no such repository, no hub, or it holds no export.
    """
    name, place = str(path), Path(path)
    here = place.exists() or place.parent.exists() or place.suffix == ".ckpt"
    if here or not REPOSITORY.fullmatch(name):
        return place
    check_place(name)
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(name, ignore_patterns=["*.py", "*.md", "*.png"]))
    except Exception as error:  # whatever its client of HTTP raises
        told = " ".join([line for line in str(error).splitlines() if line.strip()][:2])
        raise DataError(f"cannot fetch {name!r} from the hub: {told}") from error
    if not is_exported(folder):
        raise DataError(f"{name!r} on the hub is no model of this framework: it has no {EXPORTED}")
    return folder
