// The lanes: paints them for the visible window, and says what is where.

/** Pixels around the plot. */
const FRAME = { left: 116, right: 14, ruler: 36 };

class Chart {
  constructor(app, canvas, scroller, room) {
    Object.assign(this, { app, canvas, scroller, room });
    this.pen = canvas.getContext("2d");
    this.hits = [];
    this.width = 0;
    this.height = 0;
  }

  /** Takes the room that there is. */
  size() {
    const { layout } = this.app;
    this.room.style.height = `${FRAME.ruler + layout.height + 4}px`;
    this.width = this.scroller.clientWidth;
    this.height = this.scroller.clientHeight;
    fitCanvas(this.canvas, this.width, this.height);
  }

  get left() {
    return FRAME.left;
  }

  get right() {
    return this.width - FRAME.right;
  }

  x(t) {
    const { from, to } = this.app.view;
    return this.left + ((t - from) / (to - from)) * (this.right - this.left);
  }

  t(x) {
    const { from, to } = this.app.view;
    return from + ((x - this.left) / (this.right - this.left)) * (to - from);
  }

  paint() {
    const { pen, app } = this;
    const ratio = window.devicePixelRatio || 1;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.lineWidth = 1;
    pen.font = FONT;
    this.colours = app.colours;
    this.hits = [];
    this.places = new Map();
    this.shift = FRAME.ruler - this.scroller.scrollTop;
    pen.fillStyle = this.colours.ground;
    pen.fillRect(0, 0, this.width, this.height);
    const lanes = app.layout.lanes.map((lane) => ({ ...lane, y: lane.top + this.shift }));
    this.lanes = lanes;
    this.paintBands(lanes);
    this.clipped(() => {
      for (const lane of lanes) this.paintLives(lane);
      this.paintGrid();
      this.place(lanes);
      this.paintWays();
      for (const lane of lanes) this.paintBoxes(lane);
      for (const lane of lanes) if (lane.graph !== null) this.paintGraph(lane);
      this.paintPhases();
      this.paintPicked();
      this.paintViolations(lanes);
      this.paintCursor();
    });
    this.paintLabels(lanes);
    this.paintRuler();
  }

  clipped(paint) {
    const { pen } = this;
    pen.save();
    pen.beginPath();
    pen.rect(this.left, 0, this.right - this.left + FRAME.right, this.height);
    pen.clip();
    paint();
    pen.restore();
  }

  paintBands(lanes) {
    const { pen, colours } = this;
    let [band, kind] = [0, null];
    for (const { host, y, height } of lanes) {
      if (host.role !== "upstream") band += 1;
      if (band % 2 === 0) {
        pen.fillStyle = colours.band;
        pen.fillRect(0, y, this.width, height);
      }
      const group = host.role === "upstream" ? "client" : host.role;
      if (kind && group !== kind) {
        pen.fillStyle = colours.line;
        pen.fillRect(0, y - 1, this.width, 1.5);
      }
      kind = group;
    }
  }

  paintLives(lane) {
    if (lane.life === null) return;
    const life = this.app.run.lives.get(lane.host.name);
    const strip = { y: lane.y + lane.life, height: this.app.layout.sizes.life };
    for (const stretch of life.stretches) {
      const [x0, x1] = [this.x(stretch.from), this.x(stretch.to)];
      if (x1 < this.left || x0 > this.right) continue;
      const box = { ...stretch, x0: Math.max(x0, this.left - 4), x1: Math.min(x1, this.right + FRAME.right) };
      paintLife(this.pen, this.colours, box, strip, lane);
      const whole = stretch.state === "up" ? { y: strip.y - 2, height: strip.height + 4 } : lane;
      this.hit(stretch, x0, x1, whole.y, whole.height);
    }
    // A tick for every boot but the first.
    this.pen.fillStyle = this.colours.ink;
    for (const at of life.starts.slice(1))
      this.pen.fillRect(Math.round(this.x(at)), strip.y - 1, 1.5, strip.height + 2);
    const dials = this.app.run.dials.filter(({ host }) => host === lane.host.name);
    for (const { at } of dials) this.pen.fillRect(Math.round(this.x(at)), strip.y + strip.height, 1, 3);
  }

  paintGrid() {
    const { pen, colours } = this;
    pen.fillStyle = colours.faint;
    for (const t of this.ticks()) pen.fillRect(Math.round(this.x(t)), FRAME.ruler, 1, this.height);
  }

  /** Where every box of the visible window is. */
  place(lanes) {
    for (const lane of lanes) {
      for (const box of lane.boxes) {
        const [x0, x1] = [this.x(box.thing.from), this.x(box.thing.to)];
        const placed = { ...box, x0, x1, y: lane.y + box.top, lane };
        const places = this.places.get(box.thing) ?? [];
        places.push(placed);
        this.places.set(box.thing, places);
      }
    }
  }

  /** Cuts between lanes, from one to the other; other ways only when they are looked at. */
  paintWays() {
    for (const [thing, places] of this.places) {
      if (thing.kind !== "fault" || thing.missed) continue;
      const looked = this.app.isLooked(thing);
      if (thing.family !== "partition" && !looked) continue;
      if (places.length > 1) this.paintWay(thing, places, looked);
    }
  }

