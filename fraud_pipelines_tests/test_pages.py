"""Links: they lead to where the pages are, whatever ports or servers there are, and give no password away."""

import pytest

from fraud_pipelines.cli.main import main
from fraud_pipelines.pages import (
    DAGSTER_PORT,
    MLFLOW_PORT,
    REVIEW_PORT,
    case_page,
    mlflow_page,
    page_address,
    review_page,
    run_page,
    version_page,
)
from fraud_pipelines.settings import Settings


def test_links_lead_to_what_up_starts_by_default() -> None:
    settings = Settings()
    assert (
        run_page(settings, "1", "ab") == "http://127.0.0.1:5000/#/experiments/1/runs/ab?workflowType=machine_learning"
    )
    assert version_page(settings, "fraud-daily", 3).startswith("http://127.0.0.1:5000/#/models/fraud-daily/versions/3?")
    assert case_page(settings, "a b&c") == "http://127.0.0.1:3001/case?id=a+b%26c"
    ports = {option.name: option.default for option in main.commands["up"].params}
    assert (ports["dagster_port"], ports["mlflow_port"], ports["review_port"]) == (
        DAGSTER_PORT,
        MLFLOW_PORT,
        REVIEW_PORT,
    )


def test_an_mlflow_server_is_linked_without_its_password() -> None:
    settings = Settings(fraud_mlflow_tracking_uri="https://ann:s3cret@mlflow.example/")  # type: ignore[call-arg]
    assert mlflow_page(settings) == "https://mlflow.example"


def test_an_address_of_ones_own_stands() -> None:
    settings = Settings(mlflow_url="https://mlflow.example/", review_url="https://review.example")
    assert mlflow_page(settings) == "https://mlflow.example"
    assert review_page(settings) == "https://review.example/"


@pytest.mark.parametrize(("host", "reached"), [("0.0.0.0", "127.0.0.1"), ("::", "127.0.0.1"), ("fraud-1", "fraud-1")])
def test_who_listens_everywhere_is_reached_here(host: str, reached: str) -> None:
    assert page_address(host, 3001) == f"http://{reached}:3001"
