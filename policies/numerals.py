"""Number words and names of months, read word by word: what 'the twelfth of March' and '12/3' have in common.

A folded word is read as tokens: '12', 'twelve' and '012' are `12`, '12th' and 'twelfth' are `o12`, 'March',
'märz' and 'марта' are `m3`, '84k' is `84` and `k`.  Words that join numbers ('of', 'the', 'and') are read as
nothing. Values that are dates or numbers are compared in these tokens, so that one key stands for every
language.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Final

from policies.text import fold

HUNDRED: Final = "h"
THOUSAND: Final = "k"
MILLION: Final = "M"
BILLION: Final = "G"
MULTIPLIERS: Final = {HUNDRED: 100, THOUSAND: 10**3, MILLION: 10**6, BILLION: 10**9}
"""Tokens by which the number before them is multiplied."""

_MONTHS = """
1 january jan januar jänner janvier janv enero ene gennaio janeiro januari tammikuu tammikuuta
1 stycznia styczeń ledna leden января январь янв січня ιανουαρίου ιανουάριος ocak január ianuarie
2 february feb februar feber février févr fév febrero febbraio fevereiro fev februari helmikuu
2 helmikuuta lutego luty února únor февраля февраль фев лютого φεβρουαρίου φεβρουάριος şubat február
2 februarie
3 march mar märz maerz mrz mars marzo março maart marts maaliskuu maaliskuuta marca marzec března
3 březen марта март мар березня μαρτίου μάρτιος mart március martie
4 april apr avril avr abril abr aprile huhtikuu huhtikuuta kwietnia kwiecień dubna duben апреля апрель
4 апр квітня απριλίου απρίλιος nisan április aprilie
5 may mai mayo maggio mag maio mei maj toukokuu toukokuuta maja května květen мая май травня μαΐου
5 μάιος mayıs május
6 june jun juni juin junio giugno giu junho kesäkuu kesäkuuta czerwca czerwiec června červen июня июнь
6 июн червня ιουνίου ιούνιος haziran június iunie
7 july jul juli juillet juil julio luglio lug julho heinäkuu heinäkuuta lipca lipiec července červenec
7 июля июль июл липня ιουλίου ιούλιος temmuz július iulie
8 august aug août agosto ago augustus augusti elokuu elokuuta sierpnia sierpień srpna srpen августа
8 август авг серпня αυγούστου αύγουστος ağustos augusztus
9 september sep sept septembre septiembre settembre sett setembro syyskuu syyskuuta września wrzesień
9 září сентября сентябрь сен вересня σεπτεμβρίου σεπτέμβριος eylül szeptember septembrie
10 october oct oktober okt octobre octubre ottobre ott outubro lokakuu lokakuuta października
10 październik října říjen октября октябрь окт жовтня οκτωβρίου οκτώβριος ekim október octombrie
11 november nov novembre noviembre novembro marraskuu marraskuuta listopada listopad listopadu ноября
11 ноябрь ноя листопада νοεμβρίου νοέμβριος kasım noiembrie
12 december dec dezember dez décembre déc diciembre dic dicembre dezembro joulukuu joulukuuta grudnia
12 grudzień prosince prosinec декабря декабрь дек грудня δεκεμβρίου δεκέμβριος aralık decembrie
"""
"""The months' names and what they are shortened to, in the larger European languages: number, names."""
_UNITS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
).split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_ORDINALS = (
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth "
    "fifteenth sixteenth seventeenth eighteenth nineteenth twentieth"
).split()
_MULTIPLIED = {
    HUNDRED: "hundred",
    THOUSAND: "thousand thousands k tausend tsd mille mil mila tusen duizend tuhatta tysięcy tys тысяч "
    "тысячи тыс",
    MILLION: "million millions mio mn mln millionen millones millón milioni milione milhões miljoner miljoen "
    "miljoonaa milionów миллион миллиона миллионов млн",
    BILLION: "billion billions bn bln milliard milliards milliarden mrd miliardi miljarder miljard млрд",
}
_JOINING = "of the and de del do den der le la el in year anno a an año 年 月 日 년 월 일"
_MONEY = frozenset("usd us eur gbp sek nok dkk chf pln czk rub jpy cny inr aud cad nzd kr rs r a c".split())
_ORDINAL_ENDS = frozenset("st nd rd th er e o a re".split())
_GLUED_MULTIPLIERS = {
    "k": THOUSAND, "m": MILLION, "mn": MILLION, "mm": MILLION, "mio": MILLION, "b": BILLION, "bn": BILLION
}  # fmt: skip

