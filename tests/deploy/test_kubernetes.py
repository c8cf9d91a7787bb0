"""deploy/k8s against the code: names, ports, probes, settings, rights, times."""

from __future__ import annotations

import shutil
import subprocess
from typing import Any

import pytest
import yaml

import services.__main__ as process
from deploy.front_door import FILES
from deploy.routes import ALIVE, READY
from shared.settings import Settings
from tests.deploy.descriptions import ENVIRONMENT as DEMANDED
from tests.deploy.descriptions import K8S, TEMPLATE, manifest, manifests, read_compose, read_dockerfile, setting_names

DEPLOYED = (*process.SERVICES, "nginx")
KUSTOMIZATION = yaml.safe_load((K8S / "kustomization.yaml").read_text())


def pod_of(name: str) -> dict[str, Any]:
    """Return the pod of a deployment."""
    found: dict[str, Any] = manifest("Deployment", name)["spec"]["template"]["spec"]
    return found


def container_of(name: str) -> dict[str, Any]:
    """Return the only container of a deployment's pod."""
    (found,) = pod_of(name)["containers"]
    container: dict[str, Any] = found
    return container


def test_everything_is_applied_but_the_template() -> None:
    """kustomization.yaml names each file, once; the secrets are the operator's."""
    files = {path.name for path in K8S.glob("*.yaml")} - {"kustomization.yaml", TEMPLATE.name}
    assert sorted(KUSTOMIZATION["resources"]) == sorted(files)
    assert KUSTOMIZATION["namespace"] == "starling"
    assert KUSTOMIZATION["configMapGenerator"][0]["files"] == ["nginx.conf"]


@pytest.mark.parametrize("name", DEPLOYED)
def test_the_parts_of_a_deployment_mean_each_other(name: str) -> None:
    """Deployment, Service and PodDisruptionBudget select the same pods; the ports meet."""
    labels = manifest("Deployment", name)["spec"]["template"]["metadata"]["labels"]
    for chosen in (
        manifest("Deployment", name)["spec"]["selector"]["matchLabels"],
        manifest("Service", name)["spec"]["selector"],
        manifest("PodDisruptionBudget", name)["spec"]["selector"]["matchLabels"],
    ):
        assert chosen.items() <= labels.items()
    (port,) = manifest("Service", name)["spec"]["ports"]
    assert port["targetPort"] == container_of(name)["ports"][0]["name"]


