"""Imports point one way: worker, app, models."""

import ast
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

OURS = ("app", "worker", "models", "bench", "tests")


def test_the_import_contracts_hold() -> None:
    command = [str(Path(sys.executable).parent / "lint-imports")]
    outcome = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert outcome.returncode == 0, outcome.stdout


def test_help_loads_no_torch() -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from app.cli import cli;"
        "assert 'serve' in CliRunner().invoke(cli, ['--help']).output;"
        "print([m for m in ('torch', 'fastapi', 'sqlalchemy', 'celery') if m in sys.modules])"
    )
    outcome = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert outcome.stdout.strip() == "[]", outcome.stderr


def test_importing_the_models_loads_neither_the_web_nor_the_queue() -> None:
    code = (
        "import sys, models.searches.search, models.trainings.retrain, models.latent_spaces.fit;"
        "import models.generation.generate;"
        "print([m for m in ('fastapi', 'sqlalchemy', 'celery', 'sklearn') if m in sys.modules])"
    )
    outcome = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert outcome.stdout.strip() == "[]", outcome.stderr


def test_what_benches_take_from_elsewhere_is_there() -> None:
    missing = []
    for path in sorted((ROOT / "bench").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.ImportFrom) or (node.module or "").split(".")[0] not in OURS:
                continue
            module = ROOT.joinpath(*(node.module or "").split("."))
            source = (
                module.with_suffix(".py") if module.with_suffix(".py").exists() else module / "__init__.py"
            )
            text = source.read_text(encoding="utf-8") if source.exists() else ""
            for name in (alias.name for alias in node.names):
                inside = (module / f"{name}.py").exists() or (module / name).is_dir()
                if not inside and not re.search(rf"\b{name}\b", text):
                    missing.append(f"{path.name}: {node.module}.{name}")
    assert missing == []