_WITH_DIGITS = re.compile(r"([^\W\d_]{0,3})(\d{1,15})([^\W\d_]{0,3})")
_GLUED_DATE = re.compile(r"(\d{1,2})([^\W\d_]{3,12})(\d{2,4})")
_MAX_OPEN = 30
"""A word of digits that is longer is no number, whatever follows."""


@cache
def vocabulary() -> dict[str, tuple[str, ...]]:
    """Return the tokens of every folded word that is one; joining words have none."""
    known: dict[str, tuple[str, ...]] = {}
    for row in _MONTHS.strip().splitlines():
        number, *names = row.split()
        known |= dict.fromkeys(map(_folded, names), (f"m{number}",))
    known |= {word: (str(value),) for value, word in enumerate(_UNITS)}
    known |= {word: (str(10 * value),) for value, word in enumerate(_TENS, 2)}
    known |= {word: (f"o{value}",) for value, word in enumerate(_ORDINALS, 1)}
    known |= {"oh": ("0",), "nought": ("0",), "thirtieth": ("o30",), "point": ("p",)}
    for token, words in _MULTIPLIED.items():
        known |= dict.fromkeys(map(_folded, words.split()), (token,))
    known |= dict.fromkeys(map(_folded, _JOINING.split()), ())
    return known


def _folded(word: str) -> str:
    return fold(word).text.strip()


@cache
def telling() -> frozenset[str]:
    """Return the words of the vocabulary that say something by themselves: a text without any holds no
    number."""
    return frozenset(word for word, tokens in vocabulary().items() if tokens)


@cache
def _beginnings() -> frozenset[str]:
    return frozenset(word[:length] for word in vocabulary() for length in range(1, len(word) + 1))


def may_become(word: str) -> bool:
    """Whether a folded word that has not ended may still become one with a meaning here."""
    return word in _beginnings() or (len(word) <= _MAX_OPEN and any(char.isdecimal() for char in word[:5]))


def numeral(word: str) -> tuple[str, ...] | None:
    """Return the tokens of a folded word; None where it is an ordinary word."""
    tokens = vocabulary().get(word)
    return _with_digits(word) if tokens is None and not word.isalpha() else tokens


def _with_digits(word: str) -> tuple[str, ...] | None:
    if match := _WITH_DIGITS.fullmatch(word):
        before, digits, behind = match.groups()
        number = _plain(digits)
        if before and before not in _MONEY:
            return None
        if not behind or behind in _MONEY:
            return (number,)
        if behind in _ORDINAL_ENDS:
            return (f"o{number}",)
        if behind in _GLUED_MULTIPLIERS:
            return (number, _GLUED_MULTIPLIERS[behind])
    if match := _GLUED_DATE.fullmatch(word):
        day, month, year = match.groups()
        if (named := vocabulary().get(month)) and named[0][0] == "m":
            return (_plain(day), *named, _plain(year))
    return None


def _plain(digits: str) -> str:
    """Return digits of any script as ASCII ones; of two the first is no zero ('03' is a day or month)."""
    if not digits.isascii():
        digits = "".join(str(int(digit)) for digit in digits)
    return digits[1] if len(digits) == 2 and digits[0] == "0" else digits


def spelled(number: int) -> list[str]:
    """Return the tokens of a number in words, from 0 up to 10**12: 84,500 is 80 4 k 5 h."""
    if number < 20:
        return [str(number)]
    if number < 100:
        return [str(number // 10 * 10), *([str(number % 10)] if number % 10 else [])]
    for token, scale in reversed(MULTIPLIERS.items()):
        if number >= scale:
            rest = spelled(number % scale) if number % scale else []
            return [*spelled(number // scale), token, *rest]
    raise AssertionError("every number of a hundred or more has a scale")
