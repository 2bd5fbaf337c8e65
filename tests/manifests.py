"""What is wrong with a file of cluster/: by real schemas where there are some, by hand for the maps that are free."""

import functools
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.scripts.scripts import start as ray_start

from selfstudy.config import ConfigError, parse_config

ROOT = Path(__file__).parent.parent
CLUSTER = ROOT / "cluster"
KUBERAY = ROOT.parent / "shared" / "data" / "kuberay"
KUBERNETES = "1.34"

# The CRD takes any string here: what KubeRay 1.7 knows.
SUBMISSION_MODES = {"K8sJobMode", "HTTPMode", "SidecarMode", "InteractiveMode"}
QUANTITIES = {"cpu", "memory", "ephemeral-storage", "nvidia.com/gpu"}
LABELS = {"ray.io/market-type"}
RUNTIME_ENV = {"env_vars", "excludes", "working_dir", "pip"}
CONFIG_FILE = "config.yaml"


def load(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((CLUSTER / name).read_text()))


def manifest_problems(documents: list[dict[str, Any]]) -> list[str]:
    """Every flaw of a Kubernetes manifest that can be found offline; of RayJobs only where KubeRay's schema is."""
    problems = []
    for document in documents:
        if document.get("kind") == "RayJob":
            problems += rayjob_problems(document)
        else:
            problems += kubernetes_problems(document)
        if document.get("kind") == "ConfigMap":
            problems += [f"data: {name}: nothing reads it" for name in set(document.get("data", {})) - {CONFIG_FILE}]
            problems += config_problems(document.get("data", {}).get(CONFIG_FILE, ""))
    return problems


def kubernetes_problems(document: dict[str, Any]) -> list[str]:
    try:
        kubernetes_validate.validate(document, KUBERNETES, strict=True)
    except (jsonschema.ValidationError, kubernetes_validate.SchemaNotFoundError, KeyError) as error:
        return [str(error).splitlines()[0]]
    return [] if document["kind"] == "PodTemplate" else [*_free_maps(document), *_mounts(document)]


def rayjob_problems(document: dict[str, Any]) -> list[str]:
    errors = _rayjob_schema().iter_errors(document)
    problems = [f"{'/'.join(map(str, error.absolute_path))}: {error.message[:200]}" for error in errors]
    if problems:
        return problems
    # A CRD leaves these to Kubernetes itself.
    problems += kubernetes_problems({"apiVersion": "v1", "kind": "ConfigMap", "metadata": document["metadata"]})
    spec = document["spec"]
    cluster = spec["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    for template in [spec["submitterPodTemplate"], *(group["template"] for group in groups)]:
        pod = {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "x"}, "template": template}
        problems += [*kubernetes_problems(pod), *_mounts(template)]
    if spec.get("submissionMode", "K8sJobMode") not in SUBMISSION_MODES:
        problems.append(f"submissionMode: {spec['submissionMode']}")
    for name in ("submissionMode", "backoffLimit", "ttlSecondsAfterFinished", "shutdownAfterJobFinishes"):
        if name not in spec:
            problems.append(f"{name}: is to be said")
    options = {option for parameter in ray_start.params for option in parameter.opts}
    for group in groups:
        problems += [f"rayStartParams: {name}" for name in group["rayStartParams"] if f"--{name}" not in options]
    problems += runtime_env_problems(yaml.safe_load(spec["runtimeEnvYAML"]))
    return problems + _free_maps(document)


def runtime_env_problems(content: dict[str, Any]) -> list[str]:
    problems = [f"runtime environment: {name}" for name in set(content) - RUNTIME_ENV]
    return problems + [name for name in content.get("env_vars", {}) if not _ray_reads(name)]


def launcher_problems(content: dict[str, Any]) -> list[str]:
    try:
        validate_config(prepare_config(content))
    except (jsonschema.ValidationError, ValueError, LookupError, AttributeError, TypeError, AssertionError) as error:
        return [f"{type(error).__name__}: {str(error).splitlines()[0]}"]
    problems = []
    for name, node in content["available_node_types"].items():
        problems += [f"{name}: resources: {key}" for key in set(node.get("resources", {})) - {"CPU", "GPU"}]
        problems += [f"{name}: {line}" for line in _ec2_problems(node["node_config"])]
        problems += [] if name == content["head_node_type"] or "max_workers" in node else [f"{name}: max_workers"]
    known = {"type", "region", "cache_stopped_nodes"}
    return problems + [f"provider: {name}" for name in set(content["provider"]) ^ known]


