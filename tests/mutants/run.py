"""run.py [WORD]: breaks each defence of mutants.toml in a copy of the tree and shows the test that notices.

A mutant counts as noticed when its named test runs and fails; one that does not compile, or whose place is not found,
is a fault of the list. The tree itself is never touched. Exit code 1 when anything went unnoticed.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tomllib

ROOT = pathlib.Path(__file__).resolve().parents[2]
CACHE = pathlib.Path(os.environ.get("LAKEGATE_CACHE", pathlib.Path.home() / ".cache/lakegate"))
COPY = CACHE / "mutants"


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
        if not target.exists() or target.read_bytes() != source.read_bytes():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)


def run(binary: str, test: str) -> str:
    """`passed`, `failed`, or `broken` for anything else; the output follows a broken one."""
    where = ["--lib"] if binary == "lib" else ["--test", binary]
    command = ["cargo", "test", "--locked", *where, "--", "--exact", test]
    done = subprocess.run(command, cwd=COPY, capture_output=True, text=True)
    if f"test {test} ... ok" in done.stdout and done.returncode == 0:
        return "passed"
    if f"test {test} ... FAILED" in done.stdout:
        return "failed"
    print(done.stdout[-2000:], done.stderr[-4000:], file=sys.stderr)
    return "broken"


def main() -> int:
    word = sys.argv[1] if len(sys.argv) > 1 else ""
    mutants = tomllib.loads((ROOT / "tests/mutants/mutants.toml").read_text())["mutant"]
    mutants = [m for m in mutants if word in m["name"]]
    if not mutants:
        print(f"no mutant's name contains {word!r}")
        return 1
    copy_tree()
    bad = 0
    for binary, test in sorted({(m["binary"], m["test"]) for m in mutants}):
        if (outcome := run(binary, test)) != "passed":
            print(f"{outcome:8} without any change: {test}", flush=True)
            bad += 1
    for mutant in mutants:
        file = COPY / mutant["file"]
        text = file.read_text()
        if text.count(mutant["find"]) != 1:
            print(f"stale     {mutant['name']}: found {text.count(mutant['find'])} times in {mutant['file']}", flush=True)
            bad += 1
            continue
        file.write_text(text.replace(mutant["find"], mutant["replace"]))
        outcome = run(mutant["binary"], mutant["test"])
        file.write_text(text)
        verdict = {"failed": "red      ", "passed": "UNNOTICED", "broken": "broken   "}[outcome]
        print(f"{verdict} {mutant['name']}\n          {mutant['test']}", flush=True)
        bad += outcome != "failed"
    print(f"{len(mutants) - bad} passed, {bad} failed")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
