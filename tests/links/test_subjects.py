"""Each topic has one subject, and each subject one topic; patterns are subjects with wildcards."""

from __future__ import annotations

import re
from typing import Any, List

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ate_dispatcher import TopicPattern
from ate_dispatcher.errors import BadType, BadValue
from ate_dispatcher.links.subjects import (
    check_name,
    pattern_of,
    subject_of,
    topic_of,
    wildcard_of,
)

topics = st.one_of(
    st.text(st.characters(blacklist_categories=["Cs"]), max_size=12),
    st.text(st.sampled_from("ab.%*> 2E\t\u00fc"), max_size=8),
)
tokens = st.text(st.sampled_from("ab%*> \u00fc"), min_size=1, max_size=3)


@pytest.mark.parametrize(
    ("topic", "subject"),
    [
        ("rail.3V3", "rail.3V3"),
        ("rail 3.3V", "rail%203.3V"),
        ("a/b-c_d!$~", "a/b-c_d!$~"),
        ("", "%"),
        (".", "%.%"),
        ("a..b", "a.%.b"),
        (".a", "%.a"),
        ("100%", "100%25"),
        ("%", "%25"),
        ("%41", "%2541"),
        ("a.*", "a.%2A"),
        ("a>b.>", "a%3Eb.%3E"),
        ("\t\r\n\x00\x7f", "%09%0D%0A%00%7F"),
        ("Spannung.\u00fc", "Spannung.%C3%BC"),
        ("\U0001f600", "%F0%9F%98%80"),
    ],
)
def test_a_topic_is_a_subject(topic: str, subject: str) -> None:
    """And the other way round."""
    assert subject_of(topic) == subject
    assert topic_of(subject) == topic


@settings(max_examples=60)
@given(topics)
def test_every_topic_comes_back(topic: str) -> None:
    """From what any server takes as a subject, with as many tokens."""
    subject = subject_of(topic)
    assert topic_of(subject) == topic
    assert re.fullmatch(r"[!-~]+", subject)
    assert not re.search(r"[*>]|^\.|\.\.|\.$", subject)
    assert subject.count(".") == topic.count(".")


@settings(max_examples=100)
@given(st.text(st.sampled_from("ab.%*> 2050AaCFEcf\u00fc\x7f"), max_size=8))
def test_no_other_subject_has_a_topic(subject: str) -> None:
    """What is read is written just so."""
    try:
        topic = topic_of(subject)
    except BadValue:
        return
    assert subject_of(topic) == subject


@pytest.mark.thorough
@settings(max_examples=1000)
@given(topics, st.text(st.sampled_from("ab.%*> 2050AaCFEcf\u00fc\x7f"), max_size=8))
def test_topics_and_subjects_always_belong_together(topic: str, subject: str) -> None:
    """More of the same."""
    test_every_topic_comes_back.hypothesis.inner_test(topic)  # type: ignore[attr-defined]
    test_no_other_subject_has_a_topic.hypothesis.inner_test(subject)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "subject",
    [
        *("", ".", "a.", ".a", "a..b", "a.*", ">", "a b", "a\n", "\u00fc", "\x7f", "%4", "%zz"),
        *("%41", "%2e", "%2E", "%2a", "a%", "%%", "%.%x", "%C3", "%ED%A0%80", "%C0%80", "%FF"),
        "a" * 1025,
        "%20" * 342,
    ],
)
def test_the_subject_of_no_topic_is_refused(subject: str) -> None:
    """There is one way of writing it."""
    with pytest.raises(BadValue, match="no topic has the subject"):
        topic_of(subject)


def test_a_topic_that_is_too_long_is_refused_by_its_name() -> None:
    """1,024 bytes are not, as they travel."""
    for topic in ("a" * 1024, "\u00fc" * 170 + "abcd", "." * 511 + "aa"):
        assert len(subject_of(topic)) == 1024
        assert topic_of(subject_of(topic)) == topic
        with pytest.raises(BadValue, match=r"^topic '.*\.\.\..*1,02[5-9] bytes, of at most 1,024"):
            subject_of(topic + "a")
    with pytest.raises(BadValue, match="at most 1,024"):
        wildcard_of(TopicPattern("*." + "a" * 1023))
    assert len(wildcard_of(TopicPattern("*." + "a" * 1022))) == 1024


