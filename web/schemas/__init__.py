"""Bodies, queries and answers of the API as pydantic models: the ones that validate are the ones that are published."""
