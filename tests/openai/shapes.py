"""What the server says, held against the models of OpenAI's own client, strictly: no field that the client demands is
missing or of another type, and none is there that the client does not know, but for those listed here."""

from openai.types import Model
from openai.types.beta import Thread, ThreadDeleted
from openai.types.beta.assistant import Assistant
from openai.types.beta.threads import Message, MessageDeleted, Run
from openai.types.beta.threads.runs import RunStep
from openai.types.chat import ChatCompletion
from openai.types.conversations import Conversation, ConversationDeletedResource
from openai.types.responses import Response, ResponseItem
from pydantic import BaseModel, TypeAdapter

OPEN = ("queued", "in_progress")
OVER = ("completed", "failed", "cancelled", "incomplete")
# Terminal or not, these keys are there, whatever their value.
ALWAYS = """id object created_at error incomplete_details instructions model tools output parallel_tool_calls metadata
    tool_choice temperature top_p status background completed_at previous_response_id store usage""".split()
# Ours is in one object at the top of each thing; `store` is OpenAI's, though its client does not know it.
OURS = {"pollen"}
ALSO = {Response: {"store"}}
THINGS = {
    "response": Response,
    "model": Model,
    "thread": Thread,
    "thread.deleted": ThreadDeleted,
    "thread.message": Message,
    "thread.message.deleted": MessageDeleted,
    "thread.run": Run,
    "thread.run.step": RunStep,
    "assistant": Assistant,
    "chat.completion": ChatCompletion,
    "conversation": Conversation,
    "conversation.deleted": ConversationDeletedResource,
}
# Whether headers come as the server sent them.
is_direct = True
# What the server said of the time until the next poll.
hints = []
# How often each thing was held against its model, by its status.
held = {}


class Unlike(AssertionError):
    """Something is not as OpenAI's client has it."""


def demand(is_so, *what):
    if not is_so:
        raise Unlike(*what)


def unknown(value, path=""):
    """The fields that the client does not know, by their paths."""
    if isinstance(value, BaseModel):
        known = type(value).model_fields
        names = {field.alias or name for name, field in known.items()}
        for name in value.model_extra or {}:
            if name not in names:
                yield f"{path}.{name}"
        for name in known:
            yield from unknown(getattr(value, name), f"{path}.{name}")
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from unknown(item, f"{path}[{number}]")


def thing(raw):
    """One thing that has an `object`; what its model makes of it."""
    kind = THINGS.get(raw.get("object"))
    demand(kind, "an object that the client does not know", raw)
    try:
        made = kind.model_validate(raw, strict=True)
    except ValueError as error:
        raise Unlike(str(error), raw) from None
    allowed = {f".{name}" for name in OURS | ALSO.get(kind, set())}
    more = set(unknown(made)) - allowed
    demand(not more, "fields of our own outside of `pollen`", more)
    if kind is Response:
        response(raw)
    if kind is Run:
        run(raw)
    name = (raw["object"], raw.get("status"))
    held[name] = held.get(name, 0) + 1
    return made


def response(raw):
    """What goes for a response in each status."""
    missing = [name for name in ALWAYS if name not in raw]
    demand(not missing, "a response without", missing)
    status, items = raw["status"], raw["output"]
    statuses = {item["status"] for item in items}
    demand(status != "queued" or items == [], "a queued response has no output", raw)
    demand((status == "completed") == (raw["completed_at"] is not None), "completed_at", raw)
    demand((status == "failed") == (raw["error"] is not None), "error", raw)
    demand((status == "incomplete") == (raw["incomplete_details"] is not None), "details", raw)
    demand(status != "completed" or statuses <= {"completed"}, "completed items", raw)
    demand(status in OPEN or "in_progress" not in statuses, "an item goes on", raw)
    demand((status in OPEN) == (raw["usage"] is None), "usage of what is over", raw)
    if raw["usage"]:
        usage = raw["usage"]
        total = usage["input_tokens"] + usage["output_tokens"]
        demand(usage["total_tokens"] == total, "a total that is none", usage)
    prefixes = {"message": "msg_", "reasoning": "rs_"}
    for item in items:
        demand(item["id"].startswith(prefixes[item["type"]]), "an item's id", item)
    demand(raw["id"].startswith("resp_"), "an id", raw)


def run(raw):
    """What goes for a run in each status."""
    status = raw["status"]
    demand((status == "completed") == (raw["completed_at"] is not None), "completed_at", raw)
    demand((status == "failed") == (raw["failed_at"] is not None), "failed_at", raw)
    demand((status == "failed") == (raw["last_error"] is not None), "last_error", raw)
    demand((status == "cancelled") == (raw["cancelled_at"] is not None), "cancelled_at", raw)
    demand((status == "incomplete") == (raw["incomplete_details"] is not None), "details", raw)
    demand(status in OPEN or raw["usage"] is not None, "usage of what is over", raw)


def page(raw, path):
    """A page of a list."""
    demand(raw["object"] == "list" and isinstance(raw["data"], list), "no list", raw)
    more = set(raw) - {"object", "data", "has_more", "first_id", "last_id"}
    demand(not more - OURS, "a page with", more)
    data = raw["data"]
    if "has_more" in raw:
        demand(isinstance(raw["has_more"], bool), "has_more", raw)
        ends = (data[0]["id"], data[-1]["id"]) if data else (None, None)
        demand((raw["first_id"], raw["last_id"]) == ends, "the ends of a page", raw)
    for item in data:
        if path.endswith("/input_items"):
            try:
                made = TypeAdapter(ResponseItem).validate_python(item, strict=True)
            except ValueError as error:
                raise Unlike(str(error), item) from None
            demand(not list(unknown(made)), "an item with more", item)
        else:
            thing(item)


def refusal(raw, headers):
    """What an error has to be for the client to read it."""
    demand(set(raw) == {"error"}, "an error that is none", raw)
    error = raw["error"]
    demand({"message", "type", "param", "code"} <= set(error), "an error without", error)
    demand(isinstance(error["message"], str) and error["message"], "no message", error)
    demand(isinstance(error["type"], str) and error["type"], "no type", error)
    for name in ("param", "code"):
        demand(error[name] is None or isinstance(error[name], str), name, error)
    demand(headers.get("content-type", "").startswith("application/json"), "no JSON", headers)


def answer(path, status, headers, raw):
    """A whole answer of the server."""
    if is_direct:
        demand("content-length" in headers, "an answer of no known length", headers)
    demand(headers.get("cache-control") == "no-store", "an answer to keep", headers)
    if status >= 400:
        return refusal(raw, headers)
    if raw.get("object") == "list":
        return page(raw, path)
    if raw.get("deleted") and raw["object"] == "response":
        return demand(raw == {"id": raw["id"], "object": "response", "deleted": True}, raw)
    thing(raw)
    if raw["object"] in ("response", "thread.run") and is_direct:
        hint = headers.get("openai-poll-after-ms")
        is_open = raw["status"] in OPEN
        demand((hint is not None) == is_open, "a hint for what is over, or none", raw, hint)
        demand(hint is None or hint.isdecimal(), "a hint that is no number", hint)
        if hint is not None:
            demand(int(hint) == raw["pollen"]["poll_after_ms"], "two hints", raw, hint)
            hints.append(int(hint))
