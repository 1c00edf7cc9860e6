"""How groups of requests fared: SLO classes, tenants, tenths by prompt length, as tables of the report.

Groups are those of the trials' records (`groups`), averaged over the trials at hand. Which group a policy starves is
judged elsewhere, in `starvation.py`; here its numbers are shown.
"""

import math
from collections.abc import Mapping, Sequence

from glia_bench.scoring.columns import Column, Columns, Row, Table, TableRow
from glia_bench.scoring.tables import Address

MAX_COLUMNS = 12
"""Groups up to which a table has a column for each; beyond, it shows the worst, the median and the best."""
KINDS: Mapping[str, str] = {"slo_class": "SLO class", "tenant": "tenant", "prompt_decile": "prompt-length tenth"}

Values = dict[str, dict[str, float]]
"""Group to metric to its mean over trials."""


def means(trials: Sequence[Row]) -> dict[str, Values]:
    """Return kind of group to group to metric to its mean over the trials that have it."""
    found: dict[str, dict[str, dict[str, list[float]]]] = {}
    for trial in trials:
        for kind, groups in (trial.get("groups") or {}).items():
            for name, metrics in groups.items():
                for metric, value in metrics.items():
                    if isinstance(value, int | float):
                        found.setdefault(kind, {}).setdefault(name, {}).setdefault(metric, []).append(float(value))
    return {
        kind: {
            name: {metric: math.fsum(values) / len(values) for metric, values in metrics.items()}
            for name, metrics in groups.items()
        }
        for kind, groups in found.items()
    }


def by_policy(trials: Sequence[Row], policies: Sequence[str], address: Address) -> list[Table]:
    """Return one table per kind of group: policies by groups, each cell the mean slowdown of the group's requests.

    Args:
        trials: Trials of one task and load.
        policies: In the order of rows.
        address: Where numbers lead.
    """
    ok = [trial for trial in trials if trial.get("status") == "ok"]
    found = {name: means([trial for trial in ok if trial["policy"] == name]) for name in policies}
    kinds = list(dict.fromkeys(kind for groups in found.values() for kind in groups))
    return [
        table
        for kind in kinds
        if (table := _slowdowns(kind, {name: found[name].get(kind, {}) for name in policies}, ok, address))
    ]


def _slowdowns(kind: str, values: Mapping[str, Values], trials: Sequence[Row], address: Address) -> Table | None:
    rows = {name: groups for name, groups in values.items() if groups}
    if not rows:
        return None
    names = sorted({name for groups in rows.values() for name in groups}, key=_natural)
    columns, word = Columns(len(rows)), KINDS.get(kind, kind)
    caption = f"Mean slowdown by {word}"
    if len(names) <= MAX_COLUMNS:
        each = [[groups.get(name, {}).get("slowdown_mean") for groups in rows.values()] for name in names]
        for name, cells in zip(names, each, strict=True):
            columns.numbers(name, cells, term="slowdown", places=2)
    else:
        caption += f": the worst, the middle and the best of {len(names)}"
        ordered = [sorted(groups, key=lambda name: -groups[name]["slowdown_mean"]) for groups in rows.values()]
        for title, place in (("worst", lambda n: 0), ("median", lambda n: n // 2), ("best", lambda n: n - 1)):
            chosen = [names[place(len(names))] for names in ordered]
            cells = [groups[name]["slowdown_mean"] for groups, name in zip(rows.values(), chosen, strict=True)]
            columns.numbers(title, cells, term="slowdown", places=2)
            columns.texts(f"{word} of {title}", chosen)
    load = trials[0]["load"]
    return Table(
        caption=caption,
        columns=(Column(title="policy"), *columns.heads),
        rows=tuple(
            TableRow(
                name=name,
                cells=columns.row(index),
                href=address(name, load),
                hrefs=columns.hrefs(index, address(name, load)),
            )
            for index, name in enumerate(rows)
        ),
    )


def _natural(name: str) -> tuple[int, str]:
    """Order numbers as numbers, and before words."""
    return (int(name), "") if name.isdecimal() else (1 << 31, name)


def of_policy(trials: Sequence[Row]) -> list[Table]:
    """Return one table per kind of group: groups by metrics, the slowest group first.

    Args:
        trials: Trials of one policy on one task and load.
    """
    ok = [trial for trial in trials if trial.get("status") == "ok"]
    result = []
    for kind, groups in means(ok).items():
        names = sorted(groups, key=lambda name: (-groups[name].get("slowdown_mean", 0.0), _natural(name)))
        columns = Columns(len(names))
        for title, key, term, scale in (
            ("requests", "num_requests", "", 1.0),
            ("mean E2E, s", "e2e_mean_s", "e2e", 1.0),
            ("mean TTFT, s", "ttft_mean_s", "ttft", 1.0),
            ("mean slowdown", "slowdown_mean", "slowdown", 1.0),
            ("SLO attained, %", "slo_attainment", "slo", 100.0),
        ):
            values = [groups[name].get(key) for name in names]
            if any(value is not None for value in values):
                cells = [None if value is None else value * scale for value in values]
                columns.numbers(title, cells, term=term, places=0 if key == "num_requests" else None)
        word = KINDS.get(kind, kind)
        result.append(
            Table(
                caption=f"By {word}, means over seeds, slowest first",
                columns=(Column(title=word), *columns.heads),
                rows=tuple(TableRow(name=name, cells=columns.row(index)) for index, name in enumerate(names)),
            )
        )
    return result
