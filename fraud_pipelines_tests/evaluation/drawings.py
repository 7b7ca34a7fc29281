"""Reads figures back: what is written in an SVG, and in which colour."""

from xml.etree import ElementTree

SVG = "{http://www.w3.org/2000/svg}"


class Drawing:
    """An SVG, which must be well-formed."""

    def __init__(self, svg: str) -> None:
        self.root = ElementTree.fromstring(svg)
        self.texts = [element.text or "" for element in self.root.iter(f"{SVG}text")]

    @property
    def legend(self) -> dict[str, str]:
        """Text → colour of its sample; empty where there is none. A text of several lines is joined."""
        entries: dict[str, str] = {}
        colour, top, text = "", 0.0, ""
        for element in self.root:
            if element.tag == f"{SVG}path" and (element.get("d") or "").startswith("M524 "):
                colour = element.get("stroke") or ""
            elif element.tag == f"{SVG}rect" and element.get("x") == "524":
                colour = element.get("fill") or ""
            elif element.tag == f"{SVG}text" and element.get("x") == "550":
                at = float(element.get("y") or 0)
                if text and at - top < 16:
                    entries[f"{text} {element.text}"] = entries.pop(text)
                    text = f"{text} {element.text}"
                else:
                    text = element.text or ""
                    entries[text] = colour
                    colour = ""
                top = at
        return entries

    @property
    def panels(self) -> list[ElementTree.Element]:
        """What is drawn within each pair of axes."""
        return self.root.findall(f"{SVG}svg")

    def strokes(self, colour: str, panel: int = 0) -> list[str]:
        """The paths of a colour in a panel."""
        return [path.get("d") or "" for path in self.panels[panel] if colour in (path.get("stroke"), path.get("fill"))]
