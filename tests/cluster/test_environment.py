"""A small environment, packed and unpacked for real: whole, once a node, on its own, and refused in words."""

import fcntl
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from small import PACK, PACKAGES, ROOT, Done, describe, job, make, packed, packing
from waiting import until as waited

until = partial(waited, seconds=30)

DAY = 86400


def bash(script: str, *around: str, **environment: str) -> Done:
    """What came of a script of bash."""
    return subprocess.run(
        [*around, "bash", "-c", script], env=os.environ | environment, capture_output=True, text=True, timeout=100
    )


def refusal(venv: Path, cache: Path) -> str:
    done = packing(venv, cache)
    assert done.returncode == 1
    name, _, sentence = done.stderr.splitlines()[-1].partition(": ")
    assert name == "terp.cluster.errors.Unpackable"
    return sentence


@pytest.fixture(scope="module")
def venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment that no test changes."""
    return make(tmp_path_factory.mktemp("venv") / "venv")


@pytest.fixture(scope="module")
def pack(venv: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pack of it."""
    return packed(venv, tmp_path_factory.mktemp("cache"))


@pytest.fixture
def node(tmp_path: Path) -> Path:
    """The disk of a node."""
    folder = tmp_path / "node"
    folder.mkdir()
    return folder


@pytest.fixture
def tree(pack: Path, node: Path) -> Path:
    """Where the pack is unpacked to on that node."""
    return node / f"terp-{os.geteuid()}" / pack.stem.removeprefix("environment-")


@pytest.fixture
def apart() -> tuple[str, ...]:
    """The command before another that gives it mounts of its own."""
    command = ("unshare", "--map-root-user", "--mount")
    if shutil.which("unshare") is None or subprocess.run([*command, "true"], capture_output=True).returncode:
        pytest.skip("this machine lets nobody have mounts of their own")
    return command


def test_the_same_environment_is_packed_once(venv: Path, tmp_path: Path) -> None:
    first = packed(venv, tmp_path)
    made = first.stat().st_ino
    assert packed(venv, tmp_path) == first
    assert first.stat().st_ino == made
    assert list(tmp_path.iterdir()) == [first]


def test_another_version_of_a_library_or_another_line_of_terp_is_another_pack(tmp_path: Path) -> None:
    venv, cache = make(tmp_path / "venv"), tmp_path / "cache"
    packs = [packed(venv, cache)]
    describe(venv / PACKAGES, "sensors", "1.0")
    packs.append(packed(venv, cache))
    with (venv / PACKAGES / "terp/cluster/errors.py").open("a") as file:
        file.write("# a line\n")
    packs.append(packed(venv, cache))
    assert len(set(packs)) == 3


