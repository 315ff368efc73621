"""Regexes: which may run on a stream, and that what is said about their width is true."""

from __future__ import annotations

import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.grammar import PatternError
from policies.patterns import MAX_SOURCE, bounded

# regex, longest match and lookahead, left context
GOOD = [
    (r"abc", 3, 0),
    (r"\b(?:\d[ -]?){13,19}\b", 38, 1),
    (r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}", 640, 0),
    (r"[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?", 44, 0),
    (r"(?:\+?\d{1,3}[ .-]?)?(?:\(\d{1,4}\)[ .-]?)?\d{2,4}(?:[ .-]?\d{2,4}){1,4}", 36, 0),
    (r"\b(?!000|666)\d{3}-(?!00)\d{2}-(?!0000)\d{4}\b", 11, 1),
    (r"(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)", 15, 0),
    (r"https?://[\w.-]{1,100}(?:/[\w./-]{0,200})?", 309, 0),
    (r"(?i)\bemp-\d{5,8}\b", 12, 1),
    (r"(?ims)^a.", 2, 1),
    (r"\p{Lu}\p{Ll}{1,30}\P{L}", 32, 0),
    (r"(?<=ID: {1,3})\d{3}", 3, 6),
    (r"(?<!\w)x(?<=\bx)", 1, 1),
    (r"\d{4}(?= USD)", 7, 0),
    (r"\d{4}(?!\d)", 4, 0),
    (r"(?m:x$)", 1, 0),
    (r"x$", 2, 0),
    (r"(?=abcd)a", 3, 0),
    (r"(?:[ab]|c|d){1,60}e", 61, 0),
    (r"x\Z", 1, 0),
    (r"(?>\d{1,9}){1,9}x", 82, 0),
    (r"(?:\d{1,9}+){1,9}x", 82, 0),
    (r"(?P<a>b)(?<c>d)(e)", 3, 0),
    (r"(?i:a)(?-i:b)(?s-m:.)", 3, 0),
    (r"\x41\u0042\U00000043\t\.\-", 6, 0),
    (r"[^a\]\-b-\x7f]{2,3}?", 3, 0),
    (r"a|bc|def", 3, 0),
    (r"a{,3}b", 4, 0),
    (r"a{2}?b", 3, 0),
    (r"(?:)a", 1, 0),
    (r"(?:a|\b)b", 2, 1),
    (r"(?:\bx?|y)z", 2, 1),
    (r"漢{1,20}字", 21, 0),
]

BAD = [
    (r"a*", "'*' at position 2; say how often at most: use {0,40}"),
    (r"\d+", "'+' at position 3; say how often at most: use {1,40}"),
    (r"a{3,}", "'{3,}' at position 2; say how often at most: use {3,43}"),
    (r"a{,}", "begins no count"),
    (r"a{2,1}", "never met"),
    (r"a{0}", "never met"),
    (r"(?:abc){i<=3}", "begins no count"),
    (r"a{e}", "begins no count"),
    (r"a{1000}b", "up to 1,001 characters wide"),
    (r"((a{999}){999}){999}", "up to 997,002,999"),
    (r"((((a{999}){999}){999}){999}){999}", "far too many"),
    (r"\d(?=\w{1000}x)", "up to 1,001"),
    (r"(?<=a{1001})b", "up to 1,001"),
    (r"a?", "can match nothing"),
    (r"\b", "can match nothing"),
    (r"", "can match nothing"),
    (r"a||b", "can match nothing"),
    (r"(a)\1", "refers back"),
    (r"(?P<a>b)(?P=a)", "refers back"),
    (r"(a)\g<1>", "refers back"),
    (r"(?(1)a|b)", "refers back"),
    (r"(?R)", "unknown group"),
    (r"(?1)", "unknown group"),
    (r"(?&a)", "unknown group"),
    (r"(?|a|b)", "unknown group"),
    (r"(?#c)a", "unknown group"),
    (r"(*FAIL)", "unknown group"),
    (r"(?x)a b", "sets the flag 'x'"),
    (r"(?x:a b)", "sets the flag 'x' for a group"),
    (r"a(?i)b", "in its middle"),
    (r"(", "without its ')'"),
    (r"a)", "too many"),
    (r"[a", "without its ']'"),
    (r"[]a]", "inside a class"),
    (r"[[:alpha:]]", "inside a class"),
    (r"[a--b]", "inside a class"),
    (r"[z-a]", "bad character range"),
    (r"\p{Nonsense}", "does not compile"),
    (r"\X", "unknown escape"),
    (r"\K", "unknown escape"),
    (r"a\R", "unknown escape"),
    (r"\U00110000", "beyond"),
    ("a\\", "ends in a backslash"),
    (r"*a", "nothing to repeat"),
    (r"a}", "a lone '}'"),
    (r"a**", "unbounded"),
    (r"a{2}{3}", "two quantifiers"),
    (r"a{2}+?", "two quantifiers"),
    (r"\b{2}a", "repeats a position"),
    (r"(?:" * 12 + "a" + ")" * 12, "nests more than"),
    ("\x08abc", "U+0008"),
    ("a" * (MAX_SOURCE + 1), "4001 characters long"),
    # bounded and catastrophic
    (r"(?:a{1,40}){1,25}", "ways from one position"),
    (r"(?:\w{1,9} ?){1,20}x", "ways from one position"),
    (r"(?:a|a){1,30}b", "ways from one position"),
    (r"(?:a|ab|b){1,60}c", "ways from one position"),
    (r"a(?:a?){30}a{30}", "ways from one position"),
    (r"(\d{1,10}){1,10}$", "ways from one position"),
    (r".{1,40}.{1,40}.{1,40}.{1,40}x", "ways from one position"),
    (r"a(?=(?:a{1,9}){1,9}b)", "ways from one position"),
    (r"(?:[一-龥]|漢){1,30}x", "ways from one position"),
    (r"a{1,200}(?!a{1,300}b)", "ways from one position"),
]


