"""What a run wrote down can be read while it writes, and however it ended."""

from __future__ import annotations

from pathlib import Path

from student.training.metrics_log import LINES, MetricsLog, read_latest_record, read_metrics


def test_the_newest_record_is_the_last_whole_one_of_a_file_of_any_length(tmp_path: Path) -> None:
    assert read_latest_record(tmp_path) is None
    with MetricsLog(tmp_path, 0, tensorboard=False) as journal:
        for step in range(2000):
            journal.write_metrics(step, {f"loss_{n}": 0.123456 for n in range(6)})
            if step in (0, 1, 1999):
                assert read_latest_record(tmp_path) == read_metrics(tmp_path)[-1]

    with (tmp_path / LINES).open("a") as lines:
        lines.write('{"step": 2000, "lo')

    found = read_latest_record(tmp_path)
    assert found is not None and found["step"] == 1999
    (tmp_path / LINES).write_text('{"step": 0')
    assert read_latest_record(tmp_path) is None
