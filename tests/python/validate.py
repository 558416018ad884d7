"""Checks a document against a JSON schema and prints every error as JSON.

usage: validate.py SCHEMA DOCUMENT"""

import json
import sys

import jsonschema

schema, document = (json.load(open(path, encoding="utf-8")) for path in sys.argv[1:3])
validator = jsonschema.Draft202012Validator(schema)
validator.check_schema(schema)
errors = [f"{'/'.join(map(str, e.absolute_path))}: {e.message}" for e in validator.iter_errors(document)]
print(json.dumps({"errors": errors}))
