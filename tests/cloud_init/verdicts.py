"""What cloud-init's schema says of each cloud-config of a list: reads a JSON list of texts, writes one of booleans."""

import contextlib
import json
import sys
import tempfile

from cloudinit.config import schema

rules = schema.get_schema()
verdicts = []
for text in json.load(sys.stdin):
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file, contextlib.redirect_stdout(sys.stderr):
        file.write(text)
        file.flush()
        try:
            schema.validate_cloudconfig_file(file.name, rules)
            verdicts.append(True)
        except schema.SchemaValidationError as problem:
            print(problem, file=sys.stderr)
            verdicts.append(False)
json.dump(verdicts, sys.stdout)
