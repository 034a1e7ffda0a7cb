"""The audit sample: what is drawn, with which chance, and that it can be drawn again."""

import errno
import os
import random
from collections import Counter
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.audit.sample import read_sample, write_sample
from pipelines.audit.sampling import allocate, draw_sample
from schemas.errors import ConfigError, ConflictError, NotFoundError


class TinyView:
    """A view in memory: what sampling needs of one."""

    def __init__(self, rows, digest="sha256:" + "a" * 64, provenance=None):
        self.manifest = SimpleNamespace(digest=digest, provenance=provenance or {})
        self._rows = rows

    def rows(self):
        return iter(self._rows)


def row(index, scores, *, fate="positive", origin="teacher", root="dog"):
    caption = f"a {root} and more"
    phrase = {"begin": 0, "end": 2 + len(root), "text": f"a {root}", "root": root, "kind": "chunk"}
    return {
        "unit": f"u{index % 3}", "shard": "s.tar", "index": index, "key": f"{index:06d}",
        "pixels": {"url": "s.tar", "offset": 512, "length": 9, "row_group": None, "row": None},
        "image_sha256": "0" * 64, "width": 96, "height": 96, "caption": caption, "phrases": [phrase],
        "regions": [
            {"phrase": 0, "x0": float(number), "y0": 0.0, "x1": 40.0, "y1": 50.0, "score": score,
             "fate": fate, "origin": origin}
            for number, score in enumerate(scores)
        ],
    }  # fmt: skip


def many_rows(n=300, seed=0):
    chance = random.Random(seed)
    roots = ["dog"] * 9 + ["axolotl"]
    return [
        row(i, [chance.random() for _ in range(chance.randrange(4))], root=chance.choice(roots))
        for i in range(n)
    ]


def names(sample):
    return [region.item for region in sample.regions]


def test_the_same_seed_draws_the_same_sample_whatever_the_order_of_rows():
    rows = many_rows()
    shuffled = random.Random(1).sample(rows, len(rows))

    assert draw_sample(TinyView(rows), seed=3, n=60) == draw_sample(TinyView(shuffled), seed=3, n=60)
    assert names(draw_sample(TinyView(rows), seed=3, n=60)) != names(
        draw_sample(TinyView(rows), seed=4, n=60)
    )


def test_a_view_that_moved_gives_the_same_sample():
    view = TinyView(many_rows())

    assert (
        draw_sample(view, seed=3, n=60, source="a").digest
        == draw_sample(view, seed=3, n=60, source="/b").digest
    )


def test_inclusion_probabilities_weight_the_sample_back_to_the_population():
    sample = draw_sample(TinyView(many_rows()), seed=0, n=80)

    population = sum(len(one["regions"]) for one in many_rows())
    assert sum(1 / region.inclusion_probability for region in sample.regions) == pytest.approx(population)
    assert sum(stratum.population for stratum in sample.strata) == population
    assert len(sample.regions) == 80


def test_each_region_lies_in_its_stratum_and_quantile_bins_hold_equal_shares():
    sample = draw_sample(TinyView(many_rows()), seed=0, n=80, bins=4)

    strata = {stratum.name: stratum for stratum in sample.strata}
    for region in sample.regions:
        assert strata[region.stratum].low <= region.score < strata[region.stratum].high
    shares = [stratum.population for stratum in sample.strata]
    assert len(shares) == 4 and max(shares) - min(shares) <= 2


def test_every_region_is_drawn_about_as_often_as_its_probability_says():
    view = TinyView([row(i, [0.3, 0.8]) for i in range(20)])
    drawn = Counter()
    for seed in range(400):
        sample = draw_sample(view, seed=seed, n=10, edges=[0.5])
        drawn.update(names(sample))

    assert len(drawn) == 40
    assert min(drawn.values()) > 60 and max(drawn.values()) < 145  # 100 expected, standard deviation 8.7


