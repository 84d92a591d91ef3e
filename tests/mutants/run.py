"""run.py [--check] [WORD]: breaks each defence of mutants.toml in a copy of the tree and shows the test that notices.

A mutant counts as noticed when its named test runs and fails, or no longer ends; one that does not compile, or whose place
is not found, is a fault of the list. The tree itself is never touched. WORD chooses those whose name contains it; --check
builds nothing and only looks whether every place and test is still there. Exit code 1 when anything went unnoticed.

A mutant with `oracle` must be noticed a second time, by that short run of the oracle over statements made by chance.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time
import tomllib

ROOT = pathlib.Path(__file__).resolve().parents[2]
CACHE = pathlib.Path(os.environ.get("LAKEGATE_CACHE", pathlib.Path.home() / ".cache/lakegate"))
# The same path each time: cargo's incremental work of the last run is then this run's.
COPY = CACHE / "mutants"
# The copy is another package to cargo, which shares the target directory: nothing broken is ever taken for the tree's own.
VERSION = {"Cargo.toml": r'(?m)^version = "[^"]+"', "Cargo.lock": r'(?<=name = "lakegate"\n)version = "[^"]+"'}
TEST_MAX_S = 600
BINARIES = {"lib": ["--lib"], "it": ["--test", "it"]}


def with_oracle(mutant: dict) -> list[dict]:
    """The mutant, and once more where the oracle must notice it too."""
    if "oracle" not in mutant:
        return [mutant]
    by_chance = {"name": f"{mutant['name']}, by chance", "in": "it", "test": f"oracle::{mutant['oracle']}"}
    return [mutant, mutant | by_chance]


def edits(mutant: dict) -> list[dict]:
    return [mutant, *mutant.get("also", [])]


def faults(mutants: list[dict]) -> list[str]:
    """What is wrong with the list, as seen from the sources of now."""
    found = []
    for mutant in mutants:
        for edit in edits(mutant):
            count = (ROOT / edit["file"]).read_text().count(edit["find"])
            if count != 1:
                found.append(f"stale      {mutant['name']}: found {count} times in {edit['file']}")
        function = mutant["test"].rsplit("::", 1)[-1]
        folder = ROOT / ("src" if mutant["in"] == "lib" else "tests")
        if not any(f"fn {function}(" in file.read_text() for file in folder.rglob("*.rs")):
            found.append(f"stale      {mutant['name']}: there is no test {mutant['test']}")
    return found


def copy_tree() -> None:
    """Tracked and new files as they are now; unchanged ones keep their times, so that cargo builds little."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True
    )
    names = {name for name in listed.stdout.decode().split("\0") if name and (ROOT / name).is_file()}
    for old in COPY.rglob("*") if COPY.exists() else []:
        if old.is_file() and str(old.relative_to(COPY)) not in names:
            old.unlink()
    for name in names:
        source, target = ROOT / name, COPY / name
        content = source.read_bytes()
        if name in VERSION:
            content = re.sub(VERSION[name], 'version = "0.0.0"', content.decode(), count=1).encode()
        if not target.exists() or target.read_bytes() != content:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
            target.write_bytes(content)


def build(kind: str) -> tuple[str | None, str]:
    """The test binary, or None and what the compiler said."""
    command = ["cargo", "test", "--locked", *BINARIES[kind], "--no-run", "--message-format=json-render-diagnostics"]
    made = subprocess.run(command, cwd=COPY, capture_output=True, text=True)
    for line in made.stdout.splitlines() if made.returncode == 0 else []:
        message = json.loads(line)
        if message.get("reason") == "compiler-artifact" and message["profile"]["test"] and message.get("executable"):
            return message["executable"], ""
    return None, made.stderr[-4000:]


def run(binary: str, test: str) -> str:
    """`passed`, `failed` or `absent`."""
    environment = os.environ | {"RUST_BACKTRACE": "0"}
    try:
        done = subprocess.run(
            [binary, "--exact", test], cwd=COPY, capture_output=True, text=True, errors="replace", timeout=TEST_MAX_S,
            env=environment,
        )
    except subprocess.TimeoutExpired:
        return "failed"
    if "running 1 test" not in done.stdout:
        return "absent"
    return "passed" if done.returncode == 0 else "failed"


def green(mutants: list[dict]) -> int:
    """A test that is red without a mutant would show nothing."""
    bad = 0
    for kind in BINARIES:
        tests = sorted({m["test"] for m in mutants if m["in"] == kind})
        binary, said = build(kind) if tests else (None, "")
        if tests and binary is None:
            sys.exit(f"the tests do not build:\n{said}")
        for test in tests:
            if (outcome := run(binary, test)) != "passed":
                print(f"{outcome:10} without any change: {test}", flush=True)
                bad += 1
    return bad


def judge(mutant: dict) -> bool:
    begin = time.monotonic()
    before = {edit["file"]: (COPY / edit["file"]).read_text() for edit in edits(mutant)}
    for edit in edits(mutant):
        file = COPY / edit["file"]
        file.write_text(file.read_text().replace(edit["find"], edit["replace"]))
    binary, said = build(mutant["in"])
    outcome = run(binary, mutant["test"]) if binary else "broken"
    for name, text in before.items():
        (COPY / name).write_text(text)
    verdict = {"failed": "red", "passed": "UNNOTICED", "broken": "does not build"}.get(outcome, outcome)
    print(f"{verdict:10} {mutant['name']} ({mutant['test']}, {time.monotonic() - begin:.0f} s)", flush=True)
    if said:
        print(said, flush=True)
    return outcome == "failed"


def main() -> int:
    words = [a for a in sys.argv[1:] if a != "--check"]
    mutants = tomllib.loads((ROOT / "tests/mutants/mutants.toml").read_text())["mutant"]
    mutants = [m for mutant in mutants for m in with_oracle(mutant)]
    mutants = [m for m in mutants if not words or words[0] in m["name"]]
    if not mutants:
        sys.exit(f"no mutant's name contains {words[0]!r}")
    if stale := faults(mutants):
        sys.exit("\n".join(stale))
    if "--check" in sys.argv:
        print(f"{len(mutants)} mutants, each in its place")
        return 0
    begin = time.monotonic()
    copy_tree()
    bad = green(mutants)
    # one binary after the other: the compiler's incremental work is kept for each by itself
    noticed = sum(judge(m) for kind in BINARIES for m in mutants if m["in"] == kind)
    print(f"{noticed} of {len(mutants)} noticed, in {(time.monotonic() - begin) / 60:.0f} minutes")
    return 0 if noticed == len(mutants) and bad == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
