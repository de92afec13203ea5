"""The card of a trained network in Markdown, with the YAML head that model hubs read."""

import json
from typing import Any

TEXT = """
# {title}

An image classifier of {classes} classes for images of {size} x {size} pixels. Its cells were {origin}; the
network was trained from scratch on {dataset} with the recipe `{recipe}`, seed {seed}.

| | |
| --- | --- |
| parameters | {parameters:,} |
| multiply-accumulates of one image | {macs:,} |
| test accuracy of these weights | {accuracy} |
| classes | {names} |
| licence of the images | {licence} |

## Use

`model.onnx` takes images as they are, uint8 `[batch, {channels}, {size}, {size}]`; normalisation is inside.

```
python predict.py picture.jpg
```

With PyTorch, without the service:

```python
from safetensors.torch import load_file

from module import build

net = build()
net.load_state_dict(load_file("weights.safetensors"))
net.eval()
```

`card.json` has every hyper-parameter, the genotype, the normalisation and the digest of the data set.
"""


def model_card(facts: dict[str, Any], parameters: int, macs: int, origin: str) -> str:
    """The card of a model folder.

    Args:
        facts: what `card.json` holds.
        parameters, macs: of the network.
        origin: in words, where its genotype comes from.

    Returns:
        Markdown behind a head in YAML, each of whose values is JSON, which is YAML too.
    """
    accuracy, title = facts.get("test_accuracy"), f"{facts['dataset']} classifier"
    head: dict[str, Any] = {
        "library_name": "pytorch",
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", "neural-architecture-search", "vgae-nas"],
        "datasets": [facts["dataset"]],
        "metrics": ["accuracy"],
    }
    if accuracy is not None:
        metric = {"type": "accuracy", "value": round(float(accuracy) / 100, 6), "name": "test accuracy"}
        head["model-index"] = [
            {
                "name": title,
                "results": [
                    {
                        "task": {"type": "image-classification"},
                        "dataset": {"name": facts["dataset"], "type": facts["dataset"], "split": "test"},
                        "metrics": [metric],
                    }
                ],
            }
        ]
    yaml = "\n".join(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in head.items())
    text = TEXT.format(
        title=title,
        classes=len(facts["classes"]),
        size=facts["image_size"],
        channels=facts["channels"],
        origin=origin,
        dataset=facts["dataset"],
        recipe=facts["recipe"],
        seed=facts["seed"],
        parameters=parameters,
        macs=macs,
        accuracy="not known" if accuracy is None else f"{float(accuracy):.2f} %",
        names=_escaped(", ".join(facts["classes"][:20]) + (", …" if len(facts["classes"]) > 20 else "")),
        licence=_escaped(facts["licence"]),
    )
    return f"---\n{yaml}\n---\n{text}"


def _escaped(text: str) -> str:
    """A text that stays in its cell of a table."""
    return " ".join(text.replace("|", "\\|").split())
