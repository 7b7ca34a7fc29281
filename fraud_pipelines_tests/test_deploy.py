"""The files for production: sound YAML, in step with what the project writes by itself."""

from pathlib import Path

import pytest
import yaml

from fraud_pipelines.bootstrap import DAGSTER_YAML

DEPLOY = Path(__file__).parents[1] / "deploy"


@pytest.mark.parametrize("path", sorted(DEPLOY.glob("*.yaml")), ids=lambda path: path.name)
def test_it_is_yaml_of_a_mapping(path: Path) -> None:
    assert isinstance(yaml.safe_load(path.read_text(encoding="utf-8")), dict)


def test_dagsters_file_differs_from_the_one_that_is_written_in_its_storage_alone() -> None:
    ours, written = yaml.safe_load((DEPLOY / "dagster.yaml").read_text()), yaml.safe_load(DAGSTER_YAML)
    assert ours.pop("storage")["postgres"]["postgres_db"]["password"] == {"env": "DAGSTER_POSTGRES_PASSWORD"}
    written.pop("storage")
    assert ours == written


def test_compose_names_files_and_volumes_that_are_there() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
    for name, service in compose["services"].items():
        for volume in service["volumes"]:
            source = volume.partition(":")[0]
            assert source in compose["volumes"] or (DEPLOY / source).resolve().parent.exists(), (name, volume)
        assert "image" in service
        assert service["restart"] == "unless-stopped"
        build = service.get("build")
        assert not build or (DEPLOY / build["context"] / build["dockerfile"]).is_file()


def test_the_environments_settings_exist() -> None:
    lines = (DEPLOY / "env.example").read_text(encoding="utf-8").splitlines()
    named = {line.partition("=")[0].removeprefix("# ") for line in lines if "FRAUD_" in line and "=" in line}
    page = (DEPLOY.parent / "README.md").read_text(encoding="utf-8")
    assert named
    assert all(f"`{name}`" in page for name in named)
