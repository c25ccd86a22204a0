"""What detection finds in workloads of our own making, and that hostile ones neither crash it nor change its mind."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from placet.detection import Rules, Verdict, detect, read_rules
from placet.policy.data import load_policy_data, parse_yaml

Json = dict[str, Any]

EXAMPLES: Final[list[Json]] = parse_yaml(Path(__file__).with_name("examples.yaml").read_bytes(), name="examples")[
    "examples"
]
TABLES: Final[Json] = dict(load_policy_data(None).value["detection"])
RULES: Final[Rules] = read_rules(TABLES)
VERSIONS: Final = {"Pod": "v1", "ReplicationController": "v1", "Job": "batch/v1", "CronJob": "batch/v1"}
STAYING: Final = ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Pod")


def workload(pod: Json, kind: str = "Deployment") -> Json:
    found = {"apiVersion": VERSIONS.get(kind, "apps/v1"), "kind": kind, "metadata": {"name": "example"}}
    if kind == "Pod":
        return {**found, "spec": pod}
    spec: Json = {"template": {"spec": pod}}
    return {**found, "spec": {"jobTemplate": {"spec": spec}} if kind == "CronJob" else spec}


def build(example: Json) -> Json:
    given_object: Json | None = example.get("object")
    return given_object or workload(example["pod"], example.get("kind", "Deployment"))


def container(**fields: Any) -> Json:
    return workload({"containers": [{"name": "a", "image": "registry.example/r/x:1", **fields}]})


def changed(**tables: Json) -> Rules:
    return read_rules({**TABLES, **{name: {**TABLES[name], **entries} for name, entries in tables.items()}})


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: str(example["name"]))
def test_each_example_is_what_a_platform_team_would_call_it(example: Json) -> None:
    verdict = detect(build(example), RULES)
    assert verdict.answer == example["expect"], verdict


def test_the_examples_are_many_of_both_sorts() -> None:
    answers = [example["expect"] for example in EXAMPLES]
    assert answers.count("serves_model") >= 50
    assert len(answers) - answers.count("serves_model") >= 45
    assert len({json.dumps(build(example), sort_keys=True) for example in EXAMPLES}) == len(EXAMPLES)


@pytest.mark.parametrize("kind", STAYING)
@pytest.mark.parametrize(
    "example", [one for one in EXAMPLES if one.get("kind", "Deployment") in STAYING and "pod" in one]
)
def test_a_template_and_the_pods_made_of_it_have_one_answer(example: Json, kind: str) -> None:
    assert detect(workload(example["pod"], kind), RULES) == detect(build(example), RULES)


@pytest.mark.parametrize("kind", ["Job", "CronJob"])
@pytest.mark.parametrize("policy", ["Never", "OnFailure"])
@pytest.mark.parametrize("example", [one for one in EXAMPLES if "pod" in one])
def test_a_job_and_its_pods_have_one_answer(example: Json, policy: str, kind: str) -> None:
    pod = {**example["pod"], "restartPolicy": policy}
    assert detect(workload(pod, kind), RULES) == detect(workload(pod, "Pod"), RULES)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: str(example["name"]))
def test_the_order_of_keys_and_fields_that_are_not_read_change_nothing(example: Json) -> None:
    def turned(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: turned(value[key]) for key in reversed(value)}
        return [turned(item) for item in value] if isinstance(value, list) else value

    obj = build(example)
    answer = detect(obj, RULES).answer
    assert detect(turned(obj), RULES).answer == answer
    labelled = {
        **obj,
        "metadata": {**obj["metadata"], "labels": {"vllm": "ollama"}, "annotations": {"a": "vllm serve"}},
    }
    assert detect(labelled, RULES).answer == answer


def test_every_reason_is_an_entry_of_the_tables_and_names_its_container() -> None:
    for example in EXAMPLES:
        for reason in detect(build(example), RULES).reasons:
            assert reason.key in TABLES[reason.table], reason
            assert reason.table == "kinds" or reason.container or "pod" not in example, reason


@pytest.mark.parametrize("name", ["VLLM-OPENAI", "Vllm-OpenAI"])
def test_capitals_of_ascii_are_folded_and_no_other_letter_becomes_ascii(name: str) -> None:
    assert detect(container(image=f"registry.example/{name}:1"), RULES).answer == "serves_model"
    assert detect(container(image="registry.example/to\u212aen\u212aizer/vll\u043c:1"), RULES) == Verdict("no")


def test_the_registry_says_nothing() -> None:
    assert detect(container(image="vllm.example/shop/cart:1"), RULES) == Verdict("no")
    assert detect(container(image="ollama.example:5000/cart"), RULES) == Verdict("no")


def test_an_operator_adds_an_image_and_switches_one_off() -> None:
    ours, theirs = container(image="registry.example/acme-brain:1"), container(image="docker.io/ollama/ollama:1")
    assert (detect(ours, RULES).answer, detect(theirs, RULES).answer) == ("no", "serves_model")
    rules = changed(images={"acme-brain": "server", "ollama": "off"})
    assert (detect(ours, rules).answer, detect(theirs, rules).answer) == ("serves_model", "no")


def test_an_operator_adds_a_kind_that_serves_if_a_field_is_there() -> None:
    rules = changed(kinds={"acme.example/Brain": "has:spec.model"})
    brain: Json = {"apiVersion": "acme.example/v1", "kind": "Brain", "spec": {}}
    assert detect(brain, rules) == Verdict("no")
    assert detect({**brain, "spec": {"model": "m"}}, rules).answer == "serves_model"


def test_a_server_that_is_started_counts_whatever_its_image_is_called() -> None:
    for image in ("registry.example/vllm-client:1", "registry.example/benchmark:1", "nginx:1"):
        assert detect(container(image=image, command=["vllm", "serve", "acme/m"]), RULES).answer == "serves_model"


def test_one_sign_alone_is_not_enough_without_an_accelerator() -> None:
    for fields in (
        {"args": ["--model", "m"]},
        {"env": [{"name": "MODEL_ID", "value": "m"}]},
        {"volumeMounts": [{"name": "m", "mountPath": "/models"}]},
        {"readinessProbe": {"httpGet": {"path": "/v1/models", "port": 80}}},
    ):
        assert detect(container(**fields), RULES) == Verdict("no")
        with_gpu = container(**fields, resources={"limits": {"nvidia.com/gpu": 1}})
        assert detect(with_gpu, RULES).answer == "serves_model"


def test_an_empty_variable_names_no_model() -> None:
    fields = {"env": [{"name": "MODEL_ID", "value": ""}], "resources": {"limits": {"nvidia.com/gpu": 1}}}
    assert detect(container(**fields), RULES).answer == "suspected"


def test_a_large_script_is_read_to_its_end() -> None:
    script = "\n".join(f"# {number} ;&|()" for number in range(20_000)) + "\nvllm serve acme/m\n"
    assert detect(container(command=["sh", "-c", script]), RULES).answer == "serves_model"


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=20)
    | st.sampled_from(["vllm", "-c", "/", ":", "*", "="]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(JSON, st.randoms(use_true_random=False), st.sampled_from(EXAMPLES))
@settings(max_examples=300)
def test_a_field_of_any_type_anywhere_gives_an_answer(value: Any, random: Any, example: Json) -> None:
    obj = copy.deepcopy(build(example))
    places: list[tuple[Any, Any]] = []
    pending: list[Any] = [obj]
    while pending:
        holder = pending.pop()
        keys = list(holder) if isinstance(holder, dict) else range(len(holder))
        places += [(holder, key) for key in keys]
        pending += [holder[key] for key in keys if isinstance(holder[key], dict | list)]
    holder, key = random.choice(places)
    holder[key] = value
    assert detect(obj, RULES).answer in {"serves_model", "suspected", "no"}


@given(st.dictionaries(st.sampled_from(["apiVersion", "kind", "metadata", "spec", "containers"]), JSON))
def test_any_object_gives_an_answer(obj: Json) -> None:
    assert detect(obj, RULES).answer in {"serves_model", "suspected", "no"}


@given(st.lists(st.text(max_size=40), max_size=4), st.lists(st.text(max_size=40), max_size=4))
def test_any_command_gives_an_answer(command: list[str], arguments: list[str]) -> None:
    assert detect(container(command=command, args=arguments), RULES).answer in {"serves_model", "suspected", "no"}
