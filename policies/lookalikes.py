"""Letters that look like Latin ones: what `policies.text.fold` reads them as.

From the confusables of Unicode Technical Standard #39, version 13.0 (Copyright Unicode, Inc., under the
Unicode License; https://www.unicode.org/license.txt): every letter whose prototype is one or two Latin
letters and that no decomposition of Unicode leads to.  Left out are scripts whose readers would lose letters
by it (Arabic, Hebrew, those of South and South-East Asia, Chinese and Japanese) and letters of which capital
and small form look like different ones.  Keys are folded already.
"""

from __future__ import annotations

_LETTERS = {
    "a": "Ꭺᗅꓮ𐊠𖽀",
    "aa": "ꜳ",
    "ae": "ӕ",
    "ao": "ꜵ",
    "au": "ꜷ",
    "av": "ꜹꜻ",
    "ay": "ꜽ",
    "b": "ƀƃƅɓьѣҍᏏᏴᑲᑳᖯᗷꓐ𐊂𐊡𐌁",
    "c": "ȼҫᏟⲥꓚ𐊢𐌂𐐽𐔜",
    "d": "ƌɖɗᎠᏧᑯᗞᗪꓒꓓ",
    "dz": "ʣ",
    "e": "ɇҽҿᎬⴹꓰꬲ𐊆𑣆𑣎",
    "f": "ϝքᖴᵮẝꓝꞙꬵ𐊇𐊥𐔥𑣂",
    "g": "ƍǥɠԍցᏀᏳᶃꓖ",
    "h": "ɦћңӈӊհᎻᏂᏲᕼⱨⲏꓧꚕ𐋏",
    "i": "ɨɩᎥᵻᵼꙇ",
    "j": "ɉʝϳᎫᒍꓙ",
    "k": "ƙқҟᏦᛕⱪⲕꓗꝁ𐔘",
    "l": "ƚɫɭᏞᒪᛁⲓⳑⵏꓡꓲ𐊊𐌉𐑃𐔦𑣒𖼖𖼨",
    "ls": "ʪ",
    "lz": "ʫ",
    "m": "ɱϻӎᎷᗰᛖᵯⲙꓟ𐊰𐌑",
    "n": "ƞɲɳոռᵰⲛꓠ𐔓",
    "o": "ɵθѳᎤᎾᏫᴑⲟⴱⵁⵔꓳꝋꬽꬾ𐊒𐊫𐐬𐓪𐔖𑣈𑣕𑣗",
    "oo": "ꚙꝏ",
    "p": "ƥᏢᑭᵽⲣꓑ𐊕",
    "q": "ʠգզⵕ",
    "r": "ɍɼɽᎡᎱᏒᖇᴦᵲⲅꓣꭇꭈ𐓜𖼵",
    "s": "ƽʂտᏕᏚᵴꓢ𐊖𐑈𑣁𖼺",
    "t": "ƭʈҭᎢᵵⱦⲧꓔ𐊗𐊱𐌕𖼊",
    "ts": "ʦ",
    "u": "ʉʋսᏌᑌᵾꓴꞟꭎꭒ𐓶𑣘𖽂",
    "ue": "ᵫ",
    "v": "ѵᏙᐯⴸꓦꛟ𐔝𑣀𖼈",
    "w": "ɯѡѽաᎳᏔꓪꝡ",
    "x": "ҳᕁᕽᚷⲭⵝꓫꭓ𐊐𐊴𐌗𐔧",
    "y": "ƴɏɣұᎩᎽᶌỿⲩꓬꭚ𐊲𖽃",
    "z": "ƶȥʐᏃᵶꓜ𑣉",
}

LOOKALIKES = {char: shown for shown, chars in _LETTERS.items() for char in chars}
"""What each letter is read as; all are in small form."""

_SIGNS = {0x1F150: 26, 0x1F170: 26, 0x1F1E6: 26}

SIGNS = {chr(first + at): chr(97 + at) for first, count in _SIGNS.items() for at in range(count)}
"""Letters in circles and squares and the regional indicators, which Unicode does not decompose."""