@pytest.mark.parametrize(("source", "width", "left"), GOOD, ids=[source for source, *_ in GOOD])
def test_a_bounded_regex_is_taken_with_its_width(source: str, width: int, left: int) -> None:
    pattern = bounded(source)
    assert (pattern.regex, pattern.max_width, pattern.left_context) == (source, width, left)
    assert regex.compile(pattern.regex, pattern.flags).fullmatch("\0") is None


@pytest.mark.parametrize(
    ("source", "says"), BAD, ids=[source[:30].encode("unicode_escape").decode() for source, _ in BAD]
)
def test_any_other_regex_is_refused_with_the_reason(source: str, says: str) -> None:
    with pytest.raises(PatternError) as caught:
        bounded(source)
    assert says in str(caught.value)
    assert caught.value.wrong and caught.value.valid


def test_luhn_needs_digits() -> None:
    assert bounded(r"\d{4}", "luhn").check == "luhn"
    with pytest.raises(PatternError, match="no digit"):
        bounded(r"[a-z]{4}", "luhn")


_PIECES = st.sampled_from(
    [
        "a",
        "b",
        "1",
        " ",
        ".",
        r"\d",
        r"\w",
        r"\s",
        r"\b",
        "[ab]",
        "[^a]",
        "(",
        ")",
        "(?:",
        "(?=",
        "(?!",
        "(?<=",
        "(?<!",
        "(?>",
        "(?i:",
        "|",
        "?",
        "{2}",
        "{1,3}",
        "{,2}",
        "{1,2}?",
        "{1,2}+",
        "^",
        "$",
        r"\Z",
        "-",
        "]",
        "{",
        "}",
        "*",
        "+",
        r"\1",
        "[[",
        "{e}",
        r"\p{L}",
        "(?i)",
        "ß",
        r"\x41",
        "İ",
    ]
)
_TEXTS = st.text(st.sampled_from("ab1 -A_\nßsSİi]{"), max_size=30)


@settings(max_examples=1000, deadline=None)
@given(st.lists(_PIECES, min_size=1, max_size=12).map("".join), _TEXTS)
def test_no_match_is_wider_than_was_said_nor_empty(source: str, text: str) -> None:
    try:
        pattern = bounded(source)
    except PatternError:
        return
    for match in regex.compile(pattern.regex, pattern.flags).finditer(text, overlapped=True):
        assert 0 < len(match.group()) <= pattern.max_width


_CHARS = st.sampled_from(["a", "[ab]", "b", r"\w", "[^b]", ".", "é"])
_TREES = st.recursive(
    _CHARS,
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3).map("".join)
        | st.lists(inner, min_size=1, max_size=3).map(lambda each: f"(?:{'|'.join(each)})")
        | st.tuples(inner, st.sampled_from(["?", "{1,3}", "{2,4}", "{,2}", "{3}", "{1,3}?", "{1,2}+"])).map(
            lambda pair: f"(?:{pair[0]}){pair[1]}"
        )
        | inner.map(lambda each: f"(?={each})a")
        | inner.map(lambda each: f"(?<!{each})b")
    ),
    max_leaves=8,
)


@settings(max_examples=500, deadline=None)
@given(_TREES, st.text("abé_", max_size=40), st.text("abé_", max_size=8))
def test_what_stands_beyond_width_and_left_context_changes_no_match(
    source: str, text: str, other: str
) -> None:
    try:
        pattern = bounded(source)
    except PatternError:
        return
    compiled = regex.compile(pattern.regex, pattern.flags)
    for match in compiled.finditer(text, overlapped=True):
        before = text[max(0, match.start() - pattern.left_context) : match.start()]
        behind = text[match.start() : match.start() + pattern.max_width + 1]
        if pattern.left_context <= match.start() and len(behind) > pattern.max_width:
            again = compiled.match(before + behind + other, len(before))
            assert again is not None and again.group() == match.group()


def test_a_pattern_near_the_limit_of_work_still_runs_in_time() -> None:
    compiled = regex.compile(bounded(r"(?:a|a){1,12}[bc]").regex)
    assert compiled.search("a" * 200, timeout=5) is None
