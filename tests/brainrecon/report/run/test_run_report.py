from types import SimpleNamespace

from brainrecon.report.run.run_report import _notes


def test_the_report_shows_what_a_simulated_subject_says_of_itself():
    told = ["simulated: higher areas are told the labels", "10 sessions"]
    method = SimpleNamespace(notes=("It was trained on a Monday.",))
    run = SimpleNamespace(parts=[SimpleNamespace(config=SimpleNamespace(settings=SimpleNamespace()), method=method)])
    assert _notes(run, SimpleNamespace(notes=told, noise_ceiling=None)) == [*told, *method.notes]
