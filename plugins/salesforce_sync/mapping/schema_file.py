"""python -m salesforce_sync.mapping.schema_file: writes include/mappings/mapping.schema.json from the model."""

from __future__ import annotations

import json

from salesforce_sync.mapping.loader import SHIPPED
from salesforce_sync.mapping.model import json_schema

if __name__ == "__main__":
    (SHIPPED / "mapping.schema.json").write_text(json.dumps(json_schema(), indent=2) + "\n")
