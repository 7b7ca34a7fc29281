"""Colours: each model has one, by its name, in every figure. They are told apart by people who are colour-blind."""

import zlib
from collections.abc import Mapping
from typing import Final

from fraud_pipelines.detection.backends import registered_name

BLACK: Final = "#000000"
GREY: Final = "#7f7f7f"
BLUE: Final = "#0072b2"
VERMILION: Final = "#d55e00"
GREEN: Final = "#009e73"
PURPLE: Final = "#cc79a7"
SKY: Final = "#56b4e9"
ORANGE: Final = "#e69f00"
"""Okabe and Ito's palette, without its yellow, which is faint on white."""

_OF_MODEL: Final[Mapping[str, str]] = {
    "fraud-daily": BLUE,
    "fraud-ensemble": VERMILION,
    "fraud-realtime": GREEN,
    "fraud-supervised": PURPLE,
    "fraud-autoencoder": SKY,
    "amount": "#555555",
    "fraud-amount": "#e69f00",
}
_OF_OTHERS: Final = ("#332288", "#882255", "#999933", "#6699cc")
"""For detectors of PyOD by name: further ones of Paul Tol's muted palette."""


def model_colour(name: str) -> str:
    """The colour of a registered model, of a backend (that of its model), of ``policy:NAME``, or of the amount alone.

    It depends on the name and on nothing else.
    """
    if name.startswith("policy:"):
        return BLACK
    model = name if name.startswith("fraud-") else registered_name(name)
    known = _OF_MODEL.get(name) or _OF_MODEL.get(model)
    return known or _OF_OTHERS[zlib.crc32(model.encode()) % len(_OF_OTHERS)]
