"""The files that teams copy: valid against real schemas, refused with a typo, and true to what the code is."""

import json
import random
import re
import shlex
import subprocess
import sys
import tomllib
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from dockerfile_parse import DockerfileParser
from packaging.requirements import Requirement
from packaging.version import Version
from typer.testing import CliRunner

from selfstudy.cli import app
from selfstudy.config import load_config, parse_config
from tests.manifests import (
    CLUSTER,
    CONFIG_FILE,
    KUBERAY,
    ROOT,
    launcher_problems,
    load,
    manifest_problems,
    misspelt,
    places,
    runtime_env_problems,
)
from tests.runs import write_corpus

needs_kuberay = pytest.mark.skipif(not KUBERAY.exists(), reason="KubeRay's schemas are not beside the repository")
CONFIGS = sorted((ROOT / "jobs").glob("*.yaml"))
# Options of sbatch that the script may use.
SBATCH = {
    *("job-name", "nodes", "ntasks-per-node", "gpus-per-node", "cpus-per-task", "mem", "exclusive", "time", "requeue"),
    *("open-mode", "output", "signal", "partition", "account", "constraint", "array", "dependency", "mail-type"),
}


def kind_of(documents: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    (found,) = [document for document in documents if document["kind"] == kind]
    return found


@pytest.mark.parametrize(
    ("name", "num_typos"), [pytest.param("rayjob.yaml", 30, marks=needs_kuberay), ("nightly.yaml", 15)]
)
def test_manifests_hold_to_their_schemas_and_typos_fail(name: str, num_typos: int) -> None:
    """Any key of them is caught; a run tries some."""
    documents = load(name)
    assert manifest_problems(documents) == []
    everywhere = list(places(documents))
    for place in random.Random().sample(everywhere, num_typos):
        assert manifest_problems(misspelt(documents, place)), f"a typo at {place} passes"


@needs_kuberay
@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["submissionMode"], "K8sJob"),
        (["backoffLimit"], "three"),
        (["rayClusterSpec", "autoscalerOptions", "version"], "v3"),
        (["rayClusterSpec", "workerGroupSpecs", 0, "minReplicas"], "1"),
        (["rayClusterSpec", "autoscalerOptions", "resources", "limits"], {"cpu": "half a core"}),
        (["rayClusterSpec", "headGroupSpec", "rayStartParams"], {"num-cpu": "0"}),
        (["runtimeEnvYAML"], "env_var: {A: b}"),
    ],
)  # fmt: skip
def test_wrong_values_fail(path: list[Any], value: Any) -> None:
    documents = load("rayjob.yaml")
    place = kind_of(documents, "RayJob")["spec"]
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    assert manifest_problems(documents)


def test_the_launcher_file_is_valid_and_typos_fail() -> None:
    (content,) = load("launcher.yaml")
    assert launcher_problems(content) == []
    chosen_names = {("available_node_types", name) for name in content["available_node_types"]}
    for place in set(places(content)) - chosen_names:
        if place[:2] != ("available_node_types", content["head_node_type"]) or len(place) > 2:
            assert launcher_problems(misspelt(content, place)), f"a typo at {place} passes"


