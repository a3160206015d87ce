"""Workers as an Indexed Job of Kubernetes: the manifest, for kubectl to create."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from studies.commands.scheduler import SAVE_SECONDS, SAVED_AND_RELEASED, STORAGE_VARIABLE, LaunchError
from studies.file.sections import Budget

HOME_IN_POD = "/runs"
NAMES_IN_CLUSTER = {"namespace": None, "secret": "smart-tuner", "volume": "smart-tuner"}
RESOURCES = {"cpu": "2", "memory": "8Gi"}
SECRET_KEY = "storage-url"
USELESS_TO_RETRY = [2, 5]  # wrong usage, refused speech data
TOO_MANY_FAILURES = 8
DIED_OFTEN = Budget.model_fields["retries"].default  # then it is not the machine


def manifest(
    command: Sequence[str],
    study: str,
    image: str,
    jobs: int,
    options: Mapping[str, str],
    environment: Mapping[str, str],
) -> dict[str, Any]:
    """An Indexed Job of Kubernetes 1.33 or newer, each of whose pods runs `command`.

    `options` are resources of a pod (cpu, memory, nvidia.com/gpu, …) and NAMES_IN_CLUSTER: the namespace, the
    Secret with the storage URL, and the PersistentVolumeClaim of the home folder. `environment` is no secret.

    Raises LaunchError for another key.
    """
    names = {key: options.get(key, default) for key, default in NAMES_IN_CLUSTER.items()}
    metadata = {"generateName": f"smart-tuner-{_label(study)}-", "namespace": names["namespace"]}
    container = _container(command, image, names["secret"], _resources(options), environment)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {key: value for key, value in metadata.items() if value is not None},
        "spec": {
            "completions": jobs,
            "parallelism": jobs,
            "completionMode": "Indexed",
            "backoffLimitPerIndex": DIED_OFTEN,
            "podFailurePolicy": {"rules": _failure_rules()},
            "template": {
                "spec": {
                    "restartPolicy": "Never",
                    "terminationGracePeriodSeconds": SAVE_SECONDS,
                    "automountServiceAccountToken": False,
                    "containers": [container],
                    "volumes": [{"name": "home", "persistentVolumeClaim": {"claimName": names["volume"]}}],
                }
            },
        },
    }


def _label(study: str) -> str:
    """The study's name as far as Kubernetes allows it in the names of pods."""
    return re.sub(r"[^a-z0-9]+", "-", study.lower())[:30].strip("-") or "study"


def _failure_rules() -> list[dict[str, Any]]:
    """A worker that saved, or whose node went, is replaced and does not count; a hopeless one is not."""

    def on_codes(action: str, codes: list[int]) -> dict[str, Any]:
        return {
            "action": action,
            "onExitCodes": {"containerName": "worker", "operator": "In", "values": codes},
        }

    return [
        on_codes("Ignore", [SAVED_AND_RELEASED]),
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        on_codes("FailIndex", USELESS_TO_RETRY),
        on_codes("FailJob", [TOO_MANY_FAILURES]),
    ]


def _resources(options: Mapping[str, str]) -> dict[str, str]:
    given = {key: value for key, value in options.items() if key not in NAMES_IN_CLUSTER}
    known = {*RESOURCES, "ephemeral-storage"}
    if unknown := sorted(key for key in given if key not in known and "/" not in key):
        raise LaunchError(
            f"Cannot use --option {', '.join(unknown)} for Kubernetes.\n"
            f"Known are: {', '.join(sorted(known | NAMES_IN_CLUSTER.keys()))}, nvidia.com/gpu and its like.\n"
            "Correct it, or edit the manifest."
        )
    return {**RESOURCES, **given}


def _container(
    command: Sequence[str],
    image: str,
    secret: str | None,
    resources: dict[str, str],
    environment: Mapping[str, str],
) -> dict[str, Any]:
    url = {"secretKeyRef": {"name": secret, "key": SECRET_KEY}}
    # without it, PyTorch starts as many threads as the node has cores
    threads = {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1"}}
    return {
        "name": "worker",
        "image": image,
        "command": list(command),
        "env": [
            {"name": STORAGE_VARIABLE, "valueFrom": url},
            {"name": "OMP_NUM_THREADS", "valueFrom": threads},
            *({"name": name, "value": value} for name, value in environment.items()),
        ],
        "resources": {"requests": dict(resources), "limits": dict(resources)},
        "securityContext": {"allowPrivilegeEscalation": False},
        "volumeMounts": [{"name": "home", "mountPath": HOME_IN_POD}],
    }
