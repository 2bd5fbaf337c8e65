"""The objects of an output that nothing names: what may be swept, found without the code that sweeps."""

import orjson

from selfstudy.store.commits import COMMITS, Commit
from selfstudy.store.filesystem import Folder


def orphans(output: Folder) -> list[str]:
    """Return the names of the objects that no commit, manifest or pointer leads to."""
    named = {"latest.json"}
    for name in output.names(COMMITS):
        commit = Commit.parse(output.read(f"{COMMITS}/{name}"))
        named |= {f"{COMMITS}/{name}", *(file["name"] for file in commit.files.values())}
    for snapshot in output.names("snapshots"):
        folder = f"snapshots/{snapshot}"
        try:
            manifest = orjson.loads(output.read(f"{folder}/manifest.json"))
        except FileNotFoundError:
            continue
        named |= {f"{folder}/{file['name']}" for file in manifest["files"]}
        named |= {f"{folder}/{name}" for name in ("manifest.json", "README.md", "coverage/corpus.json")}
    found = {path.removeprefix(f"{output.root}/") for path in output.fs.find(output.root)}
    return sorted(name for name in found - named if not name.startswith(("runs/", "lock/")))