  /** From the highest lane that a fault is on to the lowest. */
  paintWay(thing, places, looked) {
    const { pen } = this;
    const colour = this.colours.family(thing.family);
    const main = places.find((place) => !place.echo) ?? places[0];
    const top = Math.min(...places.map(({ y, height }) => y + height));
    const end = Math.max(...places.map(({ y }) => y));
    const [x0, x1] = [Math.max(main.x0, this.left), Math.min(Math.max(main.x1, main.x0 + 3), this.right)];
    if (x1 < this.left || x0 > this.right || end <= top) return;
    pen.globalAlpha = this.app.filter.finds(thing) ? 1 : 0.15;
    pen.fillStyle = tint(colour, looked ? 0.2 : 0.06);
    pen.fillRect(x0, top, x1 - x0, end - top);
    pen.strokeStyle = colour;
    pen.lineWidth = looked ? 2 : 1;
    pen.setLineDash(looked ? [] : [3, 3]);
    pen.beginPath();
    for (const x of [main.x0 + 0.5, x1 - 0.5]) {
      if (x < this.left || x > this.right) continue;
      pen.moveTo(x, top);
      pen.lineTo(x, end);
    }
    pen.stroke();
    pen.setLineDash([]);
    pen.lineWidth = 1;
    pen.globalAlpha = 1;
  }

  paintBoxes(lane) {
    // What broke is painted last, and stays visible in a crowd.
    const weight = ({ thing }) =>
      thing.ill || (thing.kind === "connection" && connectionColour(thing) === "broken") ? 1 : 0;
    const boxes = [...lane.boxes].sort((one, other) => weight(one) - weight(other));
    for (const { thing, top, height, echo, next } of boxes) {
      const [x0, x1] = [this.x(thing.from), this.x(thing.to)];
      const room = Math.min(next ? this.x(next.from) - 4 : Infinity, this.right + FRAME.right);
      if ((x1 < this.left && room < this.left) || x0 > this.right) continue;
      const y = lane.y + top;
      if (x1 >= this.left || !echo) {
        this.pen.globalAlpha = this.app.filter.finds(thing) ? 1 : 0.15;
        const box = {
          thing,
          x0: Math.max(x0, this.left - 20),
          x1: Math.min(x1, this.right + 20),
          y,
          height,
          echo,
          room,
          left: this.left,
          right: this.right,
          x: (t) => this.x(t),
        };
        if (x1 >= this.left - 2) MARKS[thing.kind](this.pen, this.colours, box);
        this.pen.globalAlpha = 1;
      }
      if (thing.kind !== "violation") this.hit(thing, x0, x1, y, height);
    }
  }

  /** How many clients are registered. */
  paintGraph(lane) {
    const { pen, colours } = this;
    const { registered, clients, end } = this.app.run;
    const most = Math.max(clients, ...registered.map((step) => step.clients), 1);
    const [base, height] = [
      lane.y + lane.graph + this.app.layout.sizes.graph - 3,
      this.app.layout.sizes.graph - 10,
    ];
    const y = (n) => base - (n / most) * height;
    pen.strokeStyle = colours.faint;
    pen.strokeRect(this.left, Math.round(y(clients)) + 0.5, this.right - this.left, 0);
    pen.beginPath();
    pen.moveTo(this.x(0), base);
    registered.forEach((step, n) => {
      const to = registered[n + 1]?.at ?? end;
      pen.lineTo(this.x(step.at), y(step.clients));
      pen.lineTo(this.x(to), y(step.clients));
    });
    pen.lineTo(this.x(end), base);
    pen.fillStyle = tint(colours.accent, 0.16);
    pen.fill();
    pen.strokeStyle = colours.accent;
    pen.lineWidth = 1.5;
    pen.stroke();
    pen.lineWidth = 1;
    let free = -Infinity;
    registered.forEach((step, n) => {
      const to = registered[n + 1]?.at ?? end;
      const [x0, x1] = [Math.max(this.x(step.at), this.left), Math.min(this.x(to), this.right)];
      if (x1 - x0 < 14 || x0 < free) return;
      words(pen, colours.ink, `${step.clients}`, x0 + 4, y(step.clients) - 11, 12, x0 + 40);
      free = x0 + 14;
    });
  }

  paintPhases() {
    const { pen, colours } = this;
    pen.strokeStyle = colours.accent;
    pen.setLineDash([6, 4]);
    pen.beginPath();
    for (const { at } of this.app.run.phases) {
      const x = Math.round(this.x(at)) + 0.5;
      pen.moveTo(x, FRAME.ruler - 14);
      pen.lineTo(x, this.height);
    }
    pen.stroke();
    pen.setLineDash([]);
  }

