"""The rules as data: each one proves itself by its own examples."""

import pytest

from reliable_email.classification import Cause, classify
from reliable_email.classification.rulebook import Rule, RuleBook, RuleError, loose_rulebook, rulebook
from reliable_email.classification.words import embedded_status, words
from reliable_email.providers import canonical_name
from reliable_email.smtp.syntax.replies import parse_reply

RULES = (*rulebook().rules, *loose_rulebook().rules)


def examples(kind):
    """Each rule with each of its examples of a kind."""
    return [pytest.param(rule, text, id=f"{rule.id}: {text[:40]}") for rule in RULES for text in getattr(rule, kind)]


def deciding_rule(rule, text):
    """The id of the rule that decides a reply said at a stage that the rule is about."""
    return classify(parse_reply(text), stage=next(iter(rule.stages), None)).rule


@pytest.mark.parametrize(("rule", "text"), examples("must_match"))
def test_a_rule_decides_its_examples(rule, text):
    """Each example is decided by its rule, with no provider named: no rule is hidden behind another."""
    assert deciding_rule(rule, text) == rule.id


@pytest.mark.parametrize(("rule", "text"), examples("must_not_match"))
def test_a_rule_leaves_counterexamples_alone(rule, text):
    """A counterexample shares words with the rule and means something else."""
    assert deciding_rule(rule, text) != rule.id


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_a_rule_has_examples_and_can_be_reached(rule):
    """A rule without an example could be dead without anybody noticing."""
    assert rule.must_match
    assert rule.is_textual or rule.stages


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.provider], ids=lambda rule: rule.id)
@pytest.mark.parametrize("named", ["own", "other"])
def test_a_provider_rule_also_serves_others(rule, named):
    """A provider's rules come first when it is named, and still serve when another one is: relays pass replies on."""
    provider = rule.provider if named == "own" else "generic"
    reply = parse_reply(rule.must_match[0])
    read = words(reply.text)
    enhanced = reply.enhanced or embedded_status(reply.text)
    known = canonical_name(provider) or ""
    assert rule in list(rulebook().matches(read, str(reply.code), enhanced, None, known))


def rule(**values):
    """A rule that matches one word."""
    return Rule(**{"id": "one", "order": 0, "cause": Cause.GREYLISTED, "any_of": (" grey ",), **values})


def test_two_rules_may_not_share_an_id():
    """The id is what `explain_reply` and rows point to."""
    with pytest.raises(RuleError, match="used twice: one"):
        RuleBook((rule(), rule(order=1)))


def test_the_named_providers_rule_wins_over_an_earlier_one():
    """A rule of the named provider comes before rules that stand above it in the file."""
    book = RuleBook((rule(id="first", provider="ses"), rule(id="second", provider="gmail", order=1)))
    assert [found.id for found in book.matches(" grey ", "450", "", None, "")] == ["first", "second"]
    assert [found.id for found in book.matches(" grey ", "450", "", None, "gmail")] == ["second", "first"]
