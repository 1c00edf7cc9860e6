"""The journal: what was answered is given again, a cut line is dropped, and another run's journal is refused."""

from pathlib import Path

import pytest

from glia_bench.designer.journal import Journal, Lane
from glia_bench.errors import GliaBenchError


def never() -> tuple[dict[str, object], dict[str, float]]:
    """Fail: nothing should be paid for."""
    pytest.fail("paid twice")


def filled(path: Path) -> Lane:
    """Return a lane that has two answers in its journal."""
    lane = Lane(Journal(path), 0)
    lane.answer("lm", {"role": "x"}, lambda: ({"text": "yes"}, {"lm_calls": 1.0}))
    lane.note("insight", text="long prompts wait")
    return lane


def test_answers_are_given_again(tmp_path: Path) -> None:
    """A second run over the same journal gets what the first one paid for, and its costs, and pays nothing."""
    first = filled(tmp_path / "j")
    again = Lane(Journal(tmp_path / "j"), 0)
    assert again.is_repeating
    entry, is_new = again.answer("lm", {"role": "x"}, never)
    assert (entry["text"], entry["cost"], is_new) == ("yes", {"lm_calls": 1.0}, False)
    again.note("insight", text="long prompts wait")
    assert not again.is_repeating
    assert Journal(tmp_path / "j").entries == first.journal.entries


def test_a_line_that_was_cut_is_dropped(tmp_path: Path) -> None:
    """Wherever the last line was cut, what stands before it is kept and the file ends in a whole line."""
    path = tmp_path / "j"
    filled(path)
    data = path.read_bytes()
    whole = data.index(b"\n") + 1
    for length in range(whole, len(data)):
        path.write_bytes(data[:length])
        assert len(Journal(path).entries) == 1
        assert path.read_bytes() == data[:whole]


def test_another_question_is_refused(tmp_path: Path) -> None:
    """A journal that answers another question at this place is not the run's own."""
    filled(tmp_path / "j")
    with pytest.raises(GliaBenchError, match=r"step 0 of context 0.*new folder"):
        Lane(Journal(tmp_path / "j"), 0).answer("lm", {"role": "y"}, never)


def test_contexts_do_not_mix(tmp_path: Path) -> None:
    """Answers belong to their context, in whatever order they were written."""
    filled(tmp_path / "j")
    other = Lane(Journal(tmp_path / "j"), 1)
    assert not other.is_repeating
    other.note("insight", text="other")
    assert [e["context"] for e in Journal(tmp_path / "j").entries] == [0, 0, 1]


def test_what_is_no_journal(tmp_path: Path) -> None:
    """A whole line that is no entry is named, and nothing is changed."""
    path = tmp_path / "j"
    path.write_bytes(b'{"event": "note", "context": 0, "step": 0}\nnonsense\n')
    with pytest.raises(GliaBenchError, match="line 2"):
        Journal(path)
    assert path.read_bytes().endswith(b"nonsense\n")
