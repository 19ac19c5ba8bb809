"""Scrub: what must never be written down, or never leave a run's folder, is taken out of what is told.

That is logins and secrets, and of a crate homes and host names too: by where they stand (a key or a name that says so),
by what they look like (the tokens of common services), and by being known (this process's variables, and what it was
given).
"""

import getpass
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

WITHHELD = "(withheld)"
_WORDS = r"(?:password|passwd|passphrase|secret[_.-]?key|secret|token|credential|(?:api|access|private)[_.-]?key)"
_MORE = r"pwd|jwt|bearer|cookie|authorization"  # which are words by themselves: `passband` and `bearing` are none
_SECRET = re.compile(rf"{_WORDS}|(?<![a-z])(?:{_MORE})(?![a-z])", re.IGNORECASE)
_NUMBER = re.compile(r"passw|passphrase|secret|credential|[_.-]key", re.IGNORECASE)  # `max_tokens` is none
_VARIABLE = re.compile(rf"{_WORDS}|(?:^|_)(?:PASS|PW|PAT|AUTH|JWT|BEARER|COOKIE)$|_PWD$", re.IGNORECASE)
_LOGIN = re.compile(r"://[^/\s:@]*:([^/\s]+)@")
_ASKED = rf"[?&;#][\w.-]{{0,64}}?(?:{_WORDS}|signature|\bsig|\bauth)[\w.-]{{0,64}}="  # in the query of a URL
_QUERY = re.compile(rf"(?i){_ASKED}([^&\s\"'#;]+)")
_LONG = 1 << 16  # characters of a text from which on it is not remembered
_SHORTEST = 8  # characters of a variable's value, below which it may be any word
_VALUE = re.compile(r"[:(]")
_GIVEN: set[str] = set()
_HOMES = re.compile(
    r"((?:(?<![\w/])|(?<=file://))(?:/(?:gpfs|nfs|mnt|afs|var|export))?/(?:home\d*|[Uu]sers)/|\b[A-Z]:\\{1,2}Users\\{1,2})"
    r"(?!\(someone\))[^\\/\s'\"`:;,)\]}<>|]+"
)
_SPECIAL = frozenset({"root", "nobody", "user", "users"})

_LOOKS = (
    (re.compile(r"(?<=://)[^/\s\"'?#]+@"), ""),  # a login before a host
    (re.compile(rf"(?i)({_ASKED})[^&\s\"'#;]+"), rf"\1{WITHHELD}"),
    (re.compile(rf"(?i)([?&;](?:key|pass|pw|sid|session|{_MORE})=)[^&\s\"'#;]+"), rf"\1{WITHHELD}"),
    (re.compile(r"(?i)(?<=[\w'\"] )((?:password|passwd|pwd)=)[^\s\"',;:()]+(?=[\s\"';]|$)"), rf"\1{WITHHELD}"),
    (re.compile(rf"(?i)(?<!\w)(--[\w-]{{0,40}}{_WORDS}[ =])(?!\(withheld\))[^\s\"',]+"), rf"\1{WITHHELD}"),
    (
        re.compile(rf"(?i)({_WORDS}s?[\"']?\]?(?:\s*:\s*\w+)?\s*[=:]\s*[rbf]?)([\"'])(?!\2)[^\n]*?\2"),
        rf"\1\2{WITHHELD}\2",
    ),
    (
        re.compile(rf"(?is)({_WORDS}s?(?:\s*:\s*\w+)?\s*=\s*[rbf]?)(\"\"\"|''').*?\2"),
        rf"\1\2{WITHHELD}\2",
    ),
    (  # a name and its value as a pair, an option and its as words of a command
        re.compile(
            rf"(?i)((?:\(([\"'])|([\"'])(?=--))[\w.-]{{0,40}}{_WORDS}[\w.-]{{0,40}}(?:\2|\3),\s*[rbf]?)"
            r"([\"'])(?!\4)(?:\\.|(?!\4)[^\\\n])*\4(?=\s*[\]),])"
        ),
        rf"\1\4{WITHHELD}\4",
    ),
    (re.compile(r"(?<!\S)((?:-u|--user)[ =])[^\s:\"']+:[^\s\"']+"), rf"\1{WITHHELD}"),
    (re.compile(r"(?<![\w./:-])[\w.-]{1,64}:[^\s@/:\"'()\[\]]{4,}@(?=[\w-]+\.[\w.-]+:)"), ""),  # as scp has it
    (re.compile(rf"(?m)^([+\- ]?(?:export )?[A-Z0-9_]*{_WORDS.upper()}=)[^\s\"']+$"), rf"\1{WITHHELD}"),
    (
        re.compile(r"(?i)(authorization[\"']?\s*[:=]\s*[\"']?(?:basic|bearer|token|digest|apikey)\s+)[^\s\"']+"),
        rf"\1{WITHHELD}",
    ),
    (
        re.compile(
            r"(?i)((?:\bx-[\w-]{0,40}(?:key|token|secret|auth)|\bprivate-token|\bcookie)\s*:\s*)[\w-]+[^\s\"']+"
        ),
        rf"\1{WITHHELD}",
    ),
    # as long as these are: names in code are none, as `hf_radar_currents`, nor keys, as `sk-0123456789abcdef0123`
    (re.compile(r"\b(?:(?:gh[pousr]|npm)_[A-Za-z0-9]{20,}|hf_[A-Za-z0-9]{30,}|sk-[A-Za-z0-9]{32,})"), WITHHELD),
    (re.compile(r"\b(?:github_pat_|glpat-|pypi-|xox[abeprs]-|sk-(?:proj|ant|svcacct)-|SG\.)[\w.-]{16,}"), WITHHELD),
    (re.compile(r"\b(?:ya29\.|[rs]k_live_|dckr_pat_|glsa_|AIza)[\w.-]{16,}"), WITHHELD),
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"), WITHHELD),
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"), WITHHELD),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL), WITHHELD),
)


