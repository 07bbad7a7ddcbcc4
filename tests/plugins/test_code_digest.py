import json
import shutil

import pytest

from neurobench_grasp.plugins import code_digest


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Copy the good fake distribution to a folder on the path."""
    folder = tmp_path / "site"
    shutil.copytree(__file__.replace("test_code_digest.py", "distributions/good"), folder)
    monkeypatch.syspath_prepend(str(folder))
    return folder


def test_the_digest_follows_content_alone(installed):
    before = code_digest("fake-good")
    module = installed / "fake_good.py"
    module.touch()
    (installed / "fake_good.pyc").write_bytes(b"compiled")
    assert code_digest("fake-good") == before
    module.write_text(module.read_text() + "# one comment more\n")
    assert code_digest("fake-good") != before


def test_a_missing_file_or_an_unknown_distribution_has_no_digest(installed):
    assert code_digest("absent-package") is None
    (installed / "fake_good.py").unlink()
    assert code_digest("fake-good") is None


def test_an_editable_install_is_identified_by_its_project_folder(installed, tmp_path):
    project = tmp_path / "project"
    (project / "package").mkdir(parents=True)
    (project / "package" / "code.py").write_text("x = 1\n")
    info = installed / "fake_good-2.1.dist-info"
    (info / "direct_url.json").write_text(
        json.dumps({"url": project.as_uri(), "dir_info": {"editable": True}})
    )
    before = code_digest("fake-good")
    assert before is not None

    for other in ("tests", ".hidden", "build"):  # not part of the code that runs
        (project / other).mkdir()
        (project / other / "more.py").write_text("y = 2\n")
    (project / "nested").mkdir()
    (project / "nested" / "pyproject.toml").write_text("")
    (project / "nested" / "own.py").write_text("z = 3\n")
    (project / "ngb-runs").mkdir()
    (project / "ngb-runs" / "result.json").write_text("{}")
    assert code_digest("fake-good") == before

    (project / "package" / "code.py").write_text("x = 2\n")
    assert code_digest("fake-good") != before
    shutil.rmtree(project)
    assert code_digest("fake-good") is None


def test_a_module_of_no_distribution_is_identified_by_its_file(tmp_path, monkeypatch):
    (tmp_path / "lonely_module.py").write_text("x = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    before = code_digest("lonely_module")
    (tmp_path / "lonely_module.py").write_text("x = 2\n")
    assert None is not before != code_digest("lonely_module")
    assert code_digest("sys") is None


def test_the_core_is_identified():
    digest = code_digest("neurobench-grasp")
    assert digest is not None
    assert digest == code_digest("neurobench-grasp")
