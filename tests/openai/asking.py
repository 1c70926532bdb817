"""OpenAI's client of PyPI, and what every program here does with it. Whatever comes from the server is held against the
client's own models first (`shapes.py`)."""

import time

import openai
import shapes
from shapes import OPEN

MODEL = "scripted-model"
# Between two polls: tests are in a hurry.
PAUSE = 0.05
PATIENCE = 170
# Each exchange that there was, retries as well: (method, path, status).
exchanges = []


def kept(response):
    exchanges.append((response.request.method, response.request.url.path, response.status_code))
    # What a proxy says for a server that it could not ask is its own.
    if response.headers.get("content-type", "").startswith("application/json"):
        shapes.answer(response.request.url.path, response.status_code, response.headers, response.json())


def heard(response):
    response.read()
    kept(response)


async def heard_later(response):
    await response.aread()
    kept(response)


def client(base, proxy=None, **options):
    # The client that it would make itself, but for the hook, and for what the environment says of proxies.
    http = openai.DefaultHttpxClient(event_hooks={"response": [heard]}, trust_env=False, proxy=proxy)
    return openai.OpenAI(base_url=f"{base}/v1", api_key="pollen", http_client=http, **options)


def say(*words):
    print(*words, flush=True)


def refused(kind, ask, **expected):
    """What is raised when `ask` is refused; its fields are as expected."""
    try:
        got = ask()
    except kind as error:
        for name, value in expected.items():
            assert getattr(error, name) == value, (name, getattr(error, name), error)
        assert isinstance(error.request_id, str) and error.request_id, "no request id"
        return error
    raise AssertionError(f"not refused: {got}")


def to_the_end(pollen, response, seen=lambda response: None):
    """Polls as OpenAI's guide of background mode does."""
    deadline = time.monotonic() + PATIENCE
    while response.status in OPEN:
        assert time.monotonic() < deadline, response
        time.sleep(PAUSE)
        response = pollen.responses.retrieve(response.id)
        seen(response)
    return response


def begun(pollen, response, text):
    """Polls until the answer is under way and has this text."""
    deadline = time.monotonic() + PATIENCE
    while response.output_text != text:
        assert response.status in OPEN and time.monotonic() < deadline, response
        time.sleep(PAUSE)
        response = pollen.responses.retrieve(response.id)
    assert response.status == "in_progress"
    return response


def ask(pollen, question, **more):
    return pollen.responses.create(model=MODEL, input=question, background=True, **more)


def answered(pollen, question, **more):
    return to_the_end(pollen, ask(pollen, question, **more))
