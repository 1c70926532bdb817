"""`table.py TABLES BASE`: holds the tables of `docs/OPENAI.md` against OpenAI's client, and the server against the tables.

TABLES is JSON: [[[method, …], {parameter: state}], …]. Each parameter that the client has for the methods of a table is in it,
and no other; the server takes what is `supported` or `ignored`, and names what is `refused`."""

import inspect
import json
import sys

import openai
from asking import MODEL, answered, client, say

# What the client does with a request itself.
OF_THE_CLIENT = {"self", "extra_headers", "extra_query", "extra_body", "timeout"}
MESSAGES = [{"role": "user", "content": "Hello"}]
TOOL = {"type": "function", "name": "f", "parameters": {}, "strict": False}
FUNCTION = {"type": "function", "function": {"name": "f"}}
STEP_INCLUDE = ["step_details.tool_calls[*].file_search.results[*].content"]
SCHEMA = {"type": "json_schema", "name": "it", "schema": {"type": "object"}}
# A value for each that says something. The same name is the same thing in all methods, but for those behind it.
SAMPLES = {
    "access_programs": {"cyber": "standard"},
    "additional_instructions": "Be kind.",
    "additional_messages": MESSAGES,
    "attachments": [{"file_id": "file_1", "tools": [{"type": "file_search"}]}],
    "audio": {"format": "mp3", "voice": "alloy"},
    "background": True,
    "background_options": {},
    "content": "Hello",
    "context_management": [{"type": "compaction", "compact_threshold": 1000}],
    "frequency_penalty": 0.5,
    "function_call": {"name": "f"},
    "functions": [{"name": "f"}],
    "image": {"context_compression": "enabled"},
    "include": ["message.output_text.logprobs"],
    "include_obfuscation": False,
    "input": "Hello",
    "instructions": "Be brief.",
    "items": MESSAGES,
    "tool_outputs": [{"tool_call_id": "call_1", "output": "x"}],
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
    "web_search_options": {"search_context_size": "low"},
}
OTHER_SAMPLES = {
    "chat.completions.create": {"tools": [FUNCTION]},
    "beta.threads.runs.create": {"include": STEP_INCLUDE},
    "beta.threads.runs.create_and_poll": {"include": STEP_INCLUDE},
    "beta.threads.runs.steps.list": {"include": STEP_INCLUDE},
    "beta.threads.runs.steps.retrieve": {"include": STEP_INCLUDE},
}


class Things:
    """What there is to be named in a call, made anew for each."""

    def __init__(self, pollen):
        self.pollen = pollen
        self.threads = pollen.beta.threads

    def response(self):
        return answered(self.pollen, "Hello")

    def thread(self):
        return self.threads.create(messages=MESSAGES).id

    def run(self):
        return self.threads.create_and_run_poll(assistant_id=MODEL, thread={"messages": MESSAGES}, poll_interval_ms=20)

    def least(self, method):
        """What the method needs at least."""
        *room, last = method.split(".")
        match ".".join(room), last:
            case "responses", "create":
                return dict(model=MODEL, input="Hello", background=True)
            case "responses" | "responses.input_items", _:
                return dict(response_id=self.response().id)
            case "chat.completions", _:
                return dict(model=MODEL, messages=MESSAGES)
            case "conversations", "update":
                return dict(conversation_id=self.pollen.conversations.create().id, metadata={"topic": "bees"})
            case "conversations", "retrieve" | "delete":
                return dict(conversation_id=self.pollen.conversations.create().id)
            case "models", "retrieve":
                return dict(model=MODEL)
            case "beta.assistants", "retrieve":
                return dict(assistant_id="asst_tutor")
            case "beta.threads", "create_and_run" | "create_and_run_poll":
                return dict(assistant_id=MODEL, thread={"messages": MESSAGES})
            case "beta.threads", "retrieve" | "update" | "delete":
                return dict(thread_id=self.thread())
            case "beta.threads.messages", "create":
                return dict(thread_id=self.thread(), role="user", content="Hello")
            case "beta.threads.messages", "list":
                return dict(thread_id=self.run().thread_id)
            case "beta.threads.messages", _:
                thread = self.thread()
                return dict(thread_id=thread, message_id=self.threads.messages.list(thread).data[0].id)
            case "beta.threads.runs", "create" | "create_and_poll":
                return dict(thread_id=self.thread(), assistant_id=MODEL)
            case "beta.threads.runs", "list":
                return dict(thread_id=self.run().thread_id)
            case "beta.threads.runs.steps", "retrieve":
                run = self.run()
                step = self.threads.runs.steps.list(run.id, thread_id=run.thread_id).data[0]
                return dict(thread_id=run.thread_id, run_id=run.id, step_id=step.id)
            case "beta.threads.runs" | "beta.threads.runs.steps", _:
                run = self.run()
                return dict(thread_id=run.thread_id, run_id=run.id)
        return {}

    def sample(self, method, name, least):
        """The value; something of the list where it has to be that."""
        if name in least:
            return least[name]
        if name == "previous_response_id":
            return self.response().id
        if name == "conversation":
            return self.response().conversation.id
        if name in ("after", "before"):
            return method_of(self.pollen, method)(**least).data[0].id
        if name == "run_id":
            return self.threads.runs.list(least["thread_id"]).data[0].id
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
    things = Things(pollen)
    for method in methods:
        for name in sorted(parameters[method]):
            least = things.least(method)
            given = {**least, name: things.sample(method, name, least)}
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
