"""Where the keys of a site come from: files, environment, command line; later ones win, and each is remembered.

In this order: the file that comes with terp, the user's own (`~/.config/terp/sites/NAME.toml`), the project's
`terp.toml` (in the working folder or the nearest above it: `[site]` for any site, `[site.NAME]` for one), variables
`TERP_SITE_KEY` (`__` for the dot of a dotted key), and what the command line says.
"""

import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from terp.cluster.errors import BadSite

SHIPPED = (
    Path(__file__).resolve().parents[1] / "slurm" / "sites"
)  # so in a checkout and in a wheel, which has terp/slurm
PREFIX = "TERP_SITE_"

type Key = tuple[str, ...]  # a dotted key in its parts: ("controller", "memory")


@dataclass(frozen=True)
class Layer:
    """Some keys of a site, as tables in tables, and who says so."""

    origin: str
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Merged:
    """All layers put together: the tables, and of each key that is no table who said it last."""

    values: dict[str, Any]
    origins: dict[Key, str]

    def origin(self, key: Key) -> str:
        """Return who says a key, or what is nearest to it: what is below it, else beside it."""
        for length in range(len(key), -1, -1):
            for known, origin in self.origins.items():
                if known[:length] == key[:length]:
                    return origin
        return "nobody"


def merge(layers: Iterable[Layer]) -> Merged:
    """Put layers together: tables by their keys, and what is no table as the last layer has it."""
    merged = Merged({}, {})
    for layer in layers:
        _lay(merged, layer.values, merged.values, (), layer.origin)
    return merged


def _lay(merged: Merged, values: Mapping[str, Any], onto: dict[str, Any], at: Key, origin: str) -> None:
    for name, value in values.items():
        key = (*at, name)
        if isinstance(value, Mapping) and isinstance(onto.get(name), dict):
            _lay(merged, value, onto[name], key, origin)
            continue
        for covered in [known for known in merged.origins if known[: len(key)] == key]:
            del merged.origins[covered]
        if isinstance(value, Mapping):
            onto[name] = {}
            _lay(merged, value, onto[name], key, origin)
        else:
            onto[name] = value
            merged.origins[key] = origin


def known_sites(keys: Iterable[str]) -> dict[str, str]:
    """Return the names of all sites, each with where it is described first; `keys` are those that a site may have."""
    project = _project()
    return {
        **{name: f"{path} [site.{name}]" for path, table in project for name in _described(table, keys)},
        **{path.stem: _shown(path) for path in sorted(_user_folder().glob("*.toml"))},
        **{path.stem: f"terp's {path.name}" for path in sorted(SHIPPED.glob("*.toml"))},
    }


def layers(name: str, overrides: Mapping[str, str], keys: Iterable[str]) -> list[Layer]:
    """Return all that is said about a site, the last word last; `keys` are those that a site may have.

    Raises BadSite if nobody knows the site, or a file cannot be read.
    """
    keys = frozenset(keys)
    known = known_sites(keys)
    if name not in known:
        guess = f' Do you mean "{near[0]}"?' if (near := get_close_matches(name, known, 1)) else ""
        raise BadSite(
            f'there is no site "{name}"; known are {", ".join(sorted(known))}.{guess} '
            f"A site of your own is a file {_shown(_user_folder() / f'{name}.toml')}"
        )
    files = [(SHIPPED / f"{name}.toml", f"terp's {name}.toml"), (_user_folder() / f"{name}.toml", "")]
    found = [Layer(origin or _shown(path), _read(path)) for path, origin in files if os.path.exists(path)]
    found += [layer for path, table in _project() for layer in _split(path, table, name, keys, known)]
    below = merge(found).values
    found += [
        Layer(variable, _nested(_spelled(variable.removeprefix(PREFIX).split("__"), below), value, variable))
        for variable, value in sorted(os.environ.items())
        if variable.startswith(PREFIX)
    ]
    return found + [
        Layer("--site-set", _nested(key.split("."), value, f"--site-set {key}")) for key, value in overrides.items()
    ]


def overrides_of(settings: Iterable[str]) -> dict[str, str]:
    """Return what `--site-set KEY=VALUE`, given any number of times, sets; raises BadSite where there is no `=`."""
    pairs = [(text, *text.partition("=")) for text in settings]
    for text, key, equals, _ in pairs:
        if not (key.strip() and equals):
            raise BadSite(f'--site-set {text}: write it as KEY=VALUE, as in "--site-set controller.memory=8G"')
    return {key.strip(): value.strip() for _, key, _, value in pairs}


