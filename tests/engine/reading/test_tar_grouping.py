from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine.reading.formats.tar import Member
from engine.reading.formats.tar_grouping import group_members, split_name


def groups(*names: str) -> list[tuple[str, list[str]]]:
    members = [Member(name, 512 * index, 1) for index, name in enumerate(names)]
    return [(sample.key, sorted(sample.members)) for sample in group_members(members)]


def test_the_key_ends_at_the_first_dot_of_the_last_part() -> None:
    assert split_name("a.b/0001.seg.PNG") == ("a.b/0001", "seg.png")
    assert split_name("README") is None
    assert split_name("dir/.DS_Store") is None


def test_neighbours_of_equal_key_are_one_sample_and_others_are_not() -> None:
    assert groups("a.jpg", "a.txt", "b.jpg", "a.json") == [
        ("a", ["jpg", "txt"]),
        ("b", ["jpg"]),
        ("a", ["json"]),
    ]


def test_equal_names_in_different_folders_are_different_samples() -> None:
    assert groups("x/a.jpg", "y/a.txt") == [("x/a", ["jpg"]), ("y/a", ["txt"])]


def test_a_stray_name_is_its_own_sample_and_parts_no_neighbours() -> None:
    assert groups("a.jpg", "README", "._a.jpg", "a.txt") == [
        ("a", ["jpg", "txt"]),
        ("README", [""]),
        ("._a.jpg", [""]),
    ]


def test_a_suffix_that_comes_twice_is_remembered() -> None:
    members = [Member(name, 0, 1) for name in ("a.jpg", "a.JPG", "a.txt")]

    assert group_members(members)[0].duplicates == ["jpg"]


@given(
    st.lists(
        st.sampled_from(["a.jpg", "a.txt", "b.jpg", "c", ".d", "x/a.jpg", "x/a.txt", "a.seg.png"]),
        max_size=20,
    )
)
def test_every_member_ends_in_exactly_one_sample(names: list[str]) -> None:
    members = [Member(name, 512 * index, 1) for index, name in enumerate(names)]

    samples = group_members(members)

    kept = [member.offset for sample in samples for member in sample.members.values()]
    assert len(set(kept)) == len(kept)
    assert len(kept) + sum(len(sample.duplicates) for sample in samples) == len(members)
