"""What a result kept beside its record: tables of requests and samples, timelines. Read here, interpreted elsewhere.

A record may name files of its own folder only; what it names elsewhere, or what is gone, counts as not kept.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glia_bench.errors import GliaBenchError
from glia_bench.scoring.figures import Samples

if TYPE_CHECKING:
    import pandas as pd

Row = Mapping[str, Any]


def kept_file(result_dir: Path, trial: Row | None, kind: str) -> str | None:
    """Return the file that a trial's record names under `kind`, relative to the folder; None if it is not there."""
    name = trial.get(kind) if trial else None
    return _inside(result_dir, str(name)) if name else None


def kept_timelines(result_dir: Path, trial: Row) -> list[str]:
    """Return the timelines of a trial that are there, relative to the folder: page first, then the viewer's trace."""
    found = [name for known in trial.get("timelines") or () if (name := _inside(result_dir, str(known)))]
    return sorted(found, key=lambda name: not name.endswith(".html"))


def _inside(result_dir: Path, name: str) -> str | None:
    root = result_dir.resolve()
    path = (root / name).resolve()
    return path.relative_to(root).as_posix() if path.is_relative_to(root) and path.is_file() else None


def read_requests(result_dir: Path, trial: Row | None, columns: list[str] | None = None) -> "pd.DataFrame | None":
    """Return a trial's per-request table, or some of its columns; None if it was not kept.

    Raises:
        GliaBenchError: If it cannot be read.
    """
    return _table(result_dir, kept_file(result_dir, trial, "records"), columns)


def read_samples(result_dir: Path, trial: Row | None) -> Samples | None:
    """Return a trial's samples; None if they were not kept.

    Raises:
        GliaBenchError: If they cannot be read.
    """
    frame = _table(result_dir, kept_file(result_dir, trial, "samples"))
    if frame is None:
        return None
    waiting = frame[[name for name in frame.columns if name.startswith("waiting_")]]
    allocated = frame[[name for name in frame.columns if name.startswith("allocated_blocks_")]]
    return Samples(
        time_s=frame["time_s"].to_numpy(dtype=float),
        held=frame["held"].to_numpy(dtype=float),
        waiting=waiting.to_numpy(dtype=float).sum(axis=1),
        allocated=allocated.to_numpy(dtype=float),
    )


def _table(result_dir: Path, name: str | None, columns: list[str] | None = None) -> "pd.DataFrame | None":
    import pandas as pd

    if name is None:
        return None
    path = result_dir / name
    try:
        return pd.read_parquet(path, columns=columns)
    except (OSError, ValueError) as error:
        raise GliaBenchError(
            f"{path} must be a Parquet table of this benchmark ({error}); delete it, and the report does without"
        ) from error