def test_head_and_tail_are_strata_of_their_own():
    sample = draw_sample(
        TinyView(many_rows()), seed=0, n=60, bins=2, groups={"head": ["dog"], "tail": ["axolotl"]}
    )

    for region in sample.regions:
        assert region.stratum.startswith("head" if region.root == "dog" else "tail")
    assert {stratum.group for stratum in sample.strata} == {"head", "tail"}


def test_human_ignored_and_decoy_regions_are_counted_and_never_drawn():
    rows = [row(0, [0.9]), row(1, [0.9], fate="ignore"), row(2, [0.9], origin="human"), row(3, [0.9])]
    rows[3]["phrases"][0]["kind"] = "decoy"

    sample = draw_sample(TinyView(rows), seed=0, n=10)
    assert [region.key for region in sample.regions] == ["000000"]
    assert sample.excluded == {"decoy": 1, "human": 1, "ignore": 1}


def test_a_stricter_policy_shares_most_of_its_sample_with_the_looser_one():
    rows = many_rows(600)
    strict = [{**one, "regions": [r for r in one["regions"] if r["score"] >= 0.2]} for one in rows]

    loose, tight = (draw_sample(TinyView(some), seed=5, n=100, bins=1) for some in (rows, strict))
    assert (
        len(set(names(loose)) & set(names(tight))) >= 70
    )  # 80 expected; independent samples would share about 11


def test_two_identical_boxes_of_a_phrase_are_two_items():
    twins = row(0, [0.5, 0.5])
    twins["regions"][1]["x0"] = twins["regions"][0]["x0"]

    assert len(set(names(draw_sample(TinyView([twins]), seed=0, n=2, bins=1)))) == 2


@given(st.lists(st.integers(1, 5000), min_size=1, max_size=12), st.integers(1, 400))
@settings(max_examples=80, deadline=None)
def test_allocation_gives_n_in_all_and_no_stratum_nothing_or_more_than_it_has(populations, n):
    if n < len(populations):
        with pytest.raises(ConfigError, match="strata"):
            allocate(populations, n)
        return
    drawn = allocate(populations, n)

    assert sum(drawn) == min(n, sum(populations))
    assert all(1 <= some <= population for some, population in zip(drawn, populations, strict=True))


def test_an_empty_view_and_wrong_edges_are_refused_with_a_reason():
    with pytest.raises(ConfigError, match="nothing to audit"):
        draw_sample(TinyView([row(0, [])]), seed=0, n=5)
    with pytest.raises(ConfigError, match="must ascend"):
        draw_sample(TinyView([row(0, [0.5])]), seed=0, n=5, edges=[0.6, 0.4])


def test_a_sample_file_is_written_once_and_read_back(tmp_path):
    path = tmp_path / "audit" / "sample.json"
    sample = draw_sample(TinyView(many_rows()), seed=0, n=30)
    write_sample(sample, path)
    first = path.read_bytes()
    write_sample(sample, path)

    assert read_sample(path) == sample and path.read_bytes() == first
    with pytest.raises(ConflictError, match="choose another file"):
        write_sample(draw_sample(TinyView(many_rows()), seed=1, n=30), path)
    assert path.read_bytes() == first
    assert [entry.name for entry in path.parent.iterdir()] == ["sample.json"]


def test_a_full_disk_leaves_no_sample(tmp_path, monkeypatch):
    def fail(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", fail)

    with pytest.raises(OSError, match=r"No space left on device.*sample\.json"):
        write_sample(draw_sample(TinyView(many_rows()), seed=0, n=30), tmp_path / "sample.json")
    assert list(tmp_path.iterdir()) == []


def test_a_sample_file_that_was_edited_is_refused(tmp_path):
    path = tmp_path / "sample.json"
    write_sample(draw_sample(TinyView(many_rows()), seed=0, n=30), path)
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 7'))

    with pytest.raises(ConflictError, match="was changed"):
        read_sample(path)
    with pytest.raises(NotFoundError):
        read_sample(tmp_path / "nothing.json")
