"""E-mail addresses and URLs, in figures and in words: 'name@example.org' and 'name at example dot org'."""

from __future__ import annotations

import re
from collections.abc import Iterator

_EMAIL = re.compile(r"(?:mailto:)?([\w.+-]{1,64})@([\w-]+(?:\.[\w-]+)+)", re.IGNORECASE)
_URL = re.compile(r"(?:https?://)?(?:www\.)?([\w-]+(?:\.[\w-]+)+)((?:[/?#:][^\s]*)?)", re.IGNORECASE)
_TOP_LEVEL = re.compile(r"[^\W\d_]{2,18}")
_SPOKEN = (("at", "dot"), ("at", "punkt"), ("arobase", "point"), ("arroba", "punto"), ("chiocciola", "punto"))
"""How '@' and '.' are read aloud: English, German, French, Spanish, Italian."""


def email(value: str) -> tuple[str, str] | None:
    """Return the local part and the domain of an e-mail address, or None."""
    match = _EMAIL.fullmatch(value.strip())
    return (match[1], match[2]) if match and _is_domain(match[2]) else None


def url(value: str) -> tuple[str, str] | None:
    """Return the host without 'www' and the rest of a URL, or None."""
    match = _URL.fullmatch(value.strip())
    return (match[1], match[2]) if match and _is_domain(match[1]) else None


def _is_domain(host: str) -> bool:
    return _TOP_LEVEL.fullmatch(host.rsplit(".", 1)[-1]) is not None


def email_forms(local: str, domain: str) -> Iterator[str]:
    """Yield every writing of an address, to be folded: '[at]' and '(at)' fold to 'at'."""
    yield f"{local} {domain}"
    for at, dot in _SPOKEN:
        spoken = domain.replace(".", f" {dot} ")
        yield f"{local} {at} {spoken}"
        if "." in local:
            yield f"{local.replace('.', f' {dot} ')} {at} {spoken}"
    yield f"{local} at {domain}"
    yield f"{local} {domain.replace('.', ' dot ')}"


def url_forms(host: str, rest: str) -> Iterator[str]:
    """Yield every writing of a URL, to be folded: without scheme and 'www', and with the dots in words."""
    yield f"{host}{rest}"
    for dot in dict.fromkeys(dot for _, dot in _SPOKEN):
        spoken = host.replace(".", f" {dot} ")
        yield f"{spoken}{rest}"
        if rest.strip("/"):
            yield f"{spoken}{rest.replace('/', ' slash ')}"