  /** What is selected and what is pointed at, with what belongs to it. */
  paintPicked() {
    const { app, pen, colours } = this;
    for (const violation of app.run.violations) {
      for (const thing of violation.about) this.accuse(thing);
    }
    for (const thing of new Set([app.selected, app.hovered])) {
      if (!thing) continue;
      for (const other of app.related(thing)) this.outline(other, colours.ink, 1);
      for (const { session, connection, at, final } of app.links(thing))
        this.link(session, connection, at, final);
      if (thing.kind !== "violation")
        this.outline(
          thing,
          thing === app.selected ? colours.accent : colours.ink,
          thing === app.selected ? 3 : 1.5,
        );
    }
    if (app.selected?.kind === "host") {
      const lane = this.lanes.find(({ host }) => host.name === app.selected.name);
      pen.strokeStyle = colours.accent;
      pen.lineWidth = 2;
      if (lane) pen.strokeRect(this.left, lane.y + 1, this.right - this.left, lane.height - 2);
      pen.lineWidth = 1;
    }
  }

  /** Something that a violation speaks of. */
  accuse(thing) {
    const { pen, colours } = this;
    this.outline(thing, colours.violation, 2);
    for (const { x0, y } of this.places.get(thing) ?? []) {
      const wide = pen.measureText(thing.name).width + 10;
      const left = Math.min(Math.max(x0 - 2.5, this.left), this.right - wide);
      if (x0 < this.left - 2 || x0 > this.right) continue;
      pen.fillStyle = colours.violation;
      pen.fillRect(left, y - 16, wide, 14);
      words(pen, colours["on-violation"], thing.name, left + 5, y - 16, 14, left + wide);
    }
  }

  outline(thing, colour, width) {
    const { pen } = this;
    pen.strokeStyle = colour;
    pen.lineWidth = width;
    for (const { x0, x1, y, height } of this.places.get(thing) ?? []) {
      const wide = Math.max(x1 - x0, 3);
      pen.strokeRect(x0 - 1.5, y - 1.5, wide + 3, height + 3);
    }
    pen.lineWidth = 1;
  }

  /** From a session to a connection that saw it; a full line to the one that served it. */
  link(session, connection, at, final) {
    const { pen, colours } = this;
    const [one] = this.places.get(session) ?? [];
    const [other] = this.places.get(connection) ?? [];
    if (!one || !other) return;
    const x = this.x(at);
    const [y0, y1] = [one.y, other.y + other.height];
    const bow = Math.min(40, Math.abs(y1 - y0) / 3);
    pen.strokeStyle = colours.ink;
    pen.lineWidth = final ? 2 : 1.25;
    pen.setLineDash(final ? [] : [4, 3]);
    pen.beginPath();
    pen.moveTo(x, y0);
    pen.bezierCurveTo(x + bow, y0 - bow, x + bow, y1 + bow, x, y1);
    pen.stroke();
    pen.setLineDash([]);
    pen.fillStyle = colours.ink;
    for (const y of [y0, y1]) {
      pen.beginPath();
      pen.arc(x, y, 3, 0, 7);
      pen.fill();
    }
    pen.lineWidth = 1;
  }

  paintCursor() {
    const { cursor, marked } = this.app;
    if (marked) {
      const [x0, x1] = marked.map((at) => this.x(at));
      this.pen.fillStyle = tint(this.colours.accent, 0.2);
      this.pen.fillRect(x0, FRAME.ruler, x1 - x0, this.height);
      this.pen.fillStyle = this.colours.accent;
      for (const x of [x0, x1]) this.pen.fillRect(Math.round(x), FRAME.ruler, 1, this.height);
    }
    if (cursor === null) return;
    this.pen.fillStyle = this.colours["ink-2"];
    this.pen.fillRect(Math.round(this.x(cursor)), FRAME.ruler, 1, this.height);
  }

  hit(thing, x0, x1, y, height) {
    this.hits.push({ thing, x0, x1: Math.max(x1, x0 + LEAST), y0: y, y1: y + height });
  }

  /** The thing at a point, or close to it. */
  at(x, y) {
    if (x < this.left || y < FRAME.ruler) return null;
    let best = null;
    for (const hit of this.hits) {
      if (y < hit.y0 - 1 || y > hit.y1 + 1) continue;
      const away = Math.max(hit.x0 - x, x - hit.x1, 0);
      if (away > 4) continue;
      // The nearest; of those the smallest, as it may lie on a larger one.
      const rank = [away, hit.thing.kind === "life" ? 1 : 0, hit.x1 - hit.x0];
      if (!best || before(rank, best.rank)) best = { hit, rank };
    }
    return best?.hit.thing ?? null;
  }

  /** The host whose label is at a point. */
  labelAt(x, y) {
    if (x >= this.left || y < FRAME.ruler) return null;
    const lane = this.lanes?.find((lane) => y >= lane.y && y < lane.y + lane.height);
    return lane && this.app.run.host.get(lane.host.name);
  }
}

/** Whether a list of numbers comes before another of the same length. */
function before(one, other) {
  const at = one.findIndex((number, n) => number !== other[n]);
  return at >= 0 && one[at] < other[at];
}

/** A canvas of that many pixels of the page, sharp on any screen. */
function fitCanvas(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  const [wide, high] = [Math.round(width * ratio), Math.round(height * ratio)];
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  if (canvas.width !== wide) canvas.width = wide;
  if (canvas.height !== high) canvas.height = high;
}
