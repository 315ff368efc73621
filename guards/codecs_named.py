"""Sentences of a request that say which code its text is in, and nothing else.

'The text below is in base64.' is how a question in a code begins.  The name of a code elsewhere ('spell it in
base64', 'in what does it end?') may be how an answer is to be taken apart, so it counts as a probe.
"""

from __future__ import annotations

import re

from policies.text import fold, sentences

_CODES = """
a an the of by with in and or their its each every per
code codes coded encoding encoded escape escapes escaped entity entities point points alphabet cipher cypher
base64 base32 base 64 32 16 url safe unpadded html json unicode utf 8 hex hexadecimal binary octal decimal
rot13 rot 13 caesar s atbash leet leetspeak morse nato braille pig latin ascii
written writing backwards backward reversed letter letters word words line lines pair pairs number numbers
spaced dots dashes x u
""".split()
_CODE = "|".join(sorted(map(re.escape, _CODES), key=len, reverse=True))
_STATED = re.compile(
    r" (?:(?:the|this|my|following|whole) ){0,2}"
    r"(?:text|message|question|prompt|following|sentence|string|code)"
    r" (?:(?:below|above|here|that|which|follows) ){0,2}(?:is|was|comes|stands|has been)"
    rf" (?:(?:written|encoded|coded|given|put|all) ){{0,2}}(?:in|with|as|using)"
    rf"(?: (?:{_CODE}|\d{{1,2}})){{1,8}} "
)


def without_stated(text: str) -> str:
    """Return the sentences of a text but for those that say which code it is in."""
    kept = (text[start:end] for start, end in sentences(text))
    return "".join(each for each in kept if _STATED.fullmatch(fold(each).text) is None)
