"""Where a model may be: a folder, or a repository of the hub, looked for once before it is waited for."""

from __future__ import annotations

from pathlib import Path

from datamodules.errors import DataError


def check_place(name: str) -> None:
    """Refuses what is not there: for a hub that does not answer, transformers would try again for a minute a file.

    Args:
        name: A folder, or the id of a repository.

    Raises:
        DataError: There is no such folder, no such repository, no right to read it, or no hub.
    """
    if Path(name).is_dir():
        return
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise DataError(f"no model at {name!r}: there is no such folder")
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
