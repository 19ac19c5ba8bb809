"""Scrub: what must never leave a run's folder is taken out of what is written into a crate.

That is homes, logins, host names and secrets: by where they stand (a key or a name that says so), by what they look
like (the tokens of common services), and by being known (the values of this process's own variables).
"""

import getpass
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

WITHHELD = "(withheld)"
_WORDS = r"(?:password|passwd|passphrase|secret[_.-]?key|secret|token|credential|(?:api|access|private)[_.-]?key)"
_MORE = r"pwd|jwt|bearer|cookie|authorization"  # which are words by themselves: `passband` and `bearing` are none
_SECRET = re.compile(rf"{_WORDS}|(?<![a-z])(?:{_MORE})(?![a-z])", re.IGNORECASE)
_NUMBER = re.compile(r"passw|passphrase|secret|credential|[_.-]key", re.IGNORECASE)  # `max_tokens` is none
_VARIABLE = re.compile(rf"{_WORDS}|(?:^|_)(?:PASS|PW|PAT|AUTH|JWT|BEARER|COOKIE)$|_PWD$", re.IGNORECASE)
_LOGIN = re.compile(r"://[^/\s:@]*:([^/\s]+)@")
_SHORTEST = 8  # characters of a variable's value, below which it may be any word
_HOMES = re.compile(
    r"((?:(?<![\w/])|(?<=file://))(?:/(?:gpfs|nfs|mnt|afs|var|export))?/(?:home\d*|[Uu]sers)/|\b[A-Z]:\\{1,2}Users\\{1,2})"
    r"(?!\(someone\))[^\\/\s'\"`:;,)\]}<>|]+"
)
_SPECIAL = frozenset({"root", "nobody", "user", "users"})

_LOOKS = (
    (re.compile(r"(?<=://)[^/\s\"'?#]+@"), ""),  # a login before a host
    (
        re.compile(rf"(?i)([?&;#][\w.-]*(?:{_WORDS}|signature|\bsig|\bauth)[\w.-]*=)[^&\s\"'#;]+"),
        rf"\1{WITHHELD}",
    ),
    (re.compile(rf"(?i)([?&;](?:key|pass|pw|sid|session|{_MORE})=)[^&\s\"'#;]+"), rf"\1{WITHHELD}"),
    (re.compile(r"(?i)(?<=[\w'\"] )((?:password|passwd|pwd)=)[^\s\"',;:()]+(?=[\s\"';]|$)"), rf"\1{WITHHELD}"),
    (re.compile(rf"(?i)(?<!\w)(--?[\w-]{{0,40}}{_WORDS}[ =])(?!\(withheld\))[^\s\"',]+"), rf"\1{WITHHELD}"),
    (
        re.compile(rf"(?i)({_WORDS}s?[\"']?\]?(?:\s*:\s*\w+)?\s*[=:]\s*[rbf]?)([\"'])(?!\2)[^\n]*?\2"),
        rf"\1\2{WITHHELD}\2",
    ),
    (
        re.compile(rf"(?is)({_WORDS}s?(?:\s*:\s*\w+)?\s*=\s*[rbf]?)(\"\"\"|''').*?\2"),
        rf"\1\2{WITHHELD}\2",
    ),
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
    (re.compile(r"\b(?:gh[pousr]_|github_pat_|glpat-|sk-|hf_|pypi-)[A-Za-z0-9_]{16,}"), WITHHELD),
    (re.compile(r"\b(?:xox[abeprs]-|sk-(?:proj|ant|svcacct)-|SG\.|ya29\.)[\w.-]{16,}"), WITHHELD),
    (re.compile(r"\b(?:[rs]k_live_|npm_|dckr_pat_|glsa_|AIza)[\w-]{16,}"), WITHHELD),
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"), WITHHELD),
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"), WITHHELD),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL), WITHHELD),
)


def scrub(value: Any, hosts: Sequence[str] = ()) -> Any:
    """Return plain values, or records of these, without homes ("~" for one's own), logins, secrets and names of hosts.

    A secret is the value of a key that is named like one, what has the look of one, and the value of an environment
    variable that is named like one. `hosts` are the names of hosts to be taken out: not of code, where such a name may
    be any word.
    """
    if isinstance(value, Mapping):
        return {
            scrub(key, hosts): _withheld(inner, key) if _SECRET.search(str(key)) else scrub(inner, hosts)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [scrub(inner, hosts) for inner in value]
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{one.name: scrub(getattr(value, one.name), hosts) for one in fields(value)})
    return _text(value, hosts) if isinstance(value, str) else value


def _withheld(value: Any, key: object) -> Any:
    """Return what stands under the name of a secret without what may be one: all text; numbers but where they count."""
    if isinstance(value, Mapping):
        return {scrub(name): _withheld(inner, key) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_withheld(inner, key) for inner in value]
    secret = isinstance(value, str | bytes) or (type(value) in (int, float) and _NUMBER.search(str(key)))
    return WITHHELD if secret else scrub(value)


def scrub_known(text: str) -> str:
    """Return text without the secrets of this process's variables and one's home: of a program, whose words it needs.

    What only looks like a secret, as many a name in a program does, stays.
    """
    for secret in _secrets(tuple(os.environ.items())):
        text = text.replace(secret, WITHHELD)
    for home in _homes(os.environ.get("HOME", "")):
        text = re.sub(rf"{re.escape(home)}(?![\w.-])", "~", text)
    return text


def _text(text: str, hosts: Sequence[str]) -> str:
    text = scrub_known(text)
    for look, instead in _LOOKS:
        text = look.sub(instead, text)
    text = _HOMES.sub(r"\1(someone)", text)
    if _login():
        text = re.sub(rf"(?<=/){re.escape(_login())}(?=[/\s'\"]|$)", "(someone)", text)
    for host in {name for one in hosts for name in (one, one.partition(".")[0])} - {"", "localhost"}:
        text = re.sub(rf"(?<![\w.-]){re.escape(host)}(?![\w-])", "(host)", text)
    return text


@cache
def _secrets(variables: tuple[tuple[str, str], ...]) -> list[str]:
    """Return the values of variables that are named like a secret, and passwords in the URLs of any; longest first."""
    named = {value for name, value in variables if _VARIABLE.search(name)}
    known = named | {found for _, value in variables for found in _LOGIN.findall(value)}
    return sorted((one for one in known if len(one) >= _SHORTEST), key=len, reverse=True)


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
