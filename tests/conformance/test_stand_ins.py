"""Methods on a simulated subject in the own files of each study: what is read is what was written, in the same order."""

import json

import pytest
from simulated_study import simulated_study
from stand_ins import STAND_INS

from brainrecon.cli.main import run_command

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("method", ["ridge-to-pixels", "brain-diffuser"])
@pytest.mark.parametrize("name", STAND_INS)
def test_a_method_learns_from_it(name, method, tmp_path, capsys):
    kind, make, options = STAND_INS[name]
    path = make(tmp_path / "data", simulated_study())
    line = ["run", method, f"{kind}:{path}", "--out", str(tmp_path / "run"), "--weights", "tiny"]
    line += [part for key, value in options.items() for part in ("--option", f"{key}={value}")]
    assert run_command([*line, "--features", str(tmp_path / "features")]) == 0, capsys.readouterr().err
    scored = json.loads(next((tmp_path / "run" / "scores").glob("*.json")).read_text(encoding="utf-8"))
    print(name, method, json.dumps(scored)[:2000])
    assert (tmp_path / "run" / "report.html").is_file()
