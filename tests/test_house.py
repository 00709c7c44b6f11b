"""The house stands as CONTRIBUTING says: no circle, no import against the data's way, and a light ground floor."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from house import ROOT, against_the_way, circles, graph, imports, modules


def test_no_module_reaches_itself() -> None:
    assert circles(graph(modules())) == []


def test_rooms_import_from_those_below() -> None:
    assert against_the_way(graph(modules())) == []


def test_circles_and_wrong_ways_are_found() -> None:
    edges = {"metrics.a": {"metrics.b"}, "metrics.b": {"metrics.c", "experiments.d"}, "metrics.c": {"metrics.a"}}
    assert circles({**edges, "experiments.d": set()}) == [["metrics.a", "metrics.b", "metrics.c"]]
    assert against_the_way({**edges, "experiments.d": set()}) == ["metrics.b imports experiments.d"]


def test_only_bases_know_a_model_of_transformers() -> None:
    general = {"PreTrainedTokenizerBase", "AutoConfig", "LogitsProcessor", "StaticCache", "StoppingCriteria"}
    known = {
        f"{name}: {imported}"
        for name, path in modules().items()
        for imported in imports(path)
        if name.startswith("lightning_modules") and not name.startswith("lightning_modules.bases")
        if imported.startswith("transformers") and imported.rpartition(".")[2] not in general
    }
    assert not known


@pytest.mark.parametrize("module", ["datamodules.types", "datamodules.reading.fields", "metrics.benchmarks"])
def test_the_ground_floor_needs_no_torch(module: str) -> None:
    program = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_mutations_fit_the_code_and_the_tests_they_name() -> None:
    """What was renamed was renamed there too: no mistake is tried where there is no such text, nor by no test."""
    subprocess.run([sys.executable, ROOT / "tests" / "mutation", "--list"], check=True, stdout=subprocess.DEVNULL)
    named = re.findall(r'"\{(\w+)\}(/[^"]+\.py)"', (ROOT / "tests" / "mutation" / "tables.py").read_text())
    rooms = {"DATA": "datamodules", "MODEL": "lightning_modules", "METRICS": "metrics"}
    rooms["ENCODERS"] = f"{rooms['MODEL']}/region_encoders"
    assert [path for room, path in named if not (ROOT / "tests" / f"{rooms[room]}{path}").is_file()] == []
