"""Checks the examples of an OpenAPI 3.1 document against its schemas, and prints how many there are."""

import json
import sys

import jsonschema_rs

document = json.load(open(sys.argv[1], encoding="utf-8"))
components = document["components"]
complaints, examples = [], 0


def check(place, media, content):
    global examples
    named = content.get("examples", {})
    values = [example["value"] for example in named.values()]
    if "example" in content:
        values.append(content["example"])
    if media == "application/json" and not values:
        complaints.append(f"{place}: no example")
    for value in values:
        examples += 1
        schema = {"allOf": [content["schema"]], "components": components}
        validator = jsonschema_rs.Draft202012Validator(schema, validate_formats=True)
        for error in validator.iter_errors(value):
            complaints.append(f"{place}: {error.message} at {list(error.instance_path)}")


for path, item in document["paths"].items():
    for method, operation in item.items():
        place = f"{method.upper()} {path}"
        for media, content in operation.get("requestBody", {}).get("content", {}).items():
            check(f"{place}, body", media, content)
        for status, response in operation["responses"].items():
            for media, content in response.get("content", {}).items():
                check(f"{place}, {status}", media, content)
for name, response in components["responses"].items():
    for media, content in response.get("content", {}).items():
        check(name, media, content)

if complaints:
    print("\n".join(complaints), file=sys.stderr)
    sys.exit(1)
print(examples)
