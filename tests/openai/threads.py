"""Threads and runs, the part of the Assistants API that polls, and chat completions, which are answered whole."""

import time

import openai
import shapes
from asking import MODEL, PATIENCE, PAUSE, exchanges, refused, say, to_the_end
from shapes import OPEN


def texts(pollen, thread, **more):
    return [message.content[0].text.value for message in pollen.beta.threads.messages.list(thread, order="asc", **more)]


def started(pollen, thread, run, text):
    """Polls until the run has written this."""
    deadline = time.monotonic() + PATIENCE
    while text not in texts(pollen, thread):
        run = pollen.beta.threads.runs.retrieve(run.id, thread_id=thread)
        assert run.status in OPEN and time.monotonic() < deadline, run
        time.sleep(PAUSE)
    return pollen.beta.threads.runs.retrieve(run.id, thread_id=thread)


def creates_and_polls(pollen):
    """The library's own polling, with nothing said of the pace."""
    thread = pollen.beta.threads.create(metadata={"topic": "bees"})
    assert thread.metadata == {"topic": "bees"} and thread.id.startswith("thread_")
    said = pollen.beta.threads.messages.create(thread.id, role="user", content="Hello")
    assert said.role == "user" and said.content[0].text.value == "Hello"
    run = pollen.beta.threads.runs.create_and_poll(
        thread_id=thread.id, assistant_id=MODEL, instructions="Be brief.", metadata={"a": "b"}, temperature=0.5
    )
    assert run.status == "completed" and run.model == MODEL and run.metadata == {"a": "b"}, run
    assert run.instructions == "Be brief." and run.temperature == 0.5
    assert (run.usage.prompt_tokens, run.usage.completion_tokens, run.usage.total_tokens) == (7, 11, 18)
    assert texts(pollen, thread.id) == ["Hello", "You said: Hello"]
    (answer,) = pollen.beta.threads.messages.list(thread.id, run_id=run.id)
    assert (answer.role, answer.run_id, answer.status) == ("assistant", run.id, "completed")
    assert pollen.beta.threads.messages.retrieve(answer.id, thread_id=thread.id) == answer
    (step,) = pollen.beta.threads.runs.steps.list(run.id, thread_id=thread.id)
    assert step.step_details.message_creation.message_id == answer.id
    # On it goes, with what a run has to say itself.
    more = [{"role": "user", "content": [{"type": "text", "text": "And now?"}]}]
    run = pollen.beta.threads.runs.create_and_poll(
        thread_id=thread.id, assistant_id=MODEL, additional_messages=more, additional_instructions="Be kind."
    )
    assert texts(pollen, thread.id)[2:] == ["And now?", "You said: And now?"]
    runs = list(pollen.beta.threads.runs.list(thread.id, limit=1))
    assert len(runs) == 2 and runs[0].id == run.id
    # The same answer is a response.
    response = pollen.responses.retrieve(run.id)
    assert response.output_text == "You said: And now?" and response.id == run.pollen["response_id"]
    say("thread", thread.id)


def polls_at_the_servers_pace(pollen):
    """What the server says of the time until the next poll is what the library waits."""
    thread = pollen.beta.threads.create(messages=[{"role": "user", "content": "Grow"}])
    run = pollen.beta.threads.runs.create(thread.id, assistant_id=MODEL)
    started(pollen, thread.id, run, "Half of it, ")
    waited = []

    def slept(seconds):
        waited.append(seconds)
        time.sleep(seconds)
        if len(waited) == 3:
            say("open grow")

    pollen.beta.threads.runs._sleep = slept
    count = len(exchanges)
    run = pollen.beta.threads.runs.poll(run.id, thread_id=thread.id)
    assert run.status == "completed", run
    assert len(waited) >= 3 and len(exchanges) == count + len(waited) + 1
    hint = shapes.hints[-1]
    assert set(waited) == {hint / 1000} and hint > 0, (waited, hint)


def runs_anew(pollen):
    """A thread and its run in one."""
    thread = {"messages": [{"role": "user", "content": "Hello"}], "metadata": {"topic": "bees"}}
    run = pollen.beta.threads.create_and_run_poll(assistant_id=MODEL, thread=thread)
    assert run.status == "completed", run
    assert texts(pollen, run.thread_id) == ["Hello", "You said: Hello"]
    assert pollen.beta.threads.retrieve(run.thread_id).metadata == {"topic": "bees"}
    changed = pollen.beta.threads.update(run.thread_id, metadata={"topic": "wasps"})
    assert changed.metadata == {"topic": "wasps"}
    changed = pollen.beta.threads.runs.update(run.id, thread_id=run.thread_id, metadata={"b": "c"})
    assert changed.metadata == {"b": "c"} and changed.id == run.id


