"""What the site has beside the written pages: recipes with their values, and the API from its schema."""

from dataclasses import asdict
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from app.main import create_app
from app.openapi import TAGS
from models.latent_spaces.vgae import PRESETS
from models.searches.search import RECIPES as SEARCHES
from models.trainings.retrain import RECIPES as TRAININGS

PLACE = "<!-- recipes -->"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the reference of the API."""
    files.append(File.generated(config, "api.md", content=reference(create_app().openapi())))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Writes the recipes into their page."""
    if PLACE not in markdown:
        return markdown
    kinds = {"Trainings": TRAININGS, "Searches": SEARCHES, "Latent spaces": PRESETS}
    return markdown.replace(PLACE, "\n".join(table(title, recipes) for title, recipes in kinds.items()))


def table(title: str, recipes: dict[str, Any]) -> str:
    """A table of recipes: a row for each field, a column for each recipe."""
    values = {name: asdict(recipe) for name, recipe in recipes.items()}
    fields = next(iter(values.values()))
    rows = [f"| field | {' | '.join(f'`{name}`' for name in values)} |", "| --- " * (len(values) + 1) + "|"]
    rows += [f"| `{field}` | {' | '.join(str(of[field]) for of in values.values())} |" for field in fields]
    return f"\n## {title}\n\n" + "\n".join(rows) + "\n"


def reference(document: dict[str, Any]) -> str:
    """The operations of the API by group, in the order of the path."""
    parts = ["# API reference", "", document["info"]["description"], ""]
    for tag in TAGS:
        parts += [f"## {tag['name'].capitalize()}", "", tag["description"], ""]
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                if tag["name"] in operation["tags"]:
                    parts += described(method, path, operation)
    return "\n".join(parts)


def described(method: str, path: str, operation: dict[str, Any]) -> list[str]:
    """One operation: what it does, its parameters and its answers."""
    lines = [f"### {method.upper()} `{path}`", "", operation.get("description", operation["summary"]), ""]
    parameters = [p for p in operation.get("parameters", []) if "name" in p and p["in"] == "query"]
    if parameters:
        lines += ["| parameter | | |", "| --- | --- | --- |"]
        lines += [f"| `{p['name']}` | {kind(p['schema'])} | {p.get('description', '')} |" for p in parameters]
        lines.append("")
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    if "$ref" in body:
        lines += [f"Body: `{body['$ref'].rsplit('/', 1)[-1]}`.", ""]
    return lines


def kind(schema: dict[str, Any]) -> str:
    """The kind of a parameter in a word."""
    if "anyOf" in schema:
        return " or ".join(kind(each) for each in schema["anyOf"] if each.get("type") != "null")
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    return str(schema.get("type", schema.get("$ref", "").rsplit("/", 1)[-1]))