def test_a_topic_that_is_no_text_is_refused() -> None:
    """Nor is one that cannot be UTF-8; a text of a subclass is what it says."""
    for topic in (1, b"a", ("a",), None, TopicPattern("a.*")):
        with pytest.raises(BadType, match="a topic must be a str to be known elsewhere"):
            subject_of(topic)
    with pytest.raises(BadValue, match="lone surrogate"):
        subject_of("a.\ud800")

    class Text(str):
        __slots__ = ()

        def __str__(self) -> str:
            raise AssertionError("asked")

    subject = subject_of(Text("a.b"))
    assert subject == "a.b"
    assert type(subject) is str


# -- patterns --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "subject"),
    [
        ("*", "*"),
        (">", ">"),
        ("site.*.voltage", "site.*.voltage"),
        ("site 1.>", "site%201.>"),
        ("100%.*", "100%25.*"),
        ("\u00fc.*.>", "%C3%BC.*.>"),
    ],
)
def test_a_pattern_is_a_subject_with_wildcards(text: str, subject: str) -> None:
    """And the other way round; it is no topic's."""
    assert wildcard_of(TopicPattern(text)) == subject
    assert pattern_of(subject) == TopicPattern(text)
    with pytest.raises(BadValue):
        topic_of(subject)


@pytest.mark.parametrize(
    "subject", ["", "a", "a.b", "%2A", "%2A.*", "a.>.b", "*a", "%.*", "a..*", "\u00fc.*", "%41.*"]
)
def test_the_subject_of_no_pattern_is_refused(subject: str) -> None:
    """Neither are those of topics patterns."""
    with pytest.raises(BadValue):
        pattern_of(subject)


def server_matches(wildcard: str, subject: str) -> bool:
    """As a server would, by its rules, which know nothing of ours."""
    pattern: List[str] = wildcard.split(".")
    for index, token in enumerate(subject.split(".")):
        if index == len(pattern):
            return False
        if pattern[index] == ">":
            return True
        if pattern[index] not in ("*", token):
            return False
    return len(subject.split(".")) == len(pattern)


@settings(max_examples=100)
@given(
    st.lists(st.one_of(st.just("*"), tokens), min_size=1, max_size=4),
    st.booleans(),
    st.lists(st.one_of(st.just(""), tokens), min_size=1, max_size=4),
)
def test_a_server_finds_all_topics_of_a_pattern(
    wild: List[str], rest: bool, others: List[str]
) -> None:
    """Beyond them, none but those with an empty token."""
    try:
        pattern = TopicPattern(".".join([*wild, ">"] if rest else wild))
    except BadValue:
        return
    for topic in (".".join(others), ".".join(wild), ".".join([*wild, *others])):
        found = server_matches(wildcard_of(pattern), subject_of(topic))
        assert found or not pattern.matches(topic)
        assert pattern.matches(topic) or not found or "" in topic.split(".")


# -- names -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a", "rig-1_B", "0", "-", "x" * 64])
def test_a_name_is_itself(name: str) -> None:
    """Of a part, or of a namespace."""
    assert check_name("part", name) == name


@pytest.mark.parametrize(
    "name", ["", "a b", "a.b", "a\n", "\u00fc", "\u0661", "x" * 65, "*", ">", "%", "\ud800"]
)
def test_what_is_no_name_is_refused(name: str) -> None:
    """Naming the parameter, and what was given."""
    with pytest.raises(BadValue, match=r"^part must be 1 to 64 .*, not '"):
        check_name("part", name)


def test_a_name_is_text() -> None:
    """Nothing else."""
    for name in (None, 1, b"a"):
        wrong: Any = name
        with pytest.raises(BadType, match=f"^namespace must be a str, not {name!r}"):
            check_name("namespace", wrong)