def _described(table: Mapping[str, Any], keys: Iterable[str]) -> list[str]:
    """Return the sites that the project describes by itself, which is more than a few keys of a known one."""
    return [name for name, value in table.items() if name not in keys and "partitions" in _as_table(value)]


def _split(path: str, table: dict[str, Any], name: str, keys: frozenset[str], known: Iterable[str]) -> list[Layer]:
    """Return what the project says of all sites, then what it says of this one."""
    others = {key: value for key, value in table.items() if key not in keys and isinstance(value, dict)}
    for other in others:
        if other not in known:
            near = get_close_matches(other, [*known, *keys], 1)
            guess = f', do you mean "{near[0]}"?' if near else ""
            raise BadSite(
                f"{path}: [site.{other}] is neither a known site ({', '.join(sorted(known))}) nor a key{guess}"
            )
    of_all = {key: value for key, value in table.items() if key not in others}
    return [Layer(f"{path} [site]", of_all), Layer(f"{path} [site.{name}]", others.get(name, {}))]


def _spelled(words: list[str], below: Any) -> list[str]:
    """Return a variable's words as the keys are spelled: as they are known, whatever their case, else in lower case."""
    spelled = []
    for word in words:
        names = {name.lower(): name for name in _as_table(below)}
        spelled.append(names.get(word.lower(), word.lower()))
        below = _as_table(below).get(spelled[-1])
    return spelled


def _nested(words: list[str], text: str, origin: str) -> dict[str, Any]:
    """Return text that was given for a key as tables in tables; lists and tables are written as in TOML."""
    if not all(words):
        raise BadSite(f"{origin}: a key has a name on each side of its dots")
    value: Any = text
    if text.startswith(("[", "{")):
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError as error:
            raise BadSite(f'{origin}: {text} is no list as TOML writes it, such as ["a", "b"]: {error}') from None
    for word in reversed(words):
        value = {word: value}
    table: dict[str, Any] = value
    return table


def _user_folder() -> Path:
    config = os.environ.get("XDG_CONFIG_HOME", "")
    return Path(config if os.path.isabs(config) else os.path.expanduser("~/.config")) / "terp" / "sites"


def _project() -> list[tuple[str, dict[str, Any]]]:
    """Return the table of the nearest `terp.toml` with the file's name, or nothing."""
    try:
        here = Path.cwd()
    except OSError:  # the folder is gone
        return []
    above = (folder / "terp.toml" for folder in (here, *here.parents))
    path = next(filter(os.path.isfile, above), None)
    if path is None:
        return []
    _refuse_strangers(path)
    content = _read(path)
    if content.keys() - {"site"}:
        odd = ", ".join(sorted(content.keys() - {"site"}))
        raise BadSite(
            f'{_shown(path)}: "{odd}" is not known here: there is one table, [site], with tables [site.NAME] in it'
        )
    table = content.get("site", {})
    if not isinstance(table, dict):
        raise BadSite(f"{_shown(path)}: `site` must be a table, [site]")
    return [(_shown(path), table)]


def _refuse_strangers(path: Path) -> None:
    """Refuse a file that anyone may have written: a site's prologue is shell that runs as the user."""
    file, folder = path.stat(), path.parent.stat()
    stranger = file.st_uid not in (os.getuid(), 0) and folder.st_mode & 0o002
    if stranger or file.st_mode & 0o002:
        raise BadSite(
            f"{_shown(path)}: anyone may have written this file, and it can make your jobs run any command. If it is "
            "yours, `chmod o-w` it; if not, remove it or work in another folder"
        )


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise BadSite(f"{_shown(path)} is no TOML: {error}") from None
    except UnicodeDecodeError:
        raise BadSite(f"{_shown(path)} is no text in UTF-8") from None
    except OSError as error:
        raise BadSite(f"{_shown(path)} cannot be read: {error.strerror}") from None


def _shown(path: Path) -> str:
    """Return a path as a person writes it."""
    home = os.path.expanduser("~")
    text = str(path)
    return f"~{text[len(home) :]}" if home != "/" and text.startswith(f"{home}/") else text


def _as_table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
