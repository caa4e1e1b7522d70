"""Schemathesis sends NDJSON as the text that the document describes."""
import schemathesis

schemathesis.serializer.alias("application/x-ndjson", "text/plain")
