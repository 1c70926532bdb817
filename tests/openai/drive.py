"""Drives Pollen with OpenAI's own client of PyPI: `drive.py SCENARIOS BASE [MORE]`.

A line on its output is what the test waits for (`open grow`: the model is to go on) or reads at the end."""

import asyncio
import copy
import json
import sys
import time
import uuid

import openai
import shapes
import threads
from asking import MODEL, PATIENCE, PAUSE, answered, ask, begun, client, exchanges, heard_later, refused, say, to_the_end
from shapes import OPEN, OVER


# --- A response from its beginning to its end.


def grows(pollen):
    """In the background, to the end, with a text that grows."""
    texts = []

    def seen(response):
        if response.output_text != (texts[-1] if texts else ""):
            assert response.output_text.startswith(texts[-1] if texts else "")
            texts.append(response.output_text)
            if response.output_text == "Half of it, ":
                (item,) = response.output
                assert (response.status, item.status) == ("in_progress", "in_progress")
                say("open grow")

    response = ask(
        pollen,
        "Grow",
        instructions="Be brief.",
        metadata={"topic": "bees"},
        temperature=0.5,
        top_p=0.9,
        max_output_tokens=500,
    )
    assert response.status in OPEN and response.background is True and response.store is True
    assert response.previous_response_id is None and response.model == MODEL
    assert (response.temperature, response.top_p, response.max_output_tokens) == (0.5, 0.9, 500)
    assert response.instructions == "Be brief." and response.metadata == {"topic": "bees"}
    assert abs(response.created_at - time.time()) < PATIENCE
    end = to_the_end(pollen, response, seen)
    assert end.status == "completed" and end.output_text == "Half of it, and the rest.", end
    assert texts[0] == "Half of it, " and texts[-1] == end.output_text, texts
    assert end.id == response.id and end.created_at == response.created_at
    assert end.completed_at >= end.created_at
    assert end.metadata == {"topic": "bees"} and end.instructions == "Be brief."
    usage = end.usage
    assert (usage.input_tokens, usage.output_tokens, usage.total_tokens) == (7, 11, 18), usage
    # The same once more, to the letter.
    assert pollen.responses.retrieve(end.id) == pollen.responses.retrieve(end.id)
    strictness(json.loads(pollen.responses.with_raw_response.retrieve(end.id).text))
    say("response", end.id)


def strictness(raw):
    """What is held against the models is: with anything amiss, this very object would not have passed."""

    def spoilt(edit):
        other = copy.deepcopy(raw)
        edit(other)
        try:
            shapes.thing(other)
        except shapes.Unlike:
            return
        raise AssertionError(f"taken: {other}")

    for name in shapes.ALWAYS:
        spoilt(lambda it: it.pop(name))
    spoilt(lambda it: it.update(status="done"))
    spoilt(lambda it: it.update(created_at="yesterday"))
    spoilt(lambda it: it.update(chat_uuid="x"))
    spoilt(lambda it: it["output"][-1].update(position=3))
    spoilt(lambda it: it["output"][-1].pop("status"))
    spoilt(lambda it: it["output"][-1]["content"][0].pop("annotations"))
    spoilt(lambda it: it["usage"]["input_tokens_details"].pop("cache_write_tokens"))
    spoilt(lambda it: it["usage"].update(total_tokens="18"))


def thinks(pollen):
    """Reasoning is an item before the message, and counted."""
    response = answered(pollen, "Think", reasoning={"effort": "low", "summary": "auto"})
    reasoning, message = response.output
    assert (reasoning.type, message.type) == ("reasoning", "message")
    assert "".join(part.text for part in reasoning.summary) == "Hm, yes."
    assert response.output_text == "So it is."
    assert response.reasoning.effort == "low"
    usage = response.usage
    assert usage.input_tokens_details.cached_tokens == 3, usage
    assert usage.output_tokens_details.reasoning_tokens == 5, usage


def waits(pollen):
    """Without `background` the answer is waited for."""
    response = pollen.responses.create(model=MODEL, input="Hello")
    assert response.status == "completed" and response.output_text == "You said: Hello", response
    assert response.background is False


def waits_in_vain(pollen):
    """What takes longer than the server waits comes as far as it is, and is polled like any other."""
    response = pollen.responses.create(model=MODEL, input="Grow")
    assert response.status in OPEN and response.background is False, response
    begun(pollen, response, "Half of it, ")
    say("open grow")
    assert to_the_end(pollen, response).output_text == "Half of it, and the rest."