def config_problems(text: str) -> list[str]:
    content = yaml.safe_load(text)
    try:
        parse_config(content)
    except (ConfigError, TypeError) as error:
        return [str(error)]
    return []


def places(content: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every key of a document."""
    if isinstance(content, dict):
        for key, value in content.items():
            yield (*at, key)
            yield from places(value, (*at, key))
    elif isinstance(content, list):
        for number, value in enumerate(content):
            yield from places(value, (*at, number))


def misspelt(content: Any, place: tuple[Any, ...]) -> Any:
    """A copy with one key written wrongly."""
    if isinstance(content, list):
        return [misspelt(value, place[1:]) if number == place[0] else value for number, value in enumerate(content)]
    if len(place) == 1:
        return {f"{key}x" if key == place[0] else key: value for key, value in content.items()}
    return {key: misspelt(value, place[1:]) if key == place[0] else value for key, value in content.items()}


def _walk(content: Any, visit: Callable[[str, Any], None]) -> None:
    if isinstance(content, dict):
        for key, value in content.items():
            visit(key, value)
            _walk(value, visit)
    elif isinstance(content, list):
        for value in content:
            _walk(value, visit)


def _free_maps(document: dict[str, Any]) -> list[str]:
    """Maps whose keys no schema knows: quantities, labels, names of environment variables."""
    problems: list[str] = []

    def visit(key: str, value: Any) -> None:
        if key in ("requests", "limits"):
            problems.extend(f"{key}: {name}" for name in set(value) - QUANTITIES)
        if key == "labels":
            problems.extend(f"labels: {name}" for name in set(value) - LABELS)
        if key == "env":
            problems.extend(each["name"] for each in value if not _ray_reads(each["name"]))

    _walk(document, visit)
    return problems


def _mounts(document: dict[str, Any]) -> list[str]:
    """Pods in which what is mounted and what is declared are not the same."""
    problems: list[str] = []

    def visit(key: str, value: Any) -> None:
        if key == "spec" and isinstance(value, dict) and "containers" in value:
            declared = {volume["name"] for volume in value.get("volumes", [])}
            mounted = {mount["name"] for each in value["containers"] for mount in each.get("volumeMounts", [])}
            problems.extend(f"volume {name}" for name in declared ^ mounted)

    _walk(document, visit)
    return problems


@functools.cache
def _ray_reads(name: str) -> bool:
    """Whether a variable is one that Ray or our own scripts know."""
    if not name.startswith("RAY_"):
        return f'"{name}"' in (ROOT / "jobs" / "create_rayjob.py").read_text()
    import ray

    return any(f'"{name}"' in path.read_text(errors="ignore") for path in Path(ray.__file__).parent.rglob("*.py"))


@functools.cache
def _rayjob_schema() -> jsonschema.Draft202012Validator:
    crd = yaml.load((KUBERAY / "rayjobs.crd.yaml").read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    (version,) = [version for version in crd["spec"]["versions"] if version["name"] == "v1"]
    schema = _strict(version["schema"]["openAPIV3Schema"])
    schema["properties"]["kind"]["const"] = "RayJob"
    schema["properties"]["apiVersion"]["const"] = "ray.io/v1"
    schema["required"] = ["apiVersion", "kind", "metadata", "spec"]
    return jsonschema.Draft202012Validator(schema)


def _strict(schema: Any) -> Any:
    """Refuse unknown keys wherever some are known, as Kubernetes drops them in silence."""
    if isinstance(schema, list):
        return [_strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    copied = {key: _strict(value) for key, value in schema.items()}
    if isinstance(copied.get("properties"), dict) and "x-kubernetes-preserve-unknown-fields" not in copied:
        copied.setdefault("additionalProperties", False)
    if copied.pop("x-kubernetes-int-or-string", False):
        copied["type"] = ["integer", "string"]
    return copied


@functools.cache
def _ec2_shape() -> Any:
    from botocore.loaders import Loader
    from botocore.model import ServiceModel

    model = ServiceModel(Loader().load_service_model("ec2", "service-2"))
    return model.operation_model("RunInstances").input_shape


def _ec2_problems(node_config: dict[str, Any]) -> list[str]:
    from botocore.validate import ParamValidator

    report = ParamValidator().validate({"MinCount": 1, "MaxCount": 1} | node_config, _ec2_shape())
    missing = {"InstanceType", "ImageId", "IamInstanceProfile", "BlockDeviceMappings"} - set(node_config)
    return [*re.sub(r"\n", " ", report.generate_report()).splitlines(), *missing]
