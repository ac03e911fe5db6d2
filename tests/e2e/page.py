"""A page with 50 assets, and the browser that loads it."""

import re
import subprocess

from nodes import PLACE, start

IMAGES, SCRIPTS, STYLES, FETCHES = 20, 10, 5, 15
ASSETS = IMAGES + SCRIPTS + STYLES + FETCHES

# Counts the assets that came whole: an image has its width, a script has run, a style is in force, and what was fetched
# is the text that it should be.
COUNT = """
const whole = async (n) => {
    const answer = await fetch(`fetch-${n}.txt`);
    return answer.ok && await answer.text() === `fetch ${n}\\n`.repeat(1000);
};
addEventListener("load", async () => {
    let found = [...document.images].filter((image, n) => image.naturalWidth === 100 + n).length;
    found += new Set(ran).size;
    found += [...document.querySelectorAll("p")].filter((p, n) => getComputedStyle(p).width === `${100 + n}px`).length;
    for (const is of await Promise.all([...Array(FETCHES).keys()].map(whole))) found += is;
    parent.postMessage(found, "*");
});
"""

# Loads the page again and again until it is told that this is enough, and says how it went.
ROUNDS = """
<title>not yet</title>
<body>
<script>
const counts = [];
const round = () => new Promise((done) => {
    const frame = document.createElement("iframe");
    addEventListener("message", (event) => { frame.remove(); done(event.data); }, { once: true });
    frame.src = `/page/index.html?${counts.length}`;
    document.body.append(frame);
});
(async () => {
    do {
        counts.push(await round());
        await fetch(`/seen${location.search}`);
    } while (!(await fetch(`/page/enough-${location.search.slice(1)}`)).ok);
    document.title = `counts ${counts.join(" ")}`;
})();
</script>
"""


def write_page():
    place = PLACE / "www/page"
    place.mkdir()
    parts = [f"<script>const FETCHES = {FETCHES}; const ran = [];{COUNT}</script>"]
    for n in range(IMAGES):
        size = f'width="{100 + n}" height="10"'
        shape = f'<rect {size} fill="teal"/>'
        (place / f"image-{n}.svg").write_text(f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{shape * 500}</svg>')
        parts.append(f'<img src="image-{n}.svg">')
    for n in range(SCRIPTS):
        (place / f"script-{n}.js").write_text(f"// {'x' * 30_000}\nran.push({n});\n")
        parts.append(f'<script src="script-{n}.js"></script>')
    for n in range(STYLES):
        (place / f"style-{n}.css").write_text(f"/* {'x' * 30_000} */\n#p{n} {{ width: {100 + n}px; }}\n")
        parts.append(f'<link rel="stylesheet" href="style-{n}.css"><p id="p{n}">{n}</p>')
    for n in range(FETCHES):
        (place / f"fetch-{n}.txt").write_text(f"fetch {n}\n" * 1000)
    (place / "index.html").write_text("<!doctype html><title>page</title>\n" + "\n".join(parts))
    (place / "rounds.html").write_text("<!doctype html>" + ROUNDS)


class Browser:
    """Loads the page until there was enough of it."""

    def __init__(self, tunnel):
        self.name = tunnel.name
        self.log = PLACE / f"{self.name}-browser.log"
        # The page is printed as it is when virtual time is over, which stands still while something is loaded.
        flags = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
            --disable-component-update --disable-sync --dump-dom --virtual-time-budget=600000"""
        place = f"--user-data-dir={PLACE}/{self.name}-browser"
        url = f"http://127.0.0.1:{tunnel.www}/page/rounds.html?{self.name}"
        with self.log.open("wb") as log:
            self.process = start(
                "chromium", *flags.split(), place, url,
                end=subprocess.Popen.terminate, stdout=subprocess.PIPE, stderr=log,
            )

    def rounds(self):
        """How often the page was loaded by now."""
        seen = PLACE / "seen.log"
        return seen.read_text().count(f"GET /seen?{self.name} ") if seen.exists() else 0

    def enough(self):
        """The count of assets that came whole, for each time the page was loaded."""
        (PLACE / f"www/page/enough-{self.name}").touch()
        shown = self.process.communicate(timeout=60)[0].decode()
        counts = re.search("<title>counts ([0-9 ]+)</title>", shown)
        return list(map(int, counts[1].split())) if counts else [shown]
