"""The environment that workers run in: packed into one file here, unpacked once a node to the node's own disk.

A worker that starts asks for thousands of files. A thousand workers that ask a parallel file system for them stop it
for everybody; one file, read from end to end once a node, does not.

The unpacked tree is a virtual environment: `bin/python`, `lib/pythonX.Y/site-packages` with terp's own packages as
real files, and in `base/` the interpreter with its standard library, where that is not one of the system's.
"""

import hashlib
import json
import os
import secrets
import shlex
import site
import sys
import sysconfig
import tarfile
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from importlib.metadata import distributions
from io import BytesIO
from pathlib import Path

from terp.cluster.errors import Unpackable

type Member = tuple[Path | str, str]  # a file, or what a link says; and its name in the tree
type Own = tuple[str, bytes, int]  # a file of terp's own: its name in the tree, what it holds, when it was changed

_OWN = ("workflows", "cluster", "storage", "slurm")  # the folders beside this one that make up terp
_NEEDLESS = {"test", "idlelib", "tkinter", "turtledemo", "lib2to3", "ensurepip", "site-packages", "dist-packages"}
_KEPT = 30 * 86400  # seconds that a pack is kept after its last use: longer than a job waits in a queue
_CURE = 'or let the site say environment = "shared"'


def pack(cache: Path) -> Path:
    """Return `cache/environment-<digest>.tar`: the running environment, packed unless that was done before.

    The digest is of the interpreter, of what each distribution says of its files, and of terp's own sources. Packs that
    were not used for 30 days are removed. Raises Unpackable where it can't be done.
    """
    try:
        _check()
        own = list(_own())
        digest = _digest(own)
        path = cache / f"environment-{digest}.tar"
        if path.exists() and path.stat().st_uid == os.geteuid():  # what another has made is not run as oneself
            os.utime(path)
            return path
        cache.mkdir(parents=True, exist_ok=True)
        _sweep(cache)
        part = cache / f".environment-{secrets.token_hex(4)}.part"
        try:
            _write(part, own)
            if _digest(own) != digest:
                raise Unpackable("the environment was changed while it was being packed: start again")
            with suppress(FileNotFoundError):  # a network file system may do it, do it again, and say that
                part.replace(path)
            os.utime(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise Unpackable(f"the environment can't be packed into {cache}: {error}; mend that, {_CURE}") from error
    return path


def prologue(pack: Path, local: str, patience: int = 600) -> list[str]:
    """Return the lines of bash that let TERP_PYTHON name the interpreter of a pack, unpacked to the node's own disk.

    `local` is a folder as the node's shell sees it (`$TMPDIR`), where empty /tmp; `patience` seconds are waited for
    another job of the node that unpacks. A job where it can't be done says why on stderr and ends with 1.
    """
    place = local.replace('"', '\\"')
    facts = [
        "terp_unpack() (  # prints the path of the interpreter",
        "    set +eu",
        f"    pack={shlex.quote(str(pack))}",
        f"    digest={shlex.quote(pack.stem.removeprefix('environment-'))}",
        f'    place="{place}"',
        f"    patience={patience}",
    ]
    return [*facts, *_UNPACK.strip("\n").splitlines()]


# One unpacks, the others wait for its lock, which the kernel takes from it when it is killed. What it left is written
# over, each file by a new one, so a worker that runs from there is not hurt. A tree is whole when it says so, in this
# life of the node (a crash may leave empty files), and when no cleaner of /tmp has taken files from it.
_UNPACK = r"""
    folder="${place:-/tmp}/terp-$EUID"
    tree="$folder/$digest"
    boot=$(</proc/sys/kernel/random/boot_id)
    elsewhere='let "local" of the site name another folder on the disk of the node, or "environment" be "shared"'
    fail() { echo "terp: $HOSTNAME: $1: $2" >&2; exit 1; }
    lock() {
        flock "$1" -w "$patience" 9 && return
        fail "$folder can't be locked in $patience s" "see whether a job hangs there as it unpacks, or $elsewhere"
    }
    count() { find "$tree" -name __pycache__ -prune -o -type f ! -name .whole -print | wc -l; }
    whole() {
        { read -r life files <"$tree/.whole" && [ "$life" = "$boot" ] && [ "$(count)" -ge "$files" ]; } 2>/dev/null
    }
    give() { touch "$tree" && echo "$tree/bin/python" && exit 0; }

    [ -d "$folder" ] || words=$(LC_ALL=C mkdir -m 700 -- "$folder" 2>&1)
    [ -d "$folder" ] || fail "the environment can't be unpacked into $folder (${words##*: })" "$elsewhere"
    if [ -L "$folder" ] || [ ! -O "$folder" ]; then
        fail "$folder is not yours, so nothing is run from there" "have it removed, or $elsewhere"
    fi
    chmod 700 "$folder" 2>/dev/null
    exec 9<"$folder"
    lock -s
    whole && give
    lock -x
    whole && give

    SECONDS=0
    until [ -r "$pack" ] || ((SECONDS >= patience || SECONDS >= 30)); do  # network file systems show late what is new
        sleep 1
    done
    [ -r "$pack" ] || fail "$pack can't be read here" "if it was removed, start the run again"
    find "$folder"/* -maxdepth 0 -mtime +6 ! -name "$digest" -exec flock -n {} rm -rf {} \; 2>/dev/null
    words=$(
        set -o pipefail
        export LC_ALL=C
        { mkdir -p "$tree" && rm -f "$tree/.whole" &&
            tar --warning=no-timestamp --no-same-owner -xf "$pack" -C "$tree"; } 2>&1 | sed '/Wrote only/d;q'
    ) || {
        flock -n "$tree" rm -rf "$tree" 2>/dev/null
        room="$(df -Pm "$folder" | awk 'NR == 2 { print $4 }') of $(($(stat -c %s "$pack") >> 20)) MiB are there"
        fail "the environment can't be unpacked into $folder (${words##*: }; $room)" "$elsewhere"
    }
    home="$tree/base/bin"
    [ -d "$home" ] || home=$(dirname "$(readlink "$tree/bin/python")")
    printf 'home = %s\ninclude-system-site-packages = false\n' "$home" >"$tree/pyvenv.cfg"
    export LD_LIBRARY_PATH="$tree/base/libpython${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
    words=$("$tree/bin/python" -c "" 2>&1) ||
        fail "Python does not start from $tree (${words##*: })" "$elsewhere"
    echo "$boot $(count)" >"$tree/.whole"
    whole || fail "$tree is not whole after unpacking" "$elsewhere"
    echo "terp: $HOSTNAME: unpacked the environment into $tree in $SECONDS s" >&2
    give
)
unset PYTHONPATH PYTHONHOME
export PYTHONNOUSERSITE=1 PYTHONSAFEPATH=1  # nothing but the tree
TERP_PYTHON="$(terp_unpack)" || exit 1
export LD_LIBRARY_PATH="${TERP_PYTHON%/bin/python}/base/libpython${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
exec {terp_hold}<"${TERP_PYTHON%/bin/python}" && flock -s "$terp_hold"  # held: not removed
"""


def _check() -> None:
    """Raise Unpackable where what is imported here is not all in the folders that are packed."""
    if not list(distributions(name="terp", path=_names())):
        raise Unpackable(f"terp is not in {sys.prefix} itself: install it into a virtual environment, {_CURE}")
    if sys.prefix != sys.base_prefix and sys.base_prefix in site.PREFIXES:
        raise Unpackable(
            f"{sys.prefix} sees the packages of {sys.base_prefix} too, and they can't be packed with it: "
            f"make it again without --system-site-packages, {_CURE}"
        )
    for one in distributions(path=_names()):
        facts = json.loads(one.read_text("direct_url.json") or "{}")
        if facts.get("dir_info", {}).get("editable") and one.name != "terp":
            raise Unpackable(f"{one.name} is installed as editable: install it without -e to have it packed, {_CURE}")
    for folder in _sites():
        for path in sorted(folder.glob("*.pth")):
            for place in _leads_to(path):
                if not (place / "terp/cluster").is_dir():  # a checkout of terp: the one that runs is packed
                    raise Unpackable(f"{path} adds {place}, which is not packed: install what is there, {_CURE}")


def _digest(own: list[Own]) -> str:
    said = ("METADATA", "PKG-INFO", "RECORD")  # the last gives a digest of each file
    facts = [
        [sys.version, sysconfig.get_platform(), sys.base_prefix, os.geteuid()],
        sorted([one.read_text(name) or "" for name in said] for one in distributions(path=_names())),
        [(name, hashlib.sha256(content).hexdigest()) for name, content, _ in own if not name.endswith(".pyc")],
    ]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def _sites() -> list[Path]:
    """Return the folders of packages: one, or two where libraries of the machine have their own."""
    paths = [Path(sysconfig.get_path(name)) for name in ("platlib", "purelib")]
    return list({path.resolve(): path for path in paths}.values())


def _names() -> list[str]:
    return [str(folder) for folder in _sites()]


def _leads_to(path: Path) -> list[Path]:
    """Return the folders elsewhere that a .pth file adds."""
    lines = [line.strip() for line in path.read_text(errors="replace").splitlines()]
    places = [path.parent / line for line in lines if line and not line.startswith(("import ", "import\t", "#"))]
    return [place for place in places if place.is_dir() and not place.resolve().is_relative_to(path.parent.resolve())]


def _sweep(cache: Path) -> None:
    """Remove packs, and what killed packers left, that nobody has used for long."""
    old = time.time() - _KEPT
    for pattern in ("environment-*.tar", ".environment-*.part"):
        for path in cache.glob(pattern):
            if path.stat().st_mtime < old:
                path.unlink(missing_ok=True)


def _write(part: Path, own: list[Own]) -> None:
    with part.open("xb", buffering=1 << 20) as file:
        os.fchmod(file.fileno(), 0o600)
        with tarfile.TarFile(mode="w", fileobj=file, format=tarfile.GNU_FORMAT, copybufsize=1 << 20) as tar:
            for name, content, changed in own:
                info = tarfile.TarInfo(name)
                info.size, info.mtime = len(content), changed
                tar.addfile(info, BytesIO(content))
            for source, name in _members():
                _add(tar, source, name)
        file.flush()
        os.fsync(file.fileno())


def _add(tar: tarfile.TarFile, source: Path | str, name: str) -> None:
    """Add a file or a link; unlike tarfile's own way, without looking up the names of owners."""
    info = tarfile.TarInfo(name)
    if isinstance(source, str):
        info.type, info.linkname = tarfile.SYMTYPE, source
        tar.addfile(info)
        return
    with source.open("rb") as file:
        status = os.fstat(file.fileno())
        info.size, info.mode = status.st_size, status.st_mode & 0o777 | 0o600
        info.mtime = int(status.st_mtime)  # rounded as Python does for compiled files, which stay valid so
        tar.addfile(info, file)


def _members() -> Iterator[Member]:
    """Yield all that is packed."""
    for folder in _sites():
        elsewhere = {path.name for path in folder.glob("*.pth") if _leads_to(path)}
        yield from _tree(folder, str(folder.relative_to(sys.prefix)), {"terp", *elsewhere})
    python = Path(sys.base_prefix, "bin", f"python{sysconfig.get_python_version()}")
    if Path(sys.base_prefix).is_relative_to("/usr"):
        yield str(python), "bin/python"
    else:
        yield f"../base/bin/{python.name}", "bin/python"
        yield python, f"base/bin/{python.name}"
        yield from _standard(Path(os.__file__).parent)


def _own() -> Iterator[Own]:
    """Yield terp itself, which may be a checkout that is being worked on."""
    packages = _sites()[0].relative_to(sys.prefix)
    for room in _OWN:
        for path, name in _tree(Path(__file__).resolve().parents[1] / room, f"{packages}/terp/{room}"):
            if isinstance(path, Path):
                changed = int(path.stat().st_mtime)
                yield name, path.read_bytes(), changed


def _standard(standard: Path) -> Iterator[Member]:
    """Yield the standard library, and the libraries beside it."""
    lib = standard.parent
    name = f"base/{lib.relative_to(sys.base_prefix)}"
    configs = {path.name for path in standard.glob("config-*")}  # to link against it
    yield from _tree(standard, f"{name}/{standard.name}", _NEEDLESS | configs)
    for path in sorted(lib.glob("*.so*")):
        yield from _file(path, f"{name}/{path.name}")
    shared = sysconfig.get_config_var("INSTSONAME")
    if shared and (lib / shared).exists():  # alone in a folder: LD_LIBRARY_PATH is for all that workers start
        yield f"../../{name}/{shared}", f"base/libpython/{shared}"


def _tree(folder: Path, name: str, without: Collection[str] = ()) -> Iterator[Member]:
    """Yield the files of a folder, but for names `without` at its top, and what nobody will read."""
    for place, folders, files in os.walk(folder):
        here = Path(place)
        if here == folder:
            folders[:] = [one for one in folders if one not in without]
            files[:] = [one for one in files if one not in without]
        folders.sort()
        links = [one for one in folders if (here / one).is_symlink()]
        inside = Path(name, here.relative_to(folder))
        for one in sorted(files + links):
            half_made = here.name == "__pycache__" and not one.endswith(".pyc")
            if not half_made and not one.endswith((".a", ".opt-1.pyc", ".opt-2.pyc")):
                yield from _file(here / one, str(inside / one))


def _file(path: Path, name: str) -> Iterator[Member]:
    """Yield a file: a link to its neighbour as that, any other as what it leads to."""
    goal = path.resolve() if path.is_symlink() else path
    if goal != path and goal.parent == path.parent.resolve():
        yield goal.name, name
    elif goal.is_dir():
        raise Unpackable(f"{path} leads to the folder {goal}, which is not packed: put it there itself, {_CURE}")
    elif goal.is_file():
        yield goal, name
