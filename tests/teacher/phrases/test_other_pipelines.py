"""Any spaCy model can be used: its own noun chunks, its folder's digest, errors with a remedy."""

import pytest
import spacy
from spacy.tokens import Doc

from pipelines.config import load_settings
from pipelines.label.job import JobConfig
from schemas.errors import ConfigError, NotFoundError
from teacher.factories import finder_digest, make_finder
from teacher.phrases.chunkers.registry import CHUNKERS
from teacher.phrases.component import make_rules  # also registers both components
from teacher.phrases.judge import stop_heads
from teacher.phrases.tagging import lexicon
from teacher.phrases.text.token_lists import list_words


@pytest.fixture
def saved_model(tmp_path):
    nlp = spacy.blank("en")
    nlp.add_pipe("groundswell_tagger")
    nlp.to_disk(tmp_path / "model")
    return tmp_path / "model"


def test_a_model_is_loaded_by_its_path(saved_model):
    settings = {"pipeline": str(saved_model), "chunker": "pos_grammar"}

    (found,) = make_finder(settings).find(["two red dogs and a cat"])

    assert [(phrase.text, phrase.root) for phrase in found.phrases] == [("red dogs", "dog"), ("a cat", "cat")]


def test_the_digest_follows_the_models_files(saved_model):
    settings = {"pipeline": str(saved_model), "chunker": "pos_grammar"}
    before = finder_digest(settings)

    (saved_model / "meta.json").write_text((saved_model / "meta.json").read_text() + "\n")

    assert finder_digest(settings) != before
    assert make_finder({}).digest == finder_digest({}) != before


@pytest.mark.parametrize("pipeline", ["bundled", "model"])
def test_the_digest_follows_every_word_list(pipeline, saved_model, monkeypatch):
    settings = {"pipeline": str(saved_model) if pipeline == "model" else pipeline}
    digests = {finder_digest(settings)}
    lists = (
        "STOP_HEADS",
        "BEFORE_OF",
        "IMAGE_BEFORE_OF",
        "UNLESS_COMPOUND",
        "CATALOG",
        "MEASURES",
        "PRONOUNS",
    )
    for name in lists:
        with monkeypatch.context() as changed:
            changed.setattr(stop_heads, name, frozenset({"wug"}))
            digests.add(finder_digest(settings))
    monkeypatch.setattr(lexicon, "lexicon_digest", lambda: "of another file")
    digests.add(finder_digest(settings))

    assert len(digests) == len(lists) + 2


def test_an_official_models_labels_are_read_by_its_own_noun_chunks():
    nlp = spacy.blank("en")
    parser = nlp.add_pipe("parser")
    for label in ("dobj", "pobj", "nsubjpass"):
        parser.add_label(label)
    doc = Doc(
        nlp.vocab,
        words=["a", "red", "dog", "bites", "him"],
        heads=[2, 2, 3, 3, 3],
        deps=["det", "amod", "nsubj", "ROOT", "dobj"],
        pos=["DET", "ADJ", "NOUN", "VERB", "PRON"],
        tags=["DT", "JJ", "NN", "VBZ", "PRP"],
    )

    chunks = CHUNKERS.load("noun_chunks").make(nlp)(list_words(doc))

    assert [(chunk.start, chunk.end, chunk.head) for chunk in chunks] == [(0, 3, 2), (4, 5, 4)]


def test_the_component_works_alone_in_a_users_own_pipeline():
    nlp = spacy.blank("en")
    nlp.add_pipe("groundswell_tagger")
    nlp.add_pipe("groundswell_phrases", config={"stop_heads": ["tree"]})

    doc = nlp("a photo of a dog by the tree")

    assert [(span.text, span.label_, span.id_) for span in doc.spans["phrases"]] == [
        ("a dog", "chunk", "dog")
    ]
    assert [span.label_ for span in doc.spans["dropped_phrases"]] == ["PH_IMAGE_WORD", "PH_STOP_HEAD"]


def test_the_component_takes_spans_of_the_document_that_are_given():
    nlp = spacy.blank("en")
    nlp.add_pipe("groundswell_phrases", config={"chunker": "given"})
    doc = nlp.make_doc("a dog by the tree")
    doc.spans["given"] = [doc[3:5]]

    nlp.get_pipe("groundswell_phrases")(doc)

    assert [(span.text, span.label_, span.id_) for span in doc.spans["phrases"]] == [
        ("the tree", "given", "tree")
    ]


def test_a_model_that_is_not_there_and_one_without_a_parser_are_errors_with_a_remedy(tmp_path):
    with pytest.raises(NotFoundError, match="spacy download en_no_such_model"):
        make_finder({"pipeline": "en_no_such_model"})
    with pytest.raises(NotFoundError, match=r"phrases\.language 'de_no_such_model' .*`language: skip`"):
        finder_digest({"language": "de_no_such_model"})
    spacy.blank("en").to_disk(tmp_path / "blank")
    with pytest.raises(ConfigError, match="needs a parser"):
        make_finder({"pipeline": str(tmp_path / "blank")})
    with pytest.raises(ConfigError, match="extra_nouns"):
        make_finder({"pipeline": str(tmp_path / "blank"), "extra_nouns": ["wug"]})
    with pytest.raises(ConfigError, match="no_such"):
        make_rules(spacy.blank("en"), "no_such")


def test_expressions_of_a_model_without_a_parser_are_refused_when_it_is_loaded(saved_model):
    with pytest.raises(ConfigError, match=r"expressions needs a parser.*leave expressions out"):
        make_finder({"pipeline": str(saved_model), "chunker": "ngrams", "expressions": True})


@pytest.mark.parametrize("values", [{"pipeline": "lexicon"}, {"chunker": "pos_grammar"}])
def test_expressions_without_a_parser_are_refused_in_the_configuration(tmp_path, values):
    phrases = ", ".join(f"{name}: {value}" for name, value in {**values, "expressions": "true"}.items())
    (tmp_path / "job.yaml").write_text(
        "input: {urls: [a.tar]}\noutput: {url: out}\nteacher: {kind: glip, model: m}\n"
        f"phrases: {{{phrases}}}\n"
    )

    with pytest.raises(ConfigError, match=r"job\.yaml:4.*expressions needs a parser.*leave expressions out"):
        load_settings(tmp_path / "job.yaml", JobConfig)