def cancels(pollen):
    """In the middle: the text so far stays, and once more changes nothing."""
    response = begun(pollen, ask(pollen, "Stall"), "Half ")
    cancelled = pollen.responses.cancel(response.id)
    assert cancelled.status == "cancelled" and cancelled.output_text == "Half ", cancelled
    assert [item.status for item in cancelled.output] == ["incomplete"]
    assert cancelled.error is None
    assert cancelled.pollen["usage_estimated"] is True and cancelled.usage.output_tokens > 0
    again = pollen.responses.cancel(response.id)
    assert again == cancelled == pollen.responses.retrieve(response.id)
    # What is over stays as it is.
    done = answered(pollen, "Hello")
    assert pollen.responses.cancel(done.id) == done


def cancels_early(pollen):
    """Before it has begun: the server has no hand free."""
    first = begun(pollen, ask(pollen, "Stall"), "Half ")
    second = ask(pollen, "Never")
    assert second.status == "queued" and second.output == []
    # What has not begun has nothing new.
    waiting = pollen.responses.retrieve(second.id, starting_after=0)
    assert (waiting.status, waiting.output, waiting.pollen["position"]) == ("queued", [], 0), waiting
    assert waiting.pollen["append"] is True
    ended = pollen.responses.cancel(second.id)
    assert ended.status == "cancelled" and ended.output_text == "", ended
    assert pollen.responses.retrieve(second.id) == pollen.responses.cancel(second.id) == ended
    pollen.responses.cancel(first.id)


def goes_on(pollen):
    """With `previous_response_id`, and with `conversation`."""
    first = answered(pollen, "one")
    second = answered(pollen, "two", previous_response_id=first.id)
    assert second.previous_response_id == first.id
    assert second.conversation.id == first.conversation.id
    third = answered(pollen, "three", conversation=first.conversation.id)
    assert third.conversation.id == first.conversation.id
    fourth = answered(pollen, "four", conversation={"id": first.conversation.id})
    assert fourth.conversation.id == first.conversation.id
    # An earlier one has another continuation in a chat of its own, with what led there.
    branch = answered(pollen, "two again", previous_response_id=first.id)
    assert branch.conversation.id != first.conversation.id and branch.previous_response_id == first.id
    other = answered(pollen, "elsewhere")
    assert other.conversation.id != first.conversation.id
    say("conversation", first.conversation.id)


def converses(pollen):
    """A conversation that is made first, with what has been said in it."""
    items = [{"role": "user", "content": "Who are you?"}, {"role": "assistant", "content": "A bee."}]
    made = pollen.conversations.create(items=items, metadata={"topic": "bees"})
    assert made.id.startswith("conv_") and made.metadata == {"topic": "bees"}
    response = answered(pollen, "Since when?", conversation=made.id)
    assert response.conversation.id == made.id
    given = pollen.responses.input_items.list(response.id, order="asc")
    assert [item.content[0].text for item in given] == ["Who are you?", "A bee.", "Since when?"]
    changed = pollen.conversations.update(made.id, metadata={"topic": "wasps"})
    assert changed.metadata == {"topic": "wasps"} and pollen.conversations.retrieve(made.id) == changed
    assert pollen.conversations.delete(made.id).deleted is True
    refused(openai.NotFoundError, lambda: pollen.conversations.retrieve(made.id))
    refused(openai.NotFoundError, lambda: pollen.responses.retrieve(response.id))


def takes_items(pollen):
    """Input as items of each kind, and what the client got sent back to it."""
    items = [
        {"role": "developer", "content": "Speak as a bee."},
        {"role": "user", "content": "Who are you?"},
        {"role": "assistant", "content": "A bee."},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "And "}, {"type": "input_text", "text": "now?"}]},
    ]
    response = answered(pollen, items)
    assert response.output_text.startswith("You said: And"), response
    back = [{"role": "user", "content": "Hello"}]
    back += [item.to_dict() for item in response.output]
    back += [{"role": "user", "content": "Goodbye"}]
    assert answered(pollen, back).output_text == "You said: Goodbye"
    say("response", response.id)


# --- What goes wrong.


