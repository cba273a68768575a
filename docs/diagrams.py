"""Draw the diagrams of the documentation as SVG: `python docs/diagrams.py` writes them to `docs/diagrams/`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

FOLDER = Path(__file__).parent / "diagrams"
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2328; text-anchor: middle }
.small { font-size: 11px; fill: #57606a }
rect { fill: #f6f8fa; stroke: #57606a; rx: 6 }
.strong { fill: #ddf4ff; stroke: #0969da }
.broken { fill: #ffebe9; stroke: #cf222e }
path { fill: none; stroke: #57606a; marker-end: url(#tip) }
marker path { fill: #57606a; stroke: none; marker-end: none }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .small { fill: #9198a1 } rect { fill: #161b22; stroke: #9198a1 }
  .strong { fill: #0c2d6b; stroke: #4493f8 } .broken { fill: #490202; stroke: #f85149 }
  path { stroke: #9198a1 } marker path { fill: #9198a1 }
}
"""
TIP = """<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">
<path d="M0 0 L8 4 L0 8 z"/></marker></defs>"""


class Drawing:
    """An SVG in the making. Lengths are pixels; boxes are placed by their top left corner."""

    def __init__(self, width: int, height: int, title: str) -> None:
        self.width, self.height, self.title = width, height, title
        self.parts: list[str] = []

    def box(self, x: float, y: float, w: float, text: str, *, under: str = "", kind: str = "", h: float = 40) -> None:
        """A box with one line of text, and a smaller one under it."""
        self.parts.append(f'<rect x="{x}" y="{y}" width="{w}" height="{h}" class="{kind}"/>')
        self.text(x + w / 2, y + (h / 2 + 5 if not under else h / 2 - 3), text)
        if under:
            self.text(x + w / 2, y + h / 2 + 13, under, small=True)

    def text(self, x: float, y: float, text: str, *, small: bool = False) -> None:
        """A line of text around `x`."""
        kind = ' class="small"' if small else ""
        self.parts.append(f'<text x="{x}" y="{y}"{kind}>{escape(text)}</text>')

    def arrow(self, *points: tuple[float, float]) -> None:
        """A line with a tip, along some points."""
        way = " L".join(f"{x} {y}" for x, y in points)
        self.parts.append(f'<path d="M{way}"/>')

    def svg(self) -> str:
        """The whole file."""
        size = f'viewBox="0 0 {self.width} {self.height}" width="{self.width}"'
        head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">'
        title = f"<title>{escape(self.title)}</title><style>{STYLE}</style>"
        return "\n".join([head, title, TIP, *self.parts, "</svg>\n"])


def layers() -> str:
    """What stands on what."""
    drawing = Drawing(640, 330, "The layers of alloy: each may use those below it")
    rows: Sequence[Sequence[tuple[str, str]]] = [
        [("cli", "the command line"), ("testing", "for tests, ours and yours")],
        [("teams", "several agents under one supervisor")],
        [("agents", "a run in a process: mailbox, queue, restarts")],
        [("api", "run, stream: a run over HTTP"), ("stores", "sessions that last")],
        [("loop", "turns"), ("providers", "dialects, vendors, HTTP")],
        [("tools", "run what is called"), ("llm", "messages, requests"), ("otp", "processes")],
    ]
    for number, row in enumerate(rows):
        width = (620 - 10 * (len(row) - 1)) / len(row)
        for place, (name, what) in enumerate(row):
            kind = "strong" if name in ("otp", "loop") else ""
            drawing.box(10 + place * (width + 10), 10 + number * 53, width, name, under=what, kind=kind)
    return drawing.svg()


def way_of_a_prompt() -> str:
    """Down to the vendor and back, round and round."""
    drawing = Drawing(640, 300, "The way of a prompt")
    down = [("prompt", "str"), ("history", "State"), ("request", "Request"), ("driver", "limits, retries")]
    for place, (name, what) in enumerate(down):
        drawing.box(10 + place * 160, 20, 130, name, under=what)
        if place:
            drawing.arrow((10 + place * 160 - 30, 40), (10 + place * 160 - 2, 40))
    drawing.box(490, 130, 130, "vendor", under="dialect, HTTP", kind="strong")
    drawing.arrow((555, 60), (555, 128))
    drawing.box(330, 130, 130, "answer", under="deltas, folded")
    drawing.arrow((490, 150), (462, 150))
    drawing.box(170, 130, 130, "tools", under="vetted, then run", kind="strong")
    drawing.arrow((330, 150), (302, 150))
    drawing.text(316, 122, "calls", small=True)
    drawing.arrow((235, 130), (235, 62))
    drawing.text(262, 100, "results", small=True)
    drawing.box(330, 240, 130, "result", under="Result")
    drawing.arrow((395, 170), (395, 238))
    drawing.text(440, 208, "no calls", small=True)
    return drawing.svg()


def supervision() -> str:
    """A team: who starts whom, and what a crash costs."""
    drawing = Drawing(640, 250, "A team of two agents under supervision")
    drawing.box(255, 10, 130, "team", under="supervisor", kind="strong")
    for place, (name, kind) in enumerate([("researcher", ""), ("coder", "broken")]):
        x = 90 + place * 330
        drawing.box(x, 100, 130, f"for {name}", under="supervisor", kind="strong")
        drawing.arrow((320, 50), (x + 65, 98))
        drawing.box(x, 190, 130, name, under="crashed: started again" if kind else "never notices", kind=kind)
        drawing.arrow((x + 65, 140), (x + 65, 188))
    return drawing.svg()


def request() -> str:
    """What becomes of a request of an agent server."""
    drawing = Drawing(640, 200, "The life of a request")
    drawing.box(10, 80, 110, "accepted", under="send_message")
    drawing.box(170, 80, 110, "waits", under="in the queue")
    drawing.box(330, 80, 110, "runs", under="one at a time", kind="strong")
    drawing.box(490, 20, 140, "result", under="any status")
    drawing.box(490, 80, 140, "handed back", under="cancel")
    drawing.box(490, 140, 140, "ServerExited", under="the server crashed", kind="broken")
    drawing.arrow((120, 100), (168, 100))
    drawing.arrow((280, 100), (328, 100))
    drawing.arrow((440, 90), (488, 44))
    drawing.arrow((440, 100), (488, 100))
    drawing.arrow((440, 110), (488, 156))
    return drawing.svg()


DRAWINGS: Mapping[str, Callable[[], str]] = {
    "layers": layers,
    "way-of-a-prompt": way_of_a_prompt,
    "supervision": supervision,
    "request": request,
}


def main() -> None:
    """Write all diagrams."""
    FOLDER.mkdir(exist_ok=True)
    for name, draw in DRAWINGS.items():
        (FOLDER / f"{name}.svg").write_text(draw(), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