@pytest.mark.parametrize("name", process.SERVICES)
def test_a_service_is_what_the_code_calls_so(name: str) -> None:
    """It runs that service of the image, at the port that nginx asks, and grows by itself."""
    container = container_of(name)
    assert (container["image"], container["args"]) == ("starling", [name])
    assert "command" not in container
    port = manifest("Service", name)["spec"]["ports"][0]["port"]
    assert FILES["k8s/nginx.conf"].upstreams[name] == (f"{name}:{port}",)
    assert str(container["ports"][0]["containerPort"]) == settings_map()["STARLING_HTTP__PORT"]
    scaler = manifest("HorizontalPodAutoscaler", name)["spec"]
    assert scaler["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}
    assert 2 <= scaler["minReplicas"] < scaler["maxReplicas"]
    assert "replicas" not in manifest("Deployment", name)["spec"]


@pytest.mark.parametrize("name", process.SERVICES)
def test_probes_ask_what_the_code_answers(name: str) -> None:
    """A process is restarted only when it does not live; it gets traffic only when it is ready."""
    container = container_of(name)
    probes = {kind: container[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")}
    assert {kind: probe["path"] for kind, probe in probes.items()} == {
        "startup": ALIVE,
        "liveness": ALIVE,
        "readiness": READY,
    }
    assert {probe["port"] for probe in probes.values()} == {"http"}
    assert container["readinessProbe"]["timeoutSeconds"] > Settings().http.probe_timeout.total_seconds()


@pytest.mark.parametrize("name", DEPLOYED)
def test_no_pod_has_rights_that_it_does_not_need(name: str) -> None:
    """Not root, nothing written but in /tmp, no capabilities, no token of the cluster: the level "restricted"."""
    pod, container = pod_of(name), container_of(name)
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not pod["automountServiceAccountToken"]
    # A Service named like a prefix of settings would otherwise set some.
    assert not pod["enableServiceLinks"]
    assert container["resources"]["limits"]["memory"]
    (user,) = (one.text for one in read_dockerfile() if one.word == "USER")
    expected = user if name != "nginx" else read_compose(DEMANDED)["services"]["nginx"]["user"]
    assert f"{pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}" == expected


@pytest.mark.parametrize("name", process.SERVICES)
def test_no_pod_is_killed_while_it_drains(name: str) -> None:
    """The pause before the signal and the drain fit into the time that Kubernetes gives."""
    pause = int(container_of(name)["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod_of(name)["terminationGracePeriodSeconds"] > pause + process._SHUTDOWN_S


def settings_map() -> dict[str, str]:
    """Return what all services are told."""
    found: dict[str, str] = manifest("ConfigMap", "starling-settings")["data"]
    return found


def test_settings_and_secrets_together_are_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Filled in, they make settings for production; the template holds no value, and as it stands nothing starts."""
    secrets = manifest("Secret", "starling-secrets")["stringData"]
    assert set(secrets.values()) == {""}
    assert {*secrets, *settings_map()} <= set(setting_names())
    assert not set(secrets) & set(settings_map())
    for name, value in {**settings_map(), **secrets}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match="STARLING_AUTH__SECRET"):
        Settings()

    monkeypatch.setenv("STARLING_AUTH__SECRET", "s" * 32)
    settings = Settings()
    assert settings.environment == "production"
    host = manifest("Ingress", "starling")["spec"]["rules"][0]["host"]
    assert settings.http.front_door == f"https://{host}"
    assert set(FILES["k8s/nginx.conf"].behind) == set(settings.http.trusted_proxies)


@pytest.mark.parametrize("name", process.SERVICES)
def test_each_service_gets_settings_secrets_and_its_name(name: str) -> None:
    """The references lead to objects that there are; a pod's name is its node's."""
    container = container_of(name)
    assert container["envFrom"] == [
        {"configMapRef": {"name": "starling-settings"}},
        {"secretRef": {"name": "starling-secrets"}},
    ]
    assert container["env"] == [{"name": "STARLING_NODE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]


def test_the_way_in_leads_to_the_front_door() -> None:
    """The ingress hands everything to nginx, which hides what is inside and knows the owner of each path."""
    (rule,) = manifest("Ingress", "starling")["spec"]["rules"]
    assert [path["path"] for path in rule["http"]["paths"]] == ["/"]
    backend = rule["http"]["paths"][0]["backend"]["service"]
    assert backend["name"] == "nginx"
    assert backend["port"]["name"] == manifest("Service", "nginx")["spec"]["ports"][0]["name"]
    assert container_of("nginx")["image"] == read_compose(DEMANDED)["services"]["nginx"]["image"]
    assert container_of("nginx")["livenessProbe"]["httpGet"]["path"] == ALIVE
    assert FILES["k8s/nginx.conf"].listen == (str(container_of("nginx")["ports"][0]["containerPort"]),)


def test_the_image_is_of_this_version() -> None:
    """kustomization.yaml and docker-compose.yml run the same image."""
    (image,) = KUSTOMIZATION["images"]
    assert f"{image['name']}:{image['newTag']}" == read_compose(DEMANDED)["services"]["gateway"]["image"]


def test_kustomize_builds_it() -> None:
    """Where kubectl is installed, it puts all of it together; it needs no cluster for that."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed")
    built = subprocess.run([kubectl, "kustomize", K8S], capture_output=True, text=True, timeout=60, check=False)
    assert built.returncode == 0, built.stderr
    kinds = [(one["kind"], one["metadata"].get("namespace")) for one in yaml.safe_load_all(built.stdout)]
    applied = [one for one in manifests() if one["kind"] != "Secret"]
    assert len(kinds) == len(applied) + 1  # nginx.conf as a ConfigMap
    assert {namespace for kind, namespace in kinds if kind != "Namespace"} == {"starling"}