def fails(pollen):
    """Each failure with a code that the client knows, and the text so far."""
    broken = answered(pollen, "Break")
    assert broken.status == "failed" and broken.error.code == "server_error", broken
    assert broken.output_text == "Broken " and broken.error.message
    assert [item.status for item in broken.output] == ["incomplete"]
    limited = answered(pollen, "Rate")
    assert limited.status == "failed" and limited.error.code == "rate_limit_exceeded", limited
    refused = answered(pollen, "Refuse")
    assert refused.status == "failed" and refused.error.code == "invalid_prompt", refused
    assert "too <much>" in refused.error.message
    # Nobody counted what was cut; nothing came of the others.
    assert broken.pollen["usage_estimated"] is True and broken.usage.output_tokens > 0
    assert limited.usage.output_tokens == refused.usage.output_tokens == 0
    codes = [response.pollen["error_code"] for response in (broken, limited, refused)]
    assert codes == ["provider_broke_off", "provider_rate_limited", "provider_refused"], codes


def ends_early(pollen):
    """`incomplete`, and why."""
    long = answered(pollen, "Long", max_output_tokens=16)
    assert long.status == "incomplete" and long.output_text == "Too long", long
    assert long.incomplete_details.reason == "max_output_tokens"
    filtered = answered(pollen, "Filtered")
    assert filtered.status == "incomplete", filtered
    assert filtered.incomplete_details.reason == "content_filter"


def refuses(pollen):
    """Each with an error that the client reads, and asked once."""
    create, bad = pollen.responses.create, openai.BadRequestError
    count = len(exchanges)
    error = refused(bad, lambda: create(model=MODEL, input="x", stream=True), param="stream", code="unsupported_value")
    assert "background" in error.message and "poll" in error.message, error
    refused(bad, lambda: create(model=MODEL, input="x", background=True, stream=True), param="stream")
    refused(bad, lambda: create(model=MODEL, input="x", background=True, store=False), param="store", code="invalid_value")
    refused(bad, lambda: create(model=MODEL, background=True), param="input", code="missing_required_parameter")
    refused(bad, lambda: create(model=MODEL, input=[], background=True), param="input")
    tool = {"type": "function", "name": "f", "parameters": {}, "strict": False}
    refused(bad, lambda: create(model=MODEL, input="x", tools=[tool]), param="tools", code="unsupported_parameter")
    refused(bad, lambda: create(model=MODEL, input="x", temperature=9), param="temperature")
    nobody = f"resp_{uuid.uuid4().hex}"
    refused(openai.NotFoundError, lambda: pollen.responses.retrieve(nobody), code="response_not_found")
    refused(openai.NotFoundError, lambda: pollen.responses.cancel(nobody))
    refused(openai.NotFoundError, lambda: pollen.responses.delete(nobody))
    refused(openai.NotFoundError, lambda: pollen.responses.retrieve("resp_not_an_id"))
    # Whether it is refused as wrong or as not found, it is no failure of the server's.
    for wrong in (dict(previous_response_id=nobody), dict(conversation=f"conv_{uuid.uuid4().hex}")):
        error = refused(openai.APIStatusError, lambda: create(**{"model": MODEL, "input": "x", "background": True, **wrong}))
        assert error.status_code in (400, 404) and error.param in wrong, error
    refused(openai.NotFoundError, lambda: pollen.post("/no/such/route", cast_to=object, body={}), code="unknown_url")
    asked = exchanges[count:]
    assert len(asked) == 14, asked


def is_busy(pollen):
    """A chat that has an answer under way and takes no second: refused once, and not asked again by the client."""
    first = begun(pollen, ask(pollen, "Stall"), "Half ")
    count = len(exchanges)
    error = refused(openai.ConflictError, lambda: ask(pollen, "two", previous_response_id=first.id), code="chat_busy")
    assert exchanges[count:] == [("POST", "/v1/responses", 409)], "it was asked again"
    assert error.response.headers["x-should-retry"] == "false"
    assert int(error.response.headers["retry-after"]) > 0 and int(error.response.headers["retry-after-ms"]) > 0
    refused(openai.ConflictError, lambda: ask(pollen, "two", conversation=first.conversation.id))
    pollen.responses.cancel(first.id)
    assert answered(pollen, "two", previous_response_id=first.id).output_text == "You said: two"


# --- Lists, and what is taken away.


