"""The recipe of the bundled pipeline: strict reading, trees that stay trees, rounded weights."""

import lzma
import random

import numpy as np
import pytest
import spacy
import srsly

from schemas.errors import RuntimeEnvironmentError
from teacher.phrases import bundled
from teacher.phrases.training import augment
from teacher.phrases.training.pipeline import round_to_ten_bits, write_pipeline
from teacher.phrases.training.train import score, train
from teacher.phrases.training.treebank import TreebankError, join_words, read_sentences
from teacher.phrases.training.word_forms import collect_word_forms

SENTENCE = """\
# text = He was riding the horse, wasn't he?
1\tHe\the\tPRON\tPRP\t_\t3\tnsubj\t_\t_
2\twas\tbe\tAUX\tVBD\t_\t3\taux\t_\t_
3\triding\tride\tVERB\tVBG\t_\t0\troot\t_\t_
4\tthe\tthe\tDET\tDT\t_\t5\tdet\t_\t_
5\thorse\thorse\tNOUN\tNN\t_\t3\tobj\t_\tSpaceAfter=No
6\t,\t,\tPUNCT\t,\t_\t9\tpunct\t_\t_
7-8\twasn't\t_\t_\t_\t_\t_\t_\t_\t_
7\twas\tbe\tAUX\tVBD\t_\t9\taux\t_\t_
8\tn't\tnot\tPART\tRB\t_\t9\tadvmod\t_\t_
9\the\the\tPRON\tPRP\t_\t3\tparataxis:tag\t_\tSpaceAfter=No
10\t?\t?\tPUNCT\t.\t_\t3\tpunct\t_\t_

1\tA\ta\tDET\tDT\t_\t2\tdet\t_\t_
2\tman\tman\tNOUN\tNN\t_\t3\tnsubj\t_\t_
3\tpaused\tpause\tVERB\tVBD\t_\t0\troot\t_\tSpaceAfter=No
4\t.\t.\tPUNCT\t.\t_\t3\tpunct\t_\t_

"""


@pytest.fixture
def treebank(tmp_path):
    path = tmp_path / "small_train.conllu.xz"
    path.write_bytes(lzma.compress(SENTENCE.encode()))
    return path


@pytest.fixture
def sentences(treebank):
    return list(read_sentences(treebank))


def test_a_treebank_is_read_with_its_blanks_and_without_subtypes_it_does_not_need(sentences):
    assert [join_words(s) for s in sentences] == ["He was riding the horse, wasn't he?", "A man paused."]
    assert sentences[0][8].relation == "parataxis" and sentences[0][0].head is sentences[0][2]


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("3\tobj\t", "99\tobj\t", "no head beyond"),
        ("3\tobj\t", "0\tobj\t", "one root"),
        ("3\tnsubj\t", "2\tnsubj\t", None),
        ("\t5\tdet", "\t4\tdet", "cycle"),
        ("4\tthe", "5\tthe", "where 4 was expected"),
        ("\tPRON\t", "\t", "9 columns"),
        ("\t5\tdet", "\tx\tdet", "not a number"),
        ("\t3\tpunct\t_\t_\n\n1\tA", "\t3\tpunct\t_\t_\n1\tA", "where 11 was expected"),
    ],
)
def test_a_broken_treebank_is_refused_with_its_place(tmp_path, before, after, message):
    path = tmp_path / "t.conllu"
    assert before in SENTENCE
    path.write_text(SENTENCE.replace(before, after, 1))

    if message is None:
        assert len(list(read_sentences(path))) == 2
    else:
        with pytest.raises(TreebankError, match=rf"t\.conllu:\d+.*{message}"):
            list(read_sentences(path))


def test_a_cut_treebank_is_refused(tmp_path):
    path = tmp_path / "t.conllu"
    path.write_text(SENTENCE.rstrip("\n"))

    with pytest.raises(TreebankError, match="cut"):
        list(read_sentences(path))


def test_the_past_becomes_the_present_and_is_is_dropped_before_what_goes_on(sentences):
    forms, (_, paused) = collect_word_forms(sentences), map(augment.copy_sentence, sentences)
    augment.to_present(paused, forms)
    assert join_words(paused) == "A man pauses."

    riding = augment.replace_pronoun_subjects(augment.copy_sentence(sentences[0]), forms, random.Random(0))
    riding = augment.drop_is(riding)

    assert join_words(riding).startswith(("a man riding the horse", "the horse riding the horse"))
    man = riding[1]
    assert man.relation == "root" and riding[2].relation == "acl" and riding[2].head is man


def test_every_change_leaves_one_tree_and_the_source_as_it_was(sentences):
    forms = collect_word_forms(sentences)
    before = [[(w.form, w.tag, w.relation) for w in s] for s in sentences]
    seen = set()

    for seed in range(300):
        changed = augment.make_caption_like(sentences[seed % 2], forms, random.Random(seed))
        seen.add(join_words(changed))
        assert sum(word.head is None for word in changed) == 1
        for word in changed:
            steps = 0
            while word.head is not None:
                word, steps = word.head, steps + 1
                assert any(word is other for other in changed) and steps <= len(changed)

    assert len(seen) > 30 and [[(w.form, w.tag, w.relation) for w in s] for s in sentences] == before


def test_weights_keep_ten_mantissa_bits_and_the_nearest_value():
    weights = np.random.default_rng(0).normal(size=1000).astype(np.float32)

    plain = round_to_ten_bits(weights)

    assert not (plain.view(np.uint32) & 0x1FFF).any()
    assert np.all(np.abs(plain - weights) <= np.abs(weights) * 2.0**-11)
    assert np.array_equal(round_to_ten_bits(plain), plain)


def test_a_trained_pipeline_is_a_plain_spacy_folder_the_same_every_time(sentences, treebank, tmp_path):
    for name in ("one", "two"):
        nlp = train(sentences * 40, epochs=1)
        write_pipeline(nlp, tmp_path / name, score(nlp, [treebank]))

    loaded = spacy.load(tmp_path / "one")
    doc = loaded("A man paused.")
    assert loaded.pipe_names == ["tok2vec", "tagger", "parser"] and doc.has_annotation("DEP")
    assert [t.tag_ for t in doc] == [t.tag_ for t in nlp("A man paused.")]
    assert loaded.meta["license"] == "CC BY-SA 4.0" and loaded.meta["sources"]
    strings = srsly.read_json(tmp_path / "one/vocab/strings.json")
    assert "nsubj" in strings and "VBD" in strings and not {"man", "paused", "riding"} & set(strings)
    assert bundled.folder_digest(tmp_path / "one") == bundled.folder_digest(tmp_path / "two")


def test_a_changed_bundled_folder_is_refused_before_it_is_read(tmp_path):
    (tmp_path / "config.cfg").write_text("not a configuration at all")
    with pytest.raises(RuntimeEnvironmentError, match="reinstall"):
        bundled.load_bundled(tmp_path)
    with pytest.raises(Exception, match="(?i)config|meta"):
        bundled.load_bundled(tmp_path, bundled.folder_digest(tmp_path))
