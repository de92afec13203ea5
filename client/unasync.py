"""Writes `aio/` from `sync/`: the same client, to be awaited. A test holds that it is current."""

import io
import re
import tokenize
from pathlib import Path

HERE = Path(__file__).parent / "vgae_nas_client"

CLASSES = ("Client", "Dataset", "Proposal", "Architecture", "Job", "Comparison", "Report", "Trained")
NAMES = {
    **{name: f"Async{name}" for name in CLASSES},
    "Iterator": "AsyncIterator",
    "sync": "aio",
    "time": "asyncio",
    "close": "aclose",
    "__enter__": "__aenter__",
    "__exit__": "__aexit__",
}
"""What is called otherwise there."""

WAITS = re.compile(
    r"(?<!def )(?<!\w)(self\.(client\.)?(_run|_attempt|search|save)|self\._http\.(request|aclose)"
    r"|super\(\)\.wait|self\.(report|module|svg|aclose)|asyncio\.sleep)\("
)
"""Calls that are awaited."""

PLAIN = ("__init__", "__getitem__", "__len__", "__repr__", "_repr_html_")
"""Functions that wait for nothing."""

DECORATED = ("@property", "@overload", "@cached_property")


def converted(source: str) -> str:
    """The asynchronous form of the synchronous client."""
    text = _renamed(source)
    text = text.replace('"""', '"""Written from `sync/`, to be awaited: ', 1)
    text = re.sub(r"\n    def _repr_svg_.*\n.*\n", "", text)  # a notebook awaits nothing
    text = WAITS.sub(lambda call: f"await {call[0]}", text)
    text = re.sub(r"(\n +)for (\w+) in (self\.(client\.)?_items\()", r"\1async for \2 in \3", text)
    text = re.sub(r"(\n +)for (row) in (await )?(self\.client\._items\()", r"\1async for \2 in \4", text)
    lines = text.split("\n")
    for number, line in enumerate(lines):
        name = re.match(r" *def (\w+)", line)
        if name and name[1] not in PLAIN and lines[number - 1].strip() not in DECORATED:
            lines[number] = line.replace("def ", "async def ", 1)
    return "\n".join(lines)


def _renamed(source: str) -> str:
    """The source with other names; what stands in strings stays."""
    lines = source.splitlines(keepends=True)
    tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    for token in reversed(tokens):
        if token.type == tokenize.NAME and token.string in NAMES:
            row, column = token.start
            line = lines[row - 1]
            lines[row - 1] = line[:column] + NAMES[token.string] + line[token.end[1] :]
    return "".join(lines)


if __name__ == "__main__":
    for path in (HERE / "sync").glob("*.py"):
        into = HERE / "aio" / path.name
        into.parent.mkdir(exist_ok=True)
        into.write_text(converted(path.read_text(encoding="utf-8")), encoding="utf-8")