def lists(pollen):
    items = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]
    first = answered(pollen, items)

    def texts(**more):
        return [item.content[0].text for item in pollen.responses.input_items.list(**more)]

    assert texts(response_id=first.id) == ["c", "b", "a"], texts(response_id=first.id)
    assert texts(response_id=first.id, order="asc") == ["a", "b", "c"]
    page = pollen.responses.input_items.list(first.id, limit=2, order="asc")
    assert [item.role for item in page.data] == ["user", "assistant"] and page.has_next_page()
    rest = page.get_next_page()
    assert [item.role for item in rest.data] == ["user"] and not rest.has_next_page()
    count = len(exchanges)
    assert texts(response_id=first.id, limit=1) == ["c", "b", "a"], "page by page"
    assert len(exchanges) == count + 3
    after = pollen.responses.input_items.list(first.id, order="asc", after=rest.data[0].id)
    assert after.data == [] and not after.has_next_page()
    models = {model.id for model in pollen.models.list()}
    assert MODEL in models, models
    assert pollen.models.retrieve(MODEL).id == MODEL
    refused(openai.NotFoundError, lambda: pollen.models.retrieve("no-such-model"), code="model_not_found")


def deletes(pollen):
    response = answered(pollen, "Hello")
    raw = pollen.responses.with_raw_response.delete(response.id)
    assert json.loads(raw.text) == {"id": response.id, "object": "response", "deleted": True}
    refused(openai.NotFoundError, lambda: pollen.responses.retrieve(response.id))
    refused(openai.NotFoundError, lambda: pollen.responses.delete(response.id))
    # One that is still being written is stopped by it.
    stalled = begun(pollen, ask(pollen, "Stall"), "Half ")
    assert pollen.responses.delete(stalled.id) is None
    refused(openai.NotFoundError, lambda: pollen.responses.retrieve(stalled.id))


# --- What is Pollen's own.


def once(pollen):
    """An `Idempotency-Key` makes of two requests one response."""
    key = {"Idempotency-Key": "7f3a"}
    first = ask(pollen, "Hello", extra_headers=key)
    second = ask(pollen, "Hello", extra_headers=key)
    assert first.id == second.id
    refused(openai.APIStatusError, lambda: ask(pollen, "Other", extra_headers=key), status_code=422, code="idempotency_key_reused")
    assert ask(pollen, "Hello").id != first.id
    # In the body it does the same, where headers do not get through.
    key = {"pollen": {"idempotency_key": "7f3b"}}
    third = ask(pollen, "Hello", extra_body=key)
    assert ask(pollen, "Hello", extra_body=key).id == third.id != first.id
    refused(openai.APIStatusError, lambda: ask(pollen, "Other", extra_body=key), status_code=422)
    wrong = {"pollen": {"idempotency_keys": "7f3b"}}
    refused(openai.BadRequestError, lambda: ask(pollen, "x", extra_body=wrong), param="pollen.idempotency_keys")
    wrong = {"pollen": {"idempotency_key": ""}}
    refused(openai.BadRequestError, lambda: ask(pollen, "x", extra_body=wrong))
    to_the_end(pollen, third)


def on_from(pollen):
    """`starting_after`: only what is new, and from where to ask on."""
    response = ask(pollen, "Grow")
    text, position = "", 0
    opened = False
    deadline = time.monotonic() + PATIENCE
    while True:
        assert time.monotonic() < deadline, response
        response = pollen.responses.retrieve(response.id, starting_after=position)
        news = response.pollen
        assert news["position"] >= position
        text = text + response.output_text if news["append"] else response.output_text
        position = news["position"]
        if not opened and text == "Half of it, ":
            opened = True
            say("open grow")
        if response.status in OVER:
            break
        time.sleep(PAUSE)
    assert text == "Half of it, and the rest.", text
    nothing = pollen.responses.retrieve(response.id, starting_after=position)
    assert (nothing.output_text, nothing.pollen["append"], nothing.pollen["position"]) == ("", True, position)
    healed = pollen.responses.retrieve(response.id, starting_after=position + 7)
    assert (healed.output_text, healed.pollen["append"]) == (text, False)
    refused(openai.BadRequestError, lambda: pollen.responses.retrieve(response.id, starting_after=-1), param="starting_after")


def by_message(pollen, message):
    """Any answer of the caller's is a response, by the UUID that Pollen's own routes give it."""
    response = pollen.responses.retrieve(message)
    assert response.status == "completed" and response.output_text == "You said: By hand", response
    assert response.id.startswith("resp_") and response.pollen["message_uuid"] == message
    assert pollen.responses.retrieve(response.id) == response
    bare = response.id.removeprefix("resp_")
    assert pollen.responses.retrieve(bare) == response == pollen.responses.retrieve(str(uuid.UUID(bare)))
    after = answered(pollen, "And by client", previous_response_id=response.id)
    say("chat", after.pollen["chat_uuid"])