class Named(dict[str, str]):
    """Digests or keys by the names of things, which stay: that a thing is called like a secret makes it none."""


def scrub(value: Any, hosts: Sequence[str] = ()) -> Any:
    """Return plain values, or records of these, without homes ("~" for one's own), logins, secrets and names of hosts.

    A secret is the value of a key that is named like one, what has the look of one, and the value of an environment
    variable that is named like one. `hosts` are the names of hosts to be taken out: not of code, where such a name may
    be any word.
    """
    known = _known()
    return _cleaned(value, lambda text: _nobodys(_public(text, known), hosts))


def without_secrets(value: Any) -> Any:
    """Return plain values, or records of these, without logins and secrets alone, as what others may read has them."""
    known = _known()
    return _cleaned(value, lambda text: _public(text, known))


def told_apart(names: Iterable[str]) -> list[str]:
    """Return names without secrets that stay apart, without homes too: the second of one ends with " (2)"."""
    seen, told = Counter[str](), []
    for name in names:
        alike = scrub(name)
        seen[alike] += 1
        number = seen[alike]
        told.append(without_secrets(name) + (f" ({number})" if number > 1 else ""))
    return told


def scrub_known(text: str) -> str:
    """Return text without the secrets of this process's variables and one's home: of a program, whose words it needs.

    What only looks like a secret, as many a name in a program does, stays.
    """
    return _homeless(_without(text, _known()))


def cleaned_code(parts: Mapping[str, str], clean: Callable[[Any], Any]) -> dict[str, str]:
    """Return parts of code by name, cleaned by `scrub` or `without_secrets`.

    A value goes by what it is called in its function, as `f:name`; a function may be called like a secret.
    """
    told = {name: (_VALUE.split(name)[-1], text) for name, text in parts.items()}
    return {
        name: clean(text) if own == name else next(iter(clean({own: text}).values()))
        for name, (own, text) in told.items()
    }


def know(parameters: Any) -> None:
    """Have secrets among plain values be known from now on, wherever they turn up: those under such a name, and logins.

    What is short is not, nor a plain word under a name that has other meanings (a token): it may be any word.
    """
    _GIVEN.update(one for one in _given(parameters) if len(one) >= _SHORTEST)


