// How each kind of thing looks on the chart. A painter gets the pen, the palette, and the box in pixels:
// `{ thing, x0, x1, y, height, echo, room }`, where `room` is how far to the right words may go.

/** The least width that can be seen. */
const LEAST = 2;

const MARKS = {
  fault(pen, colours, box) {
    const { thing, x0, x1, y, height, echo, room } = box;
    const colour = colours.family(thing.family);
    if (thing.missed) {
      if (echo) return;
      pen.strokeStyle = colours["ink-2"];
      pen.setLineDash([2, 2]);
      pen.strokeRect(x0 + 0.5, y + 2.5, 4, height - 5);
      pen.setLineDash([]);
      words(pen, colours["ink-2"], thing.label, x0 + 8, y, height, room);
      return;
    }
    const width = Math.max(x1 - x0, LEAST + 1);
    if (echo) {
      pen.fillStyle = colour;
      pen.fillRect(x0, y, width, height);
      return;
    }
    pen.fillStyle = tint(colour, 0.32);
    pen.fillRect(x0, y, width, height);
    if (thing.family === "partition") {
      pen.fillStyle = colours.hatch(colour);
      pen.fillRect(x0, y, width, height);
    }
    pen.fillStyle = colour;
    pen.fillRect(x0, y, Math.min(3, width), height);
    if (thing.ended) pen.fillRect(x0 + width - 1, y, 1, height);
    const text = thing.planned[1] === null ? `${thing.label}, for good` : thing.label;
    const left = Math.max(x0, box.left);
    const [inside, outside] = [x0 + width - left - 8, room - x0 - width - 5];
    const wide = pen.measureText(text).width;
    if (wide > inside && (inside < 30 || outside >= wide)) {
      words(pen, colours.ink, text, x0 + width + 5, y, height, room);
    } else {
      if (thing.family === "partition") backing(pen, colours, text, left + 5, y, height, inside);
      words(pen, colours.ink, text, left + 5, y, height, left + 5 + inside);
    }
  },

  session(pen, colours, box) {
    const { thing, x0, x1, y, height } = box;
    const colour = colours.outcome(thing.outcome);
    const width = Math.max(x1 - x0, thing.ill ? LEAST + 1 : LEAST);
    if (thing.outcome === "left" && width > 4) {
      pen.fillStyle = tint(colour, 0.25);
      pen.fillRect(x0, y + 1, width, height - 2);
      pen.strokeStyle = colour;
      pen.strokeRect(x0 + 0.5, y + 1.5, width - 1, height - 3);
    } else if (thing.outcome === "open") {
      pen.fillStyle = colours.hatch(colour);
      pen.fillRect(x0, y + 1, width, height - 2);
      pen.strokeStyle = colour;
      pen.strokeRect(x0 + 0.5, y + 1.5, width - 1, height - 3);
    } else {
      const inset = thing.ill ? 0 : 1;
      // Paler before the greeting: so long it waited.
      const waited = thing.greeted ? box.x(thing.greeted.at) - x0 : width;
      const pale = thing.outcome === "complete" && width > 5 ? Math.min(Math.max(waited, 0), width) : 0;
      pen.fillStyle = tint(colour, 0.5);
      pen.fillRect(x0, y + inset, pale, height - 2 * inset);
      pen.fillStyle = colour;
      pen.fillRect(x0 + pale, y + inset, width - pale, height - 2 * inset);
    }
    if (thing.ill && width > 8) cross(pen, colours.ground, x0 + width - 6, y + height / 2, 2.5);
    const greeted = thing.greeted && box.x(thing.greeted.at);
    if (greeted && width > 8) {
      pen.fillStyle = colours.ink;
      pen.fillRect(Math.round(greeted), y, width > 30 ? 1.5 : 1, height);
    }
    const text = `${thing.number}`;
    const [start, end] = [Math.max(x0, box.left), Math.min(x1, box.right)];
    // Before the greeting or after it, where there is room.
    const cut = Math.min(Math.max(greeted ?? end, start), end);
    const [from, to] = end - cut > cut - start ? [cut, end] : [start, cut];
    if (to - from > pen.measureText(text).width + 8) {
      const pale =
        thing.outcome === "left" || thing.outcome === "open" || (thing.outcome === "complete" && from < cut);
      if (thing.outcome === "open") backing(pen, colours, text, from + 4, y, height, to - from);
      words(pen, pale ? colours.ink : colours.ground, text, from + 4, y, height, to);
    }
  },

  connection(pen, colours, { thing, x0, x1, y, height }) {
    const width = Math.max(x1 - x0, LEAST);
    pen.fillStyle = colours[connectionColour(thing)];
    if (!thing.ended) {
      pen.strokeStyle = colours.connection;
      pen.strokeRect(x0 + 0.5, y + 0.5, width - 1, height - 1);
    } else {
      pen.fillRect(x0, y, width, height);
    }
  },

  intrusion(pen, colours, box) {
    const { thing, x0, x1, y, height, room } = box;
    const width = Math.max(x1 - x0, LEAST + 1);
    pen.fillStyle = tint(colours.intrusion, 0.3);
    pen.fillRect(x0, y, width, height);
    pen.fillStyle = colours.intrusion;
    pen.fillRect(x0, y, 3, height);
    if (thing.ended) pen.fillRect(x0 + width - 1, y, 1, height);
    for (const event of thing.events) {
      pen.beginPath();
      pen.arc(box.x(event.at), y + height - 1, 2, 0, 7);
      pen.fill();
    }
    const left = Math.max(x0, box.left);
    const inside = x0 + width - left > 60;
    words(pen, colours.ink, thing.label, inside ? left + 6 : x0 + width + 5, y, height, room);
  },

  violation() {
    // Painted by the chart, over everything.
  },
};