# --- Who asks.


def is_known(pollen, alice, bob, reader):
    """The key is a token: of who has another one nothing is seen, and without one nobody comes in."""
    error = refused(openai.AuthenticationError, lambda: ask(pollen, "Hello"), code="invalid_api_key")
    assert error.status_code == 401 and error.type == "invalid_request_error"
    refused(openai.AuthenticationError, pollen.models.list, code="invalid_api_key")
    hers = pollen.with_options(api_key=alice)
    response = answered(hers, "Hello")
    for other in (pollen.with_options(api_key=bob),):
        refused(openai.NotFoundError, lambda: other.responses.retrieve(response.id), code="response_not_found")
        refused(openai.NotFoundError, lambda: other.responses.cancel(response.id))
        refused(openai.NotFoundError, lambda: other.responses.delete(response.id))
        refused(openai.NotFoundError, lambda: other.responses.input_items.list(response.id))
        behind = lambda: ask(other, "And?", previous_response_id=response.id)
        refused(openai.NotFoundError, behind, code="previous_response_not_found")
        into = lambda: ask(other, "And?", conversation=response.conversation.id)
        refused(openai.NotFoundError, into, code="conversation_not_found")
        refused(openai.NotFoundError, lambda: other.conversations.delete(response.conversation.id))
    assert hers.responses.retrieve(response.id) == response
    reads = pollen.with_options(api_key=reader)
    assert reads.responses.retrieve(response.id) == response
    error = refused(openai.PermissionDeniedError, lambda: ask(reads, "Hello"))
    assert error.type == "permission_error", error


# --- A hundred at once.


async def hundred_of(pollen):
    async def one(number):
        response = await pollen.responses.create(model=MODEL, input=f"number {number}", background=True)
        deadline = time.monotonic() + PATIENCE
        while response.status in OPEN:
            assert time.monotonic() < deadline, response
            await asyncio.sleep(response.pollen["poll_after_ms"] / 1000)
            response = await pollen.responses.retrieve(response.id)
        assert response.status == "completed", response
        assert response.output_text == f"You said: number {number}", response
        return response.id

    return await asyncio.gather(*(one(number) for number in range(100)))


def hundred(base):
    http = openai.DefaultAsyncHttpxClient(event_hooks={"response": [heard_later]}, trust_env=False)
    pollen = openai.AsyncOpenAI(base_url=f"{base}/v1", api_key="pollen", http_client=http)
    made = asyncio.run(hundred_of(pollen))
    assert len(set(made)) == 100
    assert all(status == 200 for _, _, status in exchanges), set(exchanges)
    assert shapes.held[("response", "completed")] >= 100, shapes.held


# --- Through what stands in between.


def through(pollen):
    """The main job by a client that does nothing against bad proxies but what it does by itself, and send a key along."""
    shapes.is_direct = False
    sizes = set()
    key = {"pollen": {"idempotency_key": str(uuid.uuid4())}}
    response = ask(pollen, "Tell me of pollen", extra_body=key)
    response = to_the_end(pollen, response, lambda response: sizes.add(len(response.output_text)))
    assert response.status == "completed", response
    assert len(sizes) > 3, sizes
    say("text", json.dumps(response.output_text))
    say("response", response.id)


def through_a_loss(pollen):
    """Answers are lost, and the client asks again by itself; headers are, and the key is in the body."""
    shapes.is_direct = False
    key = {"pollen": {"idempotency_key": str(uuid.uuid4())}}
    made = {ask(pollen, "Tell me of pollen", extra_body=key).id for _ in range(20)}
    assert len(made) == 1, made
    response = to_the_end(pollen, pollen.responses.retrieve(made.pop()))
    say("text", json.dumps(response.output_text))
    say("response", response.id)


SCENARIOS = {
    name: scenario
    for scenarios in (vars(threads), globals())
    for name, scenario in scenarios.items()
    if callable(scenario)
}


def main():
    scenario, base, *more = sys.argv[1:]
    if scenario == "hundred":
        hundred(base)
    elif scenario.startswith("through"):
        SCENARIOS[scenario](client(base, *more, max_retries=20))
    else:
        for name in scenario.split(","):
            SCENARIOS[name](client(base), *more)
    say("done", json.dumps({" ".join(map(str, key)): count for key, count in shapes.held.items()}))


if __name__ == "__main__":
    main()
