// Colours as the style sheet has them, for light and dark.

/** Reads the palette; again whenever the scheme changes. */
function palette() {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(`--${name}`).trim();
  const names = [
    "ground",
    "band",
    "line",
    "faint",
    "ink",
    "ink-2",
    "accent",
    "violation",
    "on-violation",
    "up",
    "down",
    "paused",
    "stopping",
    "complete",
    "left",
    "broken",
    "open",
    "connection",
    "intrusion",
  ];
  const colours = Object.fromEntries(names.map((name) => [name, colour(name)]));
  colours.outcome = (outcome) => colour(outcome) || colours.broken;
  colours.family = (family) => colour(`family-${family}`) || colour("family-other");
  return colours;
}

const FONT = '11px system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif';
const BOLD = `600 ${FONT}`;

/** A hatch of lines in a colour, to be filled with. */
function hatch(context, colour, step = 6, width = 1.5) {
  const tile = document.createElement("canvas");
  tile.width = tile.height = step;
  const pen = tile.getContext("2d");
  pen.strokeStyle = colour;
  pen.lineWidth = width;
  pen.beginPath();
  for (const shift of [-step, 0, step]) {
    pen.moveTo(shift, step);
    pen.lineTo(shift + step, 0);
  }
  pen.stroke();
  return context.createPattern(tile, "repeat");
}

/** A swatch for a legend. */
const swatch = (name, shape = "", otherwise = "family-other") =>
  el("i", { class: `swatch ${shape}`, style: `--is: var(--${name}, var(--${otherwise}))` });