def test_the_runtime_environment_is_valid() -> None:
    (content,) = load("runtime-env.yaml")
    assert runtime_env_problems(content) == []
    assert runtime_env_problems(content | {"env_vars": {"RAY_JOB_STOP_WAIT_TIME": "60"}})
    assert runtime_env_problems({"exclude": []})


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_passes_plan(path: Path, tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus", num_documents=4)
    moved = [f"--set=corpus.paths=[{corpus}]", f"--set=output={tmp_path / 'out'}"]
    done = CliRunner().invoke(app, ["plan", str(path), *moved, "--json"], catch_exceptions=False)
    assert done.exit_code == 0
    planned = json.loads(done.stdout)
    assert planned["estimates"]["documents"]["value"] == 4 and planned["estimates"]["requests"]["value"] > 0
    assert not (tmp_path / "out").exists()


def test_the_config_in_the_manifest_is_the_nightly_one() -> None:
    text = kind_of(load("rayjob.yaml"), "ConfigMap")["data"][CONFIG_FILE]
    assert parse_config(yaml.safe_load(text)) == load_config(ROOT / "jobs" / "nightly.yaml")


def test_what_the_manifests_name_is_there() -> None:
    rayjob = kind_of(load("rayjob.yaml"), "RayJob")
    cluster = rayjob["spec"]["rayClusterSpec"]
    head = cluster["headGroupSpec"]["template"]["spec"]
    (volume,) = [volume for volume in head["volumes"] if "configMap" in volume]
    assert volume["configMap"]["name"] == kind_of(load("rayjob.yaml"), "ConfigMap")["metadata"]["name"]
    (mount,) = [mount for mount in head["containers"][0]["volumeMounts"] if mount["name"] == volume["name"]]
    assert f"{mount['mountPath']}/{CONFIG_FILE}" in rayjob["spec"]["entrypoint"].split()

    nightly = load("nightly.yaml")
    account, role = kind_of(nightly, "ServiceAccount")["metadata"]["name"], kind_of(nightly, "Role")
    binding = kind_of(nightly, "RoleBinding")
    assert [subject["name"] for subject in binding["subjects"]] == [account]
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert role["rules"] == [{"apiGroups": ["ray.io"], "resources": ["rayjobs"], "verbs": ["create", "get"]}]
    cron = kind_of(nightly, "CronJob")["spec"]
    assert cron["concurrencyPolicy"] == "Forbid"
    pod = cron["jobTemplate"]["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == account
    _, script, manifest = pod["containers"][0]["command"]
    assert (ROOT / Path(script).relative_to("/opt/selfstudy")).exists()
    assert Path(manifest).name == "rayjob.yaml"  # the name that `kubectl create configmap --from-file` gives


def test_deadlines_and_sizes_fit_into_each_other() -> None:
    config = load_config(ROOT / "jobs" / "nightly.yaml")
    spec = kind_of(load("rayjob.yaml"), "RayJob")["spec"]
    cron = kind_of(load("nightly.yaml"), "CronJob")["spec"]["jobTemplate"]["spec"]
    assert config.limits.max_hours is not None and 3600 * config.limits.max_hours < spec["activeDeadlineSeconds"]
    assert cron["activeDeadlineSeconds"] > spec["activeDeadlineSeconds"] + spec["preRunningDeadlineSeconds"]
    resources, groups = config.resources, spec["rayClusterSpec"]["workerGroupSpecs"]
    floor: dict[str, float] = {"cpu": 0, "nvidia.com/gpu": 0}
    for group in groups:
        limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
        num_gpus = float(limits.get("nvidia.com/gpu", 0))
        if num_gpus:
            assert float(limits["cpu"]) >= resources.engine_cpus and num_gpus >= resources.engine_gpus
            assert group["maxReplicas"] * num_gpus >= resources.engine_actors * resources.engine_gpus
        floor["cpu"] += group["minReplicas"] * float(limits["cpu"])
        floor["nvidia.com/gpu"] += group["minReplicas"] * num_gpus
    # One actor of each stage and a prepare task: what a run starts with.
    assert floor["cpu"] >= resources.prepare_cpus + resources.filter_cpus + resources.engine_cpus
    assert floor["nvidia.com/gpu"] >= resources.engine_gpus
    for group in [spec["rayClusterSpec"]["headGroupSpec"], *groups]:
        pod = group["template"]["spec"]
        (shm,) = [volume["emptyDir"] for volume in pod["volumes"] if volume["name"] == "shm"]
        store = int(group["rayStartParams"]["object-store-memory"])
        memory = num_bytes(pod["containers"][0]["resources"]["limits"]["memory"])
        assert store < num_bytes(shm["sizeLimit"]) < memory / 2


def num_bytes(quantity: str) -> int:
    return int(quantity.removesuffix("Gi")) * 2**30


def test_versions_are_those_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    requirements = [Requirement(line) for line in [*project["dependencies"], *chain(*extras.values())]]
    pinned = dict(
        line.split("==") for line in (CLUSTER / "constraints.txt").read_text().splitlines() if not line.startswith("#")
    )
    for requirement in requirements:
        if requirement.name in pinned:
            assert Version(pinned[requirement.name]) in requirement.specifier, requirement
    dockerfile = DockerfileParser(str(CLUSTER / "Dockerfile"))
    assert dockerfile.baseimage == f"vllm/vllm-openai:v{pinned['vllm']}"
    assert kind_of(load("rayjob.yaml"), "RayJob")["spec"]["rayClusterSpec"]["rayVersion"] == pinned["ray"]
    installed = re.search(r"'\.\[([a-z0-9,]+)\]'", dockerfile.content)
    # Nothing is trained in a job.
    assert installed and set(installed[1].split(",")) == set(extras) - {"train"}


def test_the_image_is_built_from_files_that_exist_and_runs_as_nobody() -> None:
    dockerfile = DockerfileParser(str(CLUSTER / "Dockerfile"))
    steps = [(step["instruction"], step["value"]) for step in dockerfile.structure]
    known = {"ARG", "FROM", "WORKDIR", "COPY", "RUN", "USER", "ENV", "ENTRYPOINT", "CMD", "COMMENT"}
    assert {name for name, _ in steps} <= known
    allowed = {line[1:] for line in (CLUSTER / "Dockerfile.dockerignore").read_text().splitlines() if line[:1] == "!"}
    copied = {source for name, value in steps if name == "COPY" for source in value.split()[:-1]}
    assert copied == allowed and all((ROOT / source).exists() for source in copied)
    (user,) = [value for name, value in steps if name == "USER"]
    text = "".join((CLUSTER / name).read_text() for name in ("rayjob.yaml", "nightly.yaml"))
    assert set(re.findall(r"run_?As(?:User|Group): (\d+)", text)) == {user} and int(user) > 0
    assert not re.search(r"(?i)(secret|token|password|key)\w*\s*=", dockerfile.content)


def commands() -> list[str]:
    """Every command line of ours in cluster/ and jobs/, placeholders in capitals included."""
    found = [kind_of(load("rayjob.yaml"), "RayJob")["spec"]["entrypoint"]]
    for path in [*CLUSTER.glob("*"), *CONFIGS, ROOT / "jobs" / "generate.py"]:
        text = path.read_text().replace("\\\n", " ")
        found += re.findall(
            r"^[#\s]*(?:\S.*: )?((?:selfstudy|ray job submit|python jobs/generate\.py) [^|`&\n]+)", text, re.M
        )
    return found


def test_the_commands_in_the_files_can_be_typed() -> None:
    lines = commands()
    assert len(lines) > 5
    for line in lines:
        words = [word for word in shlex.split(line.split("  ")[0]) if word != "$@"]
        if words[:3] == ["ray", "job", "submit"]:
            from ray.dashboard.modules.job.cli import submit

            submit.make_context("submit", words[3:])
            words = words[words.index("--") + 1 :]
        if words[:2] == ["python", "jobs/generate.py"]:
            words = ["selfstudy", "run", *words[2:]]
        assert words[0] == "selfstudy", line
        command: Any = typer.main.get_command(app)
        for name in words[1:2]:
            assert name in command.commands, line
            command.commands[name].make_context(name, words[2:])


def test_the_slurm_script_is_sound() -> None:
    path = CLUSTER / "slurm.sbatch"
    subprocess.run(["bash", "-n", path], check=True)
    checker = Path(sys.executable).with_name("shellcheck")
    done = subprocess.run([checker, "--severity=warning", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    options = re.findall(r"^#+SBATCH --([a-z-]+)", path.read_text(), re.M)
    assert set(options) <= SBATCH and {"requeue", "signal"} <= set(options)