/** Without a clean end it is broken, unless its visitor has left, perhaps before it said what it wanted. */
function connectionColour({ ended, clean, session, note }) {
  if (!ended || clean) return "connection";
  const left = session ? session.outcome === "left" : !["hung", "closed at once", "lost"].includes(note);
  return left ? "left" : "broken";
}

/** A state of a host: the strip of its life, and the whole lane when it is not well. */
function paintLife(pen, colours, { state, x0, x1 }, strip, lane) {
  const width = Math.max(x1 - x0, 1);
  if (state === "up") {
    pen.fillStyle = colours.up;
    pen.fillRect(x0, strip.y + 1, width, strip.height - 2);
    return;
  }
  if (state === "down") {
    pen.fillStyle = colours.down;
    pen.fillRect(x0, lane.y, width, lane.height);
    pen.fillStyle = colours["ink-2"];
    pen.fillRect(x0, strip.y + strip.height / 2, width, 1);
    return;
  }
  pen.fillStyle = tint(colours[state], 0.16);
  pen.fillRect(x0, lane.y, width, lane.height);
  pen.fillStyle = colours.hatch(colours[state]);
  pen.fillRect(x0, strip.y, width, strip.height);
  pen.strokeStyle = colours[state];
  pen.strokeRect(x0 + 0.5, strip.y + 0.5, width - 1, strip.height - 1);
}

/** A colour, thinned. */
function tint(colour, alpha) {
  const [red, green, blue] = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  return `rgba(${red}, ${green}, ${blue}, ${alpha})`;
}

/** Words from `x` to `room` at most, with an ellipsis; none when there is no room for some. */
function words(pen, colour, text, x, y, height, room) {
  const fits = fitted(pen, text, room - x);
  if (!fits) return;
  pen.fillStyle = colour;
  pen.textBaseline = "middle";
  pen.fillText(fits, x, y + height / 2 + 0.5);
}

function fitted(pen, text, width) {
  if (width < 12) return "";
  if (pen.measureText(text).width <= width) return text;
  const each = pen.measureText("n").width;
  let end = Math.min(text.length - 1, Math.floor(width / each) + 4);
  while (end > 1 && pen.measureText(`${text.slice(0, end)}…`).width > width) end -= 1;
  return end < 3 ? "" : `${text.slice(0, end).trimEnd()}…`;
}

/** A plain ground for words on a hatch. */
function backing(pen, colours, text, x, y, height, room) {
  const width = Math.min(pen.measureText(text).width + 6, room);
  if (width < 14) return;
  pen.fillStyle = tint(colours.ground, 0.78);
  pen.fillRect(x - 2, y + 1, width, height - 2);
}

function cross(pen, colour, x, y, arm) {
  pen.strokeStyle = colour;
  pen.lineWidth = 1.5;
  pen.beginPath();
  pen.moveTo(x - arm, y - arm);
  pen.lineTo(x + arm, y + arm);
  pen.moveTo(x - arm, y + arm);
  pen.lineTo(x + arm, y - arm);
  pen.stroke();
  pen.lineWidth = 1;
}
