"""SOQL: grammar.lark -> parser.py (text to syntax tree) -> compiler.py (tree to SQL) -> results.py (rows to JSON or CSV)."""