def runs_end(pollen):
    """Cancelled, failed, too long."""
    runs = pollen.beta.threads.runs

    def asked(question):
        return pollen.beta.threads.create(messages=[{"role": "user", "content": question}])

    stalled = asked("Stall")
    run = started(pollen, stalled.id, runs.create(stalled.id, assistant_id=MODEL), "Half ")
    # One at a time, and nothing is said meanwhile.
    count = len(exchanges)
    refused(openai.ConflictError, lambda: runs.create(stalled.id, assistant_id=MODEL))
    refused(openai.ConflictError, lambda: pollen.beta.threads.messages.create(stalled.id, role="user", content="x"))
    assert len(exchanges) == count + 2, "it was asked again"
    cancelled = runs.cancel(run.id, thread_id=stalled.id)
    assert cancelled.status == "cancelled" and runs.cancel(run.id, thread_id=stalled.id) == cancelled
    (answer,) = pollen.beta.threads.messages.list(stalled.id, run_id=run.id)
    assert answer.incomplete_details.reason == "run_cancelled" and answer.status == "incomplete"
    broken = runs.create_and_poll(thread_id=asked("Break").id, assistant_id=MODEL)
    assert broken.status == "failed" and broken.last_error.code == "server_error", broken
    limited = runs.create_and_poll(thread_id=asked("Rate").id, assistant_id=MODEL)
    assert limited.last_error.code == "rate_limit_exceeded", limited
    long = runs.create_and_poll(thread_id=asked("Long").id, assistant_id=MODEL, max_completion_tokens=16)
    assert long.status == "incomplete" and long.incomplete_details.reason == "max_completion_tokens", long
    assert pollen.beta.threads.delete(stalled.id).deleted is True
    refused(openai.NotFoundError, lambda: pollen.beta.threads.retrieve(stalled.id))
    refused(openai.NotFoundError, lambda: runs.retrieve(run.id, thread_id=stalled.id))


def has_assistants(pollen):
    """Agents are assistants."""
    assistants = list(pollen.beta.assistants.list())
    tutor = next(one for one in assistants if one.id == "asst_tutor")
    assert pollen.beta.assistants.retrieve(tutor.id) == tutor
    thread = pollen.beta.threads.create(messages=[{"role": "user", "content": "Hello"}])
    run = pollen.beta.threads.runs.create_and_poll(thread_id=thread.id, assistant_id=tutor.id, poll_interval_ms=20)
    assert run.status == "completed" and run.assistant_id == tutor.id, run
    refused(openai.NotFoundError, lambda: pollen.beta.assistants.retrieve("asst_nobody"))
    nothing = lambda: pollen.beta.threads.runs.create(thread.id, assistant_id=tutor.id)
    error = refused(openai.BadRequestError, nothing)
    assert "nothing to answer" in error.message, error


def completes(pollen):
    """Whole, with what it took."""
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Who are you?"},
        {"role": "assistant", "content": "A bee."},
        {"role": "user", "content": [{"type": "text", "text": "And now?"}]},
    ]
    answer = pollen.chat.completions.create(
        model=MODEL, messages=messages, temperature=0.5, top_p=0.9, max_completion_tokens=100, stop=["END"], seed=7
    )
    (choice,) = answer.choices
    assert (choice.message.content, choice.finish_reason) == ("You said: And now?", "stop"), answer
    usage = answer.usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (7, 11, 18)
    assert pollen.responses.retrieve(answer.pollen["response_id"]).output_text == choice.message.content

    def completed(question):
        return pollen.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": question}])

    assert completed("Long").choices[0].finish_reason == "length"
    assert completed("Filtered").choices[0].finish_reason == "content_filter"
    assert completed("Think").usage.completion_tokens_details.reasoning_tokens == 5
    count = len(exchanges)
    # Of what failed there is no half: it says so, and is not asked a second time.
    for question, kind, code in (
        ("Break", openai.InternalServerError, "server_error"),
        ("Rate", openai.RateLimitError, "rate_limit_exceeded"),
        ("Refuse", openai.BadRequestError, "invalid_prompt"),
    ):
        error = refused(kind, lambda: completed(question), code=code)
        assert pollen.responses.retrieve(error.body["response_id"]).status == "failed"
    streamed = lambda: pollen.chat.completions.create(model=MODEL, messages=messages, stream=True)
    refused(openai.BadRequestError, streamed, param="stream")
    assert len(exchanges) == count + 7, exchanges[count:]


def completes_too_late(pollen):
    """What takes longer than the server waits is an error that names what to poll; nobody asks again."""
    count = len(exchanges)
    late = lambda: pollen.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "Grow"}])
    error = refused(openai.InternalServerError, late, code="response_in_progress", status_code=504)
    assert len(exchanges) == count + 1, "it was asked again"
    assert error.body["response_id"] in error.message and error.body["poll_after_ms"] > 0
    response = pollen.responses.retrieve(error.body["response_id"])
    while response.output_text != "Half of it, ":
        time.sleep(PAUSE)
        response = pollen.responses.retrieve(response.id)
    say("open grow")
    assert to_the_end(pollen, response).output_text == "Half of it, and the rest."
