"""The app with a house of fakes, and clients that hold its tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

import tests.support.celery_settings  # noqa: F401 - first of all: the app's hints are tasks
from s6.model import jsonx
from tests.unit.web.fakes import FakeServices
from web import create_app
from web.services import Services

Json = Any  # whatever an answer holds


@pytest.fixture
def services() -> FakeServices:
    return FakeServices()


@pytest.fixture
def app(services: FakeServices) -> Flask:
    return create_app(lambda _: cast(Services, services), settings=services.settings)


@pytest.fixture
def anyone(app: Flask) -> FlaskClient:
    return app.test_client()


def _holder(app: Flask, token: str) -> FlaskClient:
    client = app.test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {token}"
    return client


@pytest.fixture
def reader(app: Flask) -> FlaskClient:
    return _holder(app, "read-token")


@pytest.fixture
def operator(app: Flask) -> FlaskClient:
    return _holder(app, "ops-token")


@pytest.fixture
def treasurer(app: Flask) -> FlaskClient:
    return _holder(app, "treasury-token")


@pytest.fixture
def told() -> Callable[[TestResponse], Json]:
    """The JSON of an answer, numbers exact."""

    def read(response: TestResponse) -> Json:
        return jsonx.loads(response.get_data())

    return read
