"""Imports go down, and ray and vllm are each imported in one module (law 9)."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "selfstudy"

# From the ground up: a module may import what stands on a line above its own, or on its own line.
LAYERS = [
    "ids reasons redact",
    "sections s3",
    "storage",
    "config_engines",
    "config_filter",
    "records config",
    "tables",
    "text.language text.sentences",
    "text.eligibility text.chunks",
    "corpus.html corpus.markdown",
    "corpus.normalise corpus.lines corpus.splits",
    "corpus.read",
    "prepare",
    "filter",
    "cleaned",
    "targets",
    "recipe resources ray_environment",
    "engines.base",
    "prompts",
    "engines",
    "checks",
    "generate",
    "unit_tables wire",
    "store",
    "reuse turns",
    "worker",
    "planning",
    "retry",
    "publish.executor stages",
    "pipeline",
    "coverage",
    "publish",
    "run_state",
    "job verdict",
    "verify_units gc",
    "preview status verify quarantine",
    "progress views console",
    "cli_filter cli_store",
    "cli",
]


def modules() -> dict[str, Path]:
    found = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in ROOT.rglob("*.py")}
    return {name.removesuffix(".__init__"): path for name, path in found.items() if name != "__init__"}


def imports_of(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def layer_of(module: str) -> int:
    for candidate in (module, module.rpartition(".")[0]):
        for number, line in enumerate(LAYERS):
            if candidate and candidate in line.split():
                return number
    raise AssertionError(f"selfstudy.{module} has no place in LAYERS: where does it belong?")


@pytest.mark.parametrize("module", sorted(set(modules()) - {"corpus", "text", "engines", "store", "publish", "filter"}))
def test_imports_go_down(module: str) -> None:
    own = {name.removeprefix("selfstudy.") for name in imports_of(modules()[module]) if name.startswith("selfstudy.")}
    for imported in own & set(modules()):
        if modules()[imported].name != "__init__.py":
            assert layer_of(imported) <= layer_of(module), f"{module} imports {imported}, which stands above it"


@pytest.mark.parametrize(
    ("library", "home"), [("ray", "pipeline"), ("vllm", "engines.vllm"), ("openai", "engines.openai")]
)
def test_heavy_libraries_have_one_home(library: str, home: str) -> None:
    users = {
        module
        for module, path in modules().items()
        if any(name == library or name.startswith(f"{library}.") for name in imports_of(path))
    }
    assert users == {home}
