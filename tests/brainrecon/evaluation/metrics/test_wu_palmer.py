"""Wu and Palmer's similarity: recorded pairs, a brute-force twin on random trees, labels, and the null of permutations."""

from functools import cache
from itertools import permutations

import numpy as np
import pytest
from small_wordnet import line_of, synset, write_small_wordnet

from brainrecon.evaluation.metrics.wu_palmer import Nouns, compare_labels, wu_palmer
from stages.ground.errors import InputError
from stages.ground.reading.wordnet_files import Noun, read_nouns


@pytest.fixture(scope="module")
def nouns(tmp_path_factory):
    return Nouns.of_folder(write_small_wordnet(tmp_path_factory.mktemp("wordnet")))


@pytest.mark.parametrize(
    ("other", "recorded"),
    [("pear", 0.909), ("fruit", 0.900), ("food", 0.462), ("home", 0.316), ("life", 0.143), ("school", 0.125)],
)
def test_pairs_that_the_authors_recorded_with_nltk(nouns, other, recorded):
    """Home is nearer to object by way of physical entity than on the way that the depth is counted on."""
    found = nouns.similarity(synset("apple"), synset(other))
    assert round(found, 3) == recorded
    assert nouns.similarity(synset(other), synset("apple")) == found


def test_one_synset_is_like_itself(nouns):
    assert nouns.similarity(synset("school"), synset("school")) == 1


def ways_to_root(tree, name):
    """All ways from a synset up, each a list of names."""
    above = tree[name].hypernyms
    return [[name, *way] for one in above for way in ways_to_root(tree, one)] if above else [[name]]


def by_brute_force(tree, one, other):
    """As NLTK says it: every way is written out."""

    @cache
    def ways(name):
        return ways_to_root(tree, name)

    def steps(name, above):
        return min((way.index(above) for way in ways(name) if above in way), default=np.inf)

    def distance(name, above):
        return min(steps(name, each) + steps(above, each) for each in tree)

    shared = {each for way in ways(one) for each in way} & {each for way in ways(other) for each in way}
    deepest = max(min(map(len, ways(each))) for each in shared)
    lowest = [each for each in shared if min(map(len, ways(each))) == deepest]
    subsumer = one if one in lowest else min(lowest, key=lambda each: tree[each].words[0])
    depth = max(map(len, ways(subsumer)))
    return 2 * depth / (distance(one, subsumer) + distance(other, subsumer) + 2 * depth)


@pytest.mark.parametrize("seed", range(4))
def test_random_trees_vs_brute_force(seed):
    draws = np.random.default_rng(seed)
    names = [f"n{number:08d}" for number in range(1, 31)]
    tree = {names[0]: Noun(("w00",), ())}
    for row in range(1, 30):
        above = draws.choice(row, size=min(row, int(draws.integers(1, 4))), replace=False)
        tree[names[row]] = Noun((f"w{row:02d}",), tuple(names[one] for one in above))
    nouns = Nouns(tree)
    for one, other in draws.choice(names, (60, 2)).tolist():
        assert nouns.similarity(one, other) == pytest.approx(by_brute_force(tree, one, other), abs=1e-12)


def test_labels_by_number_or_by_all_their_words(nouns):
    assert nouns.find(f"{synset('pear')} whatever") == synset("pear") == nouns.find("pear, some pear")
    labels = [f"{synset('apple')} apple", f"{synset('home')}_17"]
    np.testing.assert_allclose(wu_palmer(labels, ["pear, some pear", synset("home")], nouns), [20 / 22, 1])
    for label, said in (("pear", "0 synsets have just these words"), ("n99999999 x", "is of no noun among 36")):
        with pytest.raises(InputError, match=said):
            nouns.find(label)
    with pytest.raises(InputError, match="1 labels for 2 references"):
        wu_palmer(labels, labels[:1], nouns)


def test_the_null_is_that_of_all_permutations(nouns):
    true = [synset(name) for name in ("apple", "home", "school", "life", "pear")]
    named = [synset(name) for name in ("pear", "residence", "group", "state", "pome")]
    found = compare_labels(true, named, nouns, classes=[synset("apple"), synset("pear")], n_permutations=20_000)
    means = [wu_palmer(true, order, nouns).mean() for order in permutations(named)]
    assert found.null == pytest.approx(np.mean(means)) and found.mean == found.scores.mean()
    exact = np.mean([mean >= found.mean - 1e-12 for mean in means])
    assert exact <= 2 / 120 and found.p_value == pytest.approx(exact, abs=0.004)
    assert found.known == 2 / 5 and np.isnan(compare_labels(true, named, nouns).known)
    # Names that belong to other stimuli are no better than permutations.
    assert compare_labels(true, named[2:] + named[:2], nouns).p_value > 0.2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no synset of nouns"),
        ("00000001 03 v 01 go 0 000 | a verb\n", "Line 1 of .* and not a synset of nouns"),
        ("00000001 03 n 02 thing 0\n", "Line 1 of .* not a synset of nouns"),
        (line_of(7, ["thing"], [])[:30] + "\n", "not a synset of nouns"),
        ("ein Brief\n", "not a synset of nouns"),
        (line_of(7, ["thing"], [8]), "n00000007 in .* is a kind of n00000008, which is not there"),
        (line_of(7, ["thing"], [8]) + line_of(8, ["other"], [7]), "is a kind of itself"),
    ],
)
def test_files_that_are_not_wordnets_are_refused(tmp_path, text, said):
    (tmp_path / "data.noun").write_text(text)
    with pytest.raises(InputError, match=said):
        Nouns.of_folder(tmp_path)


def test_an_instance_is_below_what_it_is_an_instance_of(tmp_path):
    (tmp_path / "data.noun").write_text(line_of(7, ["city"], []) + line_of(8, ["Rome"], [7], sign="@i"))
    assert read_nouns(tmp_path)["n00000008"] == Noun(("Rome",), ("n00000007",))
    with pytest.raises(InputError, match="There is no file .*data.noun"):
        read_nouns(tmp_path / "elsewhere")
