"""`table.py TABLES BASE`: holds the tables of `docs/OPENAI.md` against OpenAI's client, and the server against the tables.

TABLES is JSON: [[[method, …], {parameter: state}], …]. Each parameter that the client has for the methods of a table is in it,
and no other; the server takes what is `supported` or `ignored`, and names what is `refused`."""

import inspect
import json
import sys

import openai
from drive import MODEL, answered, client, say

# What the client does with a request itself.
OF_THE_CLIENT = {"self", "extra_headers", "extra_query", "extra_body", "timeout"}
MESSAGES = [{"role": "user", "content": "Hello"}]
TOOL = {"type": "function", "name": "f", "parameters": {}, "strict": False}
FUNCTION = {"type": "function", "function": {"name": "f"}}
SCHEMA = {"type": "json_schema", "name": "it", "schema": {"type": "object"}}
# A value for each that says something. The same name is the same thing in all methods, but for those behind it.
SAMPLES = {
    "access_programs": {"cyber": "standard"},
    "additional_instructions": "Be kind.",
    "additional_messages": MESSAGES,
    "after": None,
    "attachments": [{"file_id": "file_1", "tools": [{"type": "file_search"}]}],
    "audio": {"format": "mp3", "voice": "alloy"},
    "background": True,
    "background_options": {},
    "before": None,
    "content": "Hello",
    "context_management": [{"type": "compaction", "compact_threshold": 1000}],
    "frequency_penalty": 0.5,
    "function_call": "auto",
    "functions": [{"name": "f"}],
    "image": {"context_compression": "enabled"},
    "include": ["message.output_text.logprobs"],
    "include_obfuscation": False,
    "input": "Hello",
    "instructions": "Be brief.",
    "items": MESSAGES,
    "limit": 5,
    "logit_bias": {"7": 1},
    "logprobs": True,
    "max_completion_tokens": 50,
    "max_output_tokens": 50,
    "max_prompt_tokens": 5000,
    "max_tokens": 50,
    "max_tool_calls": 2,
    "messages": MESSAGES,
    "metadata": {"topic": "bees"},
    "modalities": ["audio"],
    "model": MODEL,
    "moderation": {"model": "omni-moderation-latest"},
    "n": 2,
    "order": "asc",
    "parallel_tool_calls": True,
    "poll_interval_ms": 20,
    "prediction": {"type": "content", "content": "Hello"},
    "presence_penalty": 0.5,
    "prompt": {"id": "pmpt_1"},
    "prompt_cache_key": "bees",
    "prompt_cache_options": {"mode": "implicit"},
    "prompt_cache_retention": "24h",
    "reasoning": {"effort": "low"},
    "reasoning_effort": "low",
    "response_format": {"type": "json_object"},
    "role": "user",
    "run_id": None,
    "safety_identifier": "somebody",
    "seed": 7,
    "service_tier": "flex",
    "starting_after": 0,
    "stop": ["\n\n"],
    "store": True,
    "stream": True,
    "stream_options": {"include_obfuscation": False},
    "temperature": 0.5,
    "text": {"format": SCHEMA},
    "thread": {"messages": MESSAGES},
    "tool_choice": "required",
    "tool_resources": {"file_search": {"vector_store_ids": ["vs_1"]}},
    "tools": [TOOL],
    "top_logprobs": 3,
    "top_p": 0.9,
    "truncation": "auto",
    "truncation_strategy": {"type": "last_messages", "last_messages": 3},
    "user": "somebody",
    "verbosity": "low",
    "web_search_options": {},
}
OTHER_SAMPLES = {
    "chat.completions.create": {"tools": [FUNCTION]},
    "beta.threads.runs.create": {"tools": [{"type": "file_search"}], "include": ["step_details.tool_calls[*].file_search.results[*].content"]},
}


class Callers:
    """What each method needs at least, made anew for each call."""

    def __init__(self, pollen):
        self.pollen = pollen
        self.done = None

    def response(self):
        return answered(self.pollen, "Hello")

    def least(self, method):
        make = {
            "responses.create": lambda: dict(model=MODEL, input="Hello", background=True),
            "responses.retrieve": lambda: dict(response_id=self.response().id),
            "responses.cancel": lambda: dict(response_id=self.response().id),
            "responses.delete": lambda: dict(response_id=self.response().id),
            "responses.input_items.list": lambda: dict(response_id=self.response().id),
            "models.retrieve": lambda: dict(model=MODEL),
        }
        return make.get(method, dict)()

    def sample(self, method, name, least):
        """The value; a first thing of the list where it has to be one."""
        if name in least:
            return least[name]
        if name == "previous_response_id":
            return self.response().id
        if name == "conversation":
            return self.response().conversation.id
        if name == "after" and method == "responses.input_items.list":
            return self.pollen.responses.input_items.list(least["response_id"]).data[0].id
        return OTHER_SAMPLES.get(method, {}).get(name, SAMPLES[name])


def method_of(pollen, name):
    found = pollen
    for part in name.split("."):
        found = getattr(found, part)
    return found


def hold(pollen, methods, table):
    parameters = {
        method: set(inspect.signature(method_of(pollen, method)).parameters) - OF_THE_CLIENT for method in methods
    }
    known = set().union(*parameters.values())
    assert set(table) == known, (methods, "not in the table", known - set(table), "not of the client", set(table) - known)
    callers = Callers(pollen)
    for method in methods:
        for name in sorted(parameters[method]):
            least = callers.least(method)
            given = {**least, name: callers.sample(method, name, least)}
            check(method_of(pollen, method), method, name, table[name], given)


def check(call, method, name, state, given):
    where = (method, name, given[name], state)
    try:
        call(**given)
    except openai.BadRequestError as error:
        assert state == "refused", (where, error)
        assert error.param and error.param.replace("[", ".").split(".")[0] == name, (where, error.param, error)
    else:
        assert state in ("supported", "ignored"), (where, "was taken")


def main():
    tables, base = sys.argv[1:]
    pollen = client(base)
    for methods, table in json.loads(tables):
        hold(pollen, methods, table)
        say("held", *methods)


if __name__ == "__main__":
    main()
