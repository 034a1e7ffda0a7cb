"""Each way to find noun phrases, on parses written by hand: what a chunker does, not what a tagger guesses."""

import pytest

from teacher.phrases.chunkers.dependency import find_universal_chunks
from teacher.phrases.chunkers.expressions import extend_to_expression
from teacher.phrases.chunkers.ngrams import find_ngrams
from teacher.phrases.chunkers.pos_grammar import find_tag_chunks
from teacher.phrases.text.token_lists import list_words

DOG = "a/DT/det/3 red/JJ/amod/3 dog/NN/nsubj/4 sits/VBZ/root/0"
PARSES = [
    (DOG, ["a red dog"]),
    ("his/PRP$/nmod:poss/2 cat/NN/nmod:poss/4 's/POS/case/2 toy/NN/root/0", ["his cat 's toy"]),
    ("only/RB/advmod/2 children/NNS/root/0", ["children"]),
    ("a/DT/det/5 cold/JJ/amod/5 ,/,/punct/4 wet/JJ/amod/5 dog/NN/root/0", ["a cold , wet dog"]),
    ("a/DT/det/4 cup/NN/compound/4 ,/,/punct/4 tea/NN/root/0", ["a cup", "tea"]),
    ("dog/NN/nmod/3 |/:/punct/3 photo/NN/root/0", ["dog", "photo"]),
    ("cat/NN/nmod/3 -/:/punct/3 poster/NN/root/0", ["cat", "poster"]),
    ("black/JJ/amod/4 and/CC/cc/3 white/JJ/conj/1 cat/NN/root/0", ["black and white cat"]),
    ("a/DT/det/2 dog/NN/root/0 and/CC/cc/4 cat/NN/conj/2", ["a dog", "cat"]),
    ("Ada/NNP/root/0 Lovelace/NNP/flat/1", ["Ada Lovelace"]),
    ("she/PRP/nsubj/2 sleeps/VBZ/root/0", ["she"]),
    ("the/DT/det/2 building/VBG/nsubj/3 burns/VBZ/root/0", ["the building"]),
    ("a/DT/det/3 man/NN/compound/3 pauses/NNS/root/0", ["a man"]),
    ("a/DT/det/2 car/NN/nsubj/3 approaches/NNS/root/0", ["a car"]),
    ("wind/NN/compound/3 blowing/VBG/amod/3 sand/NN/root/0", ["wind", "sand"]),
    ("heart/NN/root/0 shaped/VBN/amod/3 balloons/NNS/obj/1", ["heart shaped balloons"]),
    ("a/DT/det/2 brush/NN/compound/5 and/CC/cc/4 oil/NN/conj/2 paints/NNS/root/0", ["a brush", "oil paints"]),
    ("a/DT/det/5 middle/JJ/amod/4 -/HYPH/punct/4 aged/JJ/amod/5 man/NN/root/0", ["a middle - aged man"]),
    ("a/DT/det/2 ball/NN/root/0 🎾/NN/flat/2", ["a ball"]),
    # Tags that grammar forbids, mended first.
    ("roses/VBZ/root/0 on/IN/case/4 a/DT/det/4 cake/NN/obl/1", ["roses", "a cake"]),
    ("shows/VBZ/root/0 a/DT/det/3 man/NN/obj/1", ["a man"]),
    ("a/DT/det/2 pink/JJ/nsubj/3 plank/NN/root/0", ["a pink plank"]),
    ("a/DT/det/2 plank/JJ/root/0 near/IN/case/5 a/DT/det/5 dog/NN/obl/2", ["a plank", "a dog"]),
    ("a/DT/det/2 plank/VB/root/0", ["a plank"]),
    ("the/DT/nsubj/2 happy/JJ/root/0", []),
    ("view/NN/root/0 of/IN/case/4 the/DT/det/4 lake/NN/nmod/1", ["view", "the lake"]),
]


def texts(words, chunks) -> list[str]:
    return [words.doc[chunk.start : chunk.end].text for chunk in chunks]


@pytest.mark.parametrize(
    ("parse", "phrases"), PARSES, ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_parse_in_universal_dependencies_gives_base_phrases(parsed, parse, phrases):
    words = list_words(parsed(parse))

    assert texts(words, find_universal_chunks(words)) == phrases


def test_glips_grammar_takes_a_determiner_adjectives_and_nouns_and_nothing_else():
    import spacy
    from spacy.tokens import Doc

    tagged = "the/DT two/CD very/RB old/JJ stone/NN towers/NNS fall/VBP a/DT red/JJ and/CC big/JJ car/NN"
    words, tags = zip(*(item.split("/") for item in tagged.split()))
    doc = Doc(spacy.blank("en").vocab, words=list(words), tags=list(tags))

    assert texts(list_words(doc), find_tag_chunks(list_words(doc))) == ["old stone towers", "big car"]


def test_an_expression_begins_with_its_base_phrase_and_follows_what_describes_it(parsed):
    words = list_words(
        parsed(
            "an/DT/det/3 old/JJ/amod/3 fisherman/NN/nsubj/9 with/IN/case/7 a/DT/det/7 grey/JJ/amod/7 "
            "beard/NN/nmod/3 slowly/RB/advmod/9 rows/VBZ/root/0 a/DT/det/11 boat/NN/obj/9"
        )
    )
    man, beard, boat = find_universal_chunks(words)

    longer = extend_to_expression(words, man)

    assert longer is not None and texts(words, [longer]) == ["an old fisherman with a grey beard"]
    assert longer.start == man.start and longer.head == man.head
    assert extend_to_expression(words, beard) is None and extend_to_expression(words, boat) is None


def test_an_expression_follows_no_conjunct(parsed):
    words = list_words(
        parsed(
            "a/DT/det/2 dog/NN/root/0 in/IN/case/5 a/DT/det/5 coat/NN/nmod/2 and/CC/cc/8 a/DT/det/8 cat/NN/conj/2"
        )
    )
    dog = next(iter(find_universal_chunks(words)))

    assert texts(words, [extend_to_expression(words, dog)]) == ["a dog in a coat"]


def test_ngrams_neither_begin_nor_end_in_a_word_without_meaning_and_cross_no_mark(parsed):
    words = list_words(
        parsed(
            "the/DT/det/2 dog/NN/root/0 of/IN/case/5 the/DT/det/5 king/NN/nmod/2 ,/,/punct/2 cats/NNS/conj/2"
        )
    )

    assert texts(words, find_ngrams(words)) == ["dog", "dog of the king", "king", "cats"]