def know_code(parts: Mapping[str, str]) -> None:
    """Have the values that functions use under such a name be known too."""
    named = ((_VALUE.split(name)[-1], name, text) for name, text in parts.items())
    know([{own: text.strip("'\"")} for own, name, text in named if own != name])


def _given(value: Any, name: str = "") -> Iterator[str]:
    """Walk what may be a secret in plain values that stand under a name which says so, if it is not ""."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _given(inner, str(key) if _SECRET.search(str(key)) else name)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _given(inner, name)
    elif isinstance(value, str):
        yield from _LOGIN.findall(value)
        yield from _QUERY.findall(value)
        yield from [value] if name and (_NUMBER.search(name) or not value.isalpha()) else []


def _cleaned(value: Any, clean: Callable[[str], str]) -> Any:
    if isinstance(value, Named):
        return Named({clean(name): one for name, one in value.items()})
    if isinstance(value, Mapping):
        return {
            _cleaned(key, clean): _withheld(inner, key, clean) if _SECRET.search(str(key)) else _cleaned(inner, clean)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [_cleaned(inner, clean) for inner in value]
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{one.name: _cleaned(getattr(value, one.name), clean) for one in fields(value)})
    return clean(value) if isinstance(value, str) else value


def _withheld(value: Any, key: object, clean: Callable[[str], str]) -> Any:
    """Return what stands under the name of a secret without what may be one: all text; numbers but where they count."""
    if isinstance(value, Mapping):
        return {_cleaned(name, clean): _withheld(inner, key, clean) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_withheld(inner, key, clean) for inner in value]
    secret = isinstance(value, str | bytes) or (type(value) in (int, float) and _NUMBER.search(str(key)))
    return WITHHELD if secret else _cleaned(value, clean)


def _nobodys(text: str, hosts: Sequence[str]) -> str:
    text = _HOMES.sub(r"\1(someone)", _homeless(text))
    if _login():
        text = re.sub(rf"(?<=/){re.escape(_login())}(?=[/\s'\"]|$)", "(someone)", text)
    for host in {name for one in hosts for name in (one, one.partition(".")[0])} - {"", "localhost"}:
        text = re.sub(rf"(?<![\w.-]){re.escape(host)}(?![\w-])", "(host)", text)
    return text


def _public(text: str, known: Sequence[str]) -> str:
    text = _without(text, known)
    return _again(text) if len(text) < _LONG else _unlike_secrets(text)


def _without(text: str, known: Sequence[str]) -> str:
    for secret in known:
        text = text.replace(secret, WITHHELD)
    return text


def _unlike_secrets(text: str) -> str:
    for look, instead in _LOOKS:
        text = look.sub(instead, text)
    return text


_again = lru_cache(maxsize=1024)(_unlike_secrets)  # stages share code, regions remarks


def _homeless(text: str) -> str:
    for home in _homes(os.environ.get("HOME", "")):
        text = re.sub(rf"{re.escape(home)}(?![\w.-])", "~", text)
    return text


def _known() -> Sequence[str]:
    return _secrets(tuple(os.environ.items()), frozenset(_GIVEN))


@cache
def _secrets(variables: tuple[tuple[str, str], ...], given: frozenset[str]) -> list[str]:
    """Return the values of variables that are named like a secret, passwords in the URLs of any, and what was given.

    The longest come first.
    """
    named = {value for name, value in variables if _VARIABLE.search(name)}
    known = named | {found for _, value in variables for found in _LOGIN.findall(value)}
    return sorted(given.union(one for one in known if len(one) >= _SHORTEST), key=len, reverse=True)


@cache
def _homes(_named: str) -> tuple[str, ...]:
    """Return the names of one's own home, the longest first."""
    homes = {str(Path.home()), str(Path.home().resolve())} - {"/"}
    return tuple(sorted(homes, key=len, reverse=True))


@cache
def _login() -> str:
    """Return one's login, where it is somebody's."""
    try:
        login = getpass.getuser()
    except (OSError, KeyError):
        return ""
    return "" if login in _SPECIAL or len(login) < 3 else login