def test_two_who_pack_at_once_leave_one_whole_pack(venv: Path, pack: Path, tmp_path: Path) -> None:
    code = [str(venv / "bin/python"), "-c", PACK, str(tmp_path)]
    both = [subprocess.Popen(code, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = {one.communicate(timeout=60)[0].strip() for one in both}
    assert said == {str(tmp_path / pack.name)}
    assert [path.name for path in tmp_path.iterdir()] == [pack.name]
    assert (tmp_path / pack.name).stat().st_size == pack.stat().st_size


def test_packs_and_leftovers_that_nobody_used_for_a_month_are_removed(venv: Path, pack: Path, tmp_path: Path) -> None:
    names = ["environment-old.tar", ".environment-old.part", "environment-new.tar", "other-old.tar"]
    for name in names:
        (tmp_path / name).touch()
        if "old" in name:
            os.utime(tmp_path / name, (time.time() - 31 * DAY,) * 2)
    packed(venv, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {pack.name, "environment-new.tar", "other-old.tar"}


def test_a_pack_that_has_no_room_is_refused_and_leaves_nothing(
    venv: Path, tmp_path: Path, apart: tuple[str, ...]
) -> None:
    command = f"{venv}/bin/python -c '{PACK}' {tmp_path}"
    done = bash(f"mount -t tmpfs -o size=4m none {tmp_path}; {command}; ls -A {tmp_path}", *apart)
    assert f"the environment can't be packed into {tmp_path}: [Errno 28] No space left on device" in done.stderr
    assert done.stdout == ""


def test_a_checkout_is_packed_as_real_files_and_its_link_is_not(tmp_path: Path) -> None:
    venv = make(tmp_path / "venv")
    shutil.rmtree(venv / PACKAGES / "terp")
    (venv / PACKAGES / "_terp.pth").write_text(str(ROOT / ".namespace"))
    with tarfile.open(packed(venv, tmp_path)) as tar:
        names = set(tar.getnames())
    wanted = {"workflows/running/task.py", "storage/ledger.py", "cluster/worker.py", "slurm/sites/generic.toml"}
    assert {f"{PACKAGES}/terp/{name}" for name in wanted} - names == set()
    assert f"{PACKAGES}/_terp.pth" not in names
    assert [name for name in names if re.search(r"/(test|idlelib|tkinter|ensurepip|include)/|\.a$", name)] == []


def test_the_terp_that_runs_is_packed_where_a_checkout_of_another_is_linked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    venv = make(tmp_path / "venv")
    (venv / PACKAGES / "_terp.pth").write_text(str(ROOT / ".namespace"))
    other = shutil.copytree(venv / PACKAGES / "terp/cluster", tmp_path / "other/terp/cluster")
    (other / "worker.py").write_text("# of the terp in a crate\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "other"))
    with tarfile.open(packed(venv, tmp_path)) as tar:
        held = tar.extractfile(f"{PACKAGES}/terp/cluster/worker.py")
        assert held is not None
        assert held.read() == b"# of the terp in a crate\n"


def test_another_editable_library_is_refused_by_name(tmp_path: Path) -> None:
    venv = make(tmp_path / "venv")
    describe(venv / PACKAGES, "mine", "1.0", '{"url": "file:///home/me/mine", "dir_info": {"editable": true}}')
    assert refusal(venv, tmp_path).startswith("mine is installed as editable: install it without -e")


def test_a_folder_that_a_pth_file_adds_is_refused_by_name(tmp_path: Path) -> None:
    venv = make(tmp_path / "venv")
    (tmp_path / "mine").mkdir()
    (venv / PACKAGES / "mine.pth").write_text(str(tmp_path / "mine"))
    assert f"mine.pth adds {tmp_path / 'mine'}, which is not packed" in refusal(venv, tmp_path)


def test_a_linked_folder_of_packages_is_refused_by_name(tmp_path: Path) -> None:
    venv = make(tmp_path / "venv")
    (tmp_path / "mine").mkdir()
    (venv / PACKAGES / "mine").symlink_to(tmp_path / "mine")
    assert f"{PACKAGES}/mine leads to the folder {tmp_path / 'mine'}" in refusal(venv, tmp_path)


def test_an_environment_that_leans_on_the_packages_of_the_system_is_refused(tmp_path: Path) -> None:
    assert "make it again without --system-site-packages" in refusal(
        make(tmp_path / "venv", "--system-site-packages"), tmp_path
    )


def test_what_is_unpacked_runs_where_neither_environment_nor_interpreter_nor_sources_are(
    venv: Path, pack: Path, node: Path, tree: Path, apart: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "sensors.py").write_text("WHERE = 'in the folder that one happens to be in'\n")
    hidden = [ROOT, venv, Path(sys.prefix), Path(sys.base_prefix)]
    look = (
        "import sys, os, ssl, sqlite3, ctypes, sensors, terp.cluster.errors as errors;"
        "print(sys.prefix, sys.base_prefix, errors.__file__, sensors.__file__, os.__file__, sensors.WHERE, sep='|');"
        "print(*sys.path, sep='|'); print(open('/proc/self/maps').read())"
    )
    lines = [f"mount -t tmpfs none {folder}" for folder in hidden if folder.exists()] + [f"cd {tmp_path}"]
    script = "\n".join([*lines, job(pack, node, f'"$TERP_PYTHON" -c "{look}"')])
    done = bash(script, *apart, PYTHONPATH=str(tmp_path), PYTHONHOME=str(tmp_path))
    assert done.returncode == 0, done.stderr
    first, path, maps = done.stdout.split("\n", 2)
    prefix, *places, where = first.split("|")
    assert prefix == str(tree)
    assert where == "in the environment"
    assert [place for place in [*places, *path.split("|")] if not place.startswith(f"{tree}/")] == []
    assert [line for line in maps.splitlines() if any(f"{folder}/" in line for folder in hidden)] == []


def test_compiled_files_stay_valid(pack: Path, node: Path, tree: Path) -> None:
    assert bash(job(pack, node)).returncode == 0
    stale, valid = [], 0
    for compiled in tree.rglob("*.pyc"):
        source = compiled.parents[1] / f"{compiled.name.split('.')[0]}.py"
        flags, mtime, size = struct.unpack("<4xLLL", compiled.read_bytes()[:16])
        status = source.stat()
        if flags == 0 and (mtime, size) != (int(status.st_mtime), status.st_size):
            stale.append(source)
        valid += flags == 0
    assert stale == []
    assert valid > 300


def test_an_interpreter_of_the_system_is_not_packed_but_named(
    tmp_path: Path, node: Path, apart: tuple[str, ...]
) -> None:
    system, venv = "/usr/local/src", tmp_path / "venv"
    (venv / PACKAGES / "terp").mkdir(parents=True)
    describe(venv / PACKAGES, "terp", "0.1.0")
    mount = f"set -e; mount --rbind {sys.base_prefix} {system}"
    make_it = f"{system}/bin/python3 -m venv --without-pip {venv}; cp -r {ROOT}/cluster {venv}/{PACKAGES}/terp/cluster"
    made = bash("\n".join([mount, make_it, f"{venv}/bin/python -c '{PACK}' {tmp_path}"]), *apart)
    look = "import sys, ssl, terp.cluster.errors as errors; print(sys.prefix, sys.base_prefix, errors.__file__)"
    pack = Path(made.stdout.strip())
    done = bash("\n".join([mount, job(pack, node, f'"$TERP_PYTHON" -c "{look}"')]), *apart)
    assert done.returncode == 0, made.stderr + done.stderr
    prefix, base, terp = done.stdout.split()
    assert base == system
    assert prefix.startswith(f"{node}/")
    assert terp.startswith(prefix)
    assert Path(prefix, "bin/python").readlink().is_relative_to(system)
    assert not Path(prefix, "base").exists()


def test_sixteen_jobs_that_start_at_once_on_a_node_unpack_once(pack: Path, node: Path, tree: Path) -> None:
    script = ["bash", "-c", job(pack, node)]
    pipe = subprocess.PIPE
    jobs = [subprocess.Popen(script, stdout=pipe, stderr=pipe, text=True) for _ in range(16)]
    said = [one.communicate(timeout=100) for one in jobs]
    assert [out for out, _ in said] == [f"{tree}/bin/python\n"] * 16
    assert "".join(err for _, err in said).count("unpacked the environment into") == 1


@contextmanager
def hanging(pack: Path, node: Path, folder: Path, size: int) -> Iterator[None]:
    """A job that unpacks so many bytes of a pack and waits for more, as from a file system that hangs; then killed."""
    folder.mkdir()
    os.mkfifo(folder / pack.name)
    started = subprocess.Popen(["bash", "-c", job(folder / pack.name, node)], start_new_session=True)
    pipe = os.open(folder / pack.name, os.O_RDWR)
    try:
        os.write(pipe, pack.read_bytes()[:size])
        yield
    finally:
        os.killpg(started.pid, signal.SIGKILL)
        started.wait(timeout=10)
        os.close(pipe)


def test_a_job_waits_only_so_long_for_another_that_unpacks(pack: Path, node: Path, tree: Path, tmp_path: Path) -> None:
    with hanging(pack, node, tmp_path / "far", 1024):
        until(tree.exists)
        done = bash(job(pack, node, patience=1))
    assert done.returncode == 1
    assert f"{tree.parent} can't be locked in 1 s: see whether a job hangs there as it unpacks" in done.stderr


def test_what_a_killed_job_left_half_unpacked_is_made_whole_by_the_next(
    pack: Path, node: Path, tree: Path, tmp_path: Path
) -> None:
    with hanging(pack, node, tmp_path / "far", 60 * 1024):
        until(lambda: any(tree.rglob("*.py")))
    done = bash(job(pack, node, '"$TERP_PYTHON" -c "import sensors, terp.cluster.errors"'))
    assert (done.returncode, done.stderr.count("unpacked the environment")) == (0, 1)


def test_a_tree_from_which_files_were_taken_is_unpacked_again(pack: Path, node: Path, tree: Path) -> None:
    bash(job(pack, node))
    (tree / PACKAGES / "sensors.py").unlink()
    done = bash(job(pack, node, '"$TERP_PYTHON" -c "import sensors"'))
    assert (done.returncode, done.stderr.count("unpacked the environment")) == (0, 1)


def test_a_tree_from_before_the_node_crashed_is_unpacked_again(pack: Path, node: Path, tree: Path) -> None:
    bash(job(pack, node))
    life, files = (tree / ".whole").read_text().split()
    assert life == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    (tree / ".whole").write_text(f"0f0e1d2c {files}\n")
    (tree / PACKAGES / "sensors.py").write_text("")
    done = bash(job(pack, node, '"$TERP_PYTHON" -c "import sensors; sensors.WHERE"'))
    assert (done.returncode, done.stderr.count("unpacked the environment")) == (0, 1)


def test_a_worker_that_runs_from_a_tree_is_not_hurt_when_that_is_unpacked_again(
    pack: Path, node: Path, tree: Path
) -> None:
    code = "input(); import sensors, ssl, terp.cluster.errors; print(sensors.WHERE)"
    worker = subprocess.Popen(
        ["bash", "-c", job(pack, node, f"echo started; exec \"$TERP_PYTHON\" -c '{code}'")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert worker.stdout is not None
    assert worker.stdout.readline() == "started\n"
    (tree / ".whole").unlink()
    assert "unpacked the environment" in bash(job(pack, node)).stderr
    assert worker.communicate("go\n", timeout=30)[0] == "in the environment\n"
    assert worker.returncode == 0


def test_trees_that_nobody_used_for_a_week_are_removed_but_not_those_in_use(pack: Path, node: Path, tree: Path) -> None:
    tree.parent.mkdir(mode=0o700)
    for name, days in {"unused": 8, "held": 8, "young": 6}.items():
        (tree.parent / name / "lib").mkdir(parents=True)
        os.utime(tree.parent / name, (time.time() - days * DAY,) * 2)
    held = os.open(tree.parent / "held", os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_SH)  # as a job does, see the next test
    assert bash(job(pack, node)).returncode == 0
    os.close(held)
    assert {path.name for path in tree.parent.iterdir()} == {tree.name, "held", "young"}


def test_a_job_holds_its_tree_as_long_as_it_or_its_worker_lives(pack: Path, node: Path, tree: Path) -> None:
    worker = subprocess.Popen(
        ["bash", "-c", job(pack, node, 'echo started; exec "$TERP_PYTHON" -c "input()"')],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert worker.stdout is not None
    worker.stdout.readline()
    taken = ["flock", "-n", str(tree), "true"]
    assert subprocess.run(taken).returncode == 1
    worker.communicate(b"\n", timeout=30)
    assert subprocess.run(taken).returncode == 0


def test_a_use_is_remembered(pack: Path, node: Path, tree: Path) -> None:
    bash(job(pack, node))
    os.utime(tree, (0, 0))
    bash(job(pack, node))
    assert time.time() - tree.stat().st_mtime < 60


def test_where_local_is_empty_the_tree_is_in_tmp_and_closed_to_others(
    pack: Path, tmp_path: Path, apart: tuple[str, ...]
) -> None:
    (tmp_path / "tmp").mkdir()
    shutil.copy(pack, tmp_path)
    script = f"unset NOWHERE; mount --rbind {tmp_path} /mnt; mount --bind /mnt/tmp /tmp"
    then = 'echo "$TERP_PYTHON"; stat -c %a /tmp/terp-*'
    done = bash("\n".join([script, job(Path("/mnt") / pack.name, "$NOWHERE", then)]), *apart)
    assert re.fullmatch(r"/tmp/terp-\d+/\w+/bin/python\n700\n", done.stdout), done.stderr


def refused(done: Done) -> str:
    """The one sentence of a job that could not unpack."""
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert 'let "local" of the site name another folder on the disk of the node' in done.stderr
    return done.stderr


def test_a_full_disk_is_named_with_its_cure_and_left_as_it_was(
    pack: Path, node: Path, tree: Path, apart: tuple[str, ...]
) -> None:
    mount = f"mount -t tmpfs -o size=8m none {node}; trap 'ls {node}/terp-* >{node}.left' EXIT"
    done = bash("\n".join([mount, job(pack, node)]), *apart)
    said = refused(done)
    assert f"can't be unpacked into {tree.parent} (No space left on device; " in said
    assert f" of {pack.stat().st_size >> 20} MiB are there)" in said
    assert Path(f"{node}.left").read_text() == ""


def test_a_folder_that_cannot_be_made_is_named_with_its_cure(pack: Path, node: Path) -> None:
    folder = node / "no such"
    assert f"into {folder}/terp-{os.geteuid()} (No such file or directory)" in refused(bash(job(pack, folder)))


def test_a_folder_that_cannot_be_written_to_is_named_with_its_cure(
    pack: Path, node: Path, tree: Path, apart: tuple[str, ...]
) -> None:
    tree.parent.mkdir(mode=0o700)
    mount = f"mount --bind {node} {node}; mount -o remount,ro,bind {node}"
    said = refused(bash("\n".join([mount, job(pack, node)]), *apart))
    assert f"can't be unpacked into {tree.parent} (Read-only file system; " in said


def test_a_disk_that_forbids_programs_is_named_with_its_cure(
    pack: Path, node: Path, tree: Path, apart: tuple[str, ...]
) -> None:
    mount = f"mount -t tmpfs -o noexec none {node}"
    said = refused(bash("\n".join([mount, job(pack, node)]), *apart))
    assert f"Python does not start from {tree} (Permission denied)" in said


def test_a_link_in_the_place_of_the_folder_is_not_followed(pack: Path, node: Path, tree: Path, tmp_path: Path) -> None:
    (tmp_path / "trap").mkdir(mode=0o700)
    tree.parent.symlink_to(tmp_path / "trap")
    assert f"{tree.parent} is not yours, so nothing is run from there" in refused(bash(job(pack, node)))
    assert list((tmp_path / "trap").iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a folder that is another's")
def test_nothing_is_run_from_a_folder_of_another_person(pack: Path, node: Path, tree: Path) -> None:
    (tree / "bin").mkdir(parents=True)
    os.chown(tree.parent, 65534, 65534)
    assert f"{tree.parent} is not yours, so nothing is run from there" in refused(bash(job(pack, node)))


def test_a_pack_that_is_gone_ends_the_job_in_words(pack: Path, node: Path, tmp_path: Path) -> None:
    done = bash(job(tmp_path / pack.name, node, patience=1))
    assert (done.returncode, done.stdout) == (1, "")
    assert f"{tmp_path / pack.name} can't be read here: if it was removed, start the run again" in done.stderr
