"""Where a model may be: a folder, or a repository of the hub, looked for once before it is waited for."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from datamodules.errors import DataError

GGUF = ".gguf"


def from_pretrained_arguments(name: str) -> dict[str, str]:
    """What transformers' `from_pretrained` takes for a place: its name, or the folder and name of a GGUF file.

    Raises:
        DataError: A GGUF file, and the package that reads it is not installed.
    """
    if not is_gguf(name):
        return {"pretrained_model_name_or_path": name}
    if find_spec("gguf") is None:
        raise DataError(f"{name}: reading GGUF files needs the package gguf: pip install gguf")
    path = Path(name)
    return {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name}


def is_gguf(name: str) -> bool:
    """Whether a place is one file of quantised weights, its configuration and tokenizer inside."""
    return name.endswith(GGUF)


def check_place(name: str) -> None:
    """Refuses what is not there: for a hub that does not answer, transformers would try again for a minute a file.

    Args:
        name: A folder, or the id of a repository.

    Raises:
        DataError: There is no such folder, no such repository, no right to read it, or no hub.
    """
    if Path(name).is_dir() or (is_gguf(name) and Path(name).is_file()):
        return
    if name.startswith((".", "/", "~")) or name.count("/") > 1 or is_gguf(name):
        raise DataError(f"no model at {name!r}: there is no such {'file' if is_gguf(name) else 'folder'}")
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError

    try:
        if constants.HF_HUB_OFFLINE or isinstance(try_to_load_from_cache(name, "config.json"), str):
            return  # transformers says what the cache lacks
        get_hf_file_metadata(hf_hub_url(name, "config.json"))
    except EntryNotFoundError:
        return  # the repository is there; what it lacks is said by who needs it
    except Exception as error:  # whatever its client of HTTP raises
        told = [line for line in str(error).splitlines() if line.strip()]
        raise DataError(f"no model at {name!r}: {' '.join(told[:2])}") from error
