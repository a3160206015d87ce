"""Rows of a database as JSON, in the same words whatever the database."""

import json
from datetime import datetime


def as_json(rows):
    return json.dumps(rows, indent=1, default=_word, ensure_ascii=False)


def _word(value):
    return str(value.replace(tzinfo=None)) if isinstance(value, datetime) else str(value)
