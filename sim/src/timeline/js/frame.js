// What stands around the lanes: ruler, labels and the flags of violations.

/** Distances between ticks, in seconds. */
const STEPS = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60, 120, 300];

const PHASE_WORDS = { liveness: "healed" };

Object.assign(Chart.prototype, {
  step() {
    const { from, to } = this.app.view;
    const least = ((to - from) / (this.right - this.left)) * 76;
    return STEPS.find((step) => step >= least) ?? STEPS[STEPS.length - 1];
  },

  ticks() {
    const { from, to } = this.app.view;
    const step = this.step();
    const ticks = [];
    for (let n = Math.ceil(Math.max(from, 0) / step); n * step <= to; n += 1) ticks.push(n * step);
    return ticks;
  },

  paintRuler() {
    const { pen, colours, app } = this;
    pen.fillStyle = colours.ground;
    pen.fillRect(0, 0, this.width, FRAME.ruler);
    pen.fillStyle = colours.line;
    pen.fillRect(0, FRAME.ruler - 1, this.width, 1);
    const step = this.step();
    const digits = step >= 1 ? 0 : Math.ceil(-Math.log10(step));
    pen.textAlign = "center";
    for (const t of this.ticks()) {
      const x = this.x(t);
      pen.fillStyle = colours["ink-2"];
      pen.fillRect(Math.round(x), FRAME.ruler - 5, 1, 5);
      words(pen, colours["ink-2"], `${t.toFixed(digits)} s`, x, FRAME.ruler - 18, 12, x + 60);
    }
    pen.textAlign = "left";
    this.paintPhaseNames();
    if (app.cursor !== null) {
      const text = seconds(app.cursor);
      const wide = pen.measureText(text).width + 10;
      const x = Math.min(Math.max(this.x(app.cursor) - wide / 2, this.left), this.right - wide);
      pen.fillStyle = colours.ink;
      pen.fillRect(x, FRAME.ruler - 18, wide, 15);
      words(pen, colours.ground, text, x + 5, FRAME.ruler - 18, 15, x + wide);
    }
  },

  /** Names of phases, those that come together in one. */
  paintPhaseNames() {
    const { pen, colours } = this;
    const groups = [];
    for (const { at, name } of this.app.run.phases) {
      const x = this.x(at);
      if (x < this.left - 1 || x > this.right) continue;
      const text = PHASE_WORDS[name] ?? name;
      const last = groups[groups.length - 1];
      if (last && x < last.end + 6) last.text += ` · ${text}`;
      else groups.push({ x, text });
      const group = groups[groups.length - 1];
      group.end = group.x + pen.measureText(group.text).width;
    }
    for (const { x, text } of groups) {
      const wide = pen.measureText(text).width + 10;
      const left = Math.min(x, this.right - wide);
      pen.fillStyle = colours.accent;
      pen.fillRect(left, 2, wide, 15);
      words(pen, colours.ground, text, left + 5, 2, 15, this.width);
    }
  },

  paintLabels(lanes) {
    const { pen, colours, app } = this;
    pen.fillStyle = colours.line;
    pen.fillRect(this.left - 1, FRAME.ruler, 1, this.height);
    for (const { host, y, height, graph } of lanes) {
      const inset = host.role === "upstream" ? 20 : 10;
      if (app.selected === host) {
        pen.fillStyle = tint(colours.accent, 0.2);
        pen.fillRect(0, y, this.left - 1, height);
      }
      pen.font = host.role === "upstream" ? FONT : BOLD;
      const colour = host.role === "oracle" ? colours.violation : colours.ink;
      const middle = graph === null ? Math.min(height, 40) : Math.max(Math.min(graph, 40), 30);
      words(pen, colour, host.name, inset, y, middle, this.left - 6);
      pen.font = FONT;
      if (graph !== null)
        words(pen, colours["ink-2"], "registered", inset, y + graph, app.layout.sizes.graph, this.left);
    }
  },

  /** A line over all lanes where something broke, and a flag with its words. */
  paintViolations(lanes) {
    const { pen, colours, app } = this;
    const lane = lanes.find(({ host }) => host.role === "oracle");
    if (!lane) return;
    const groups = [];
    for (const violation of app.run.violations) {
      const x = this.x(violation.from);
      const last = groups[groups.length - 1];
      if (last && x - last.x < 10) last.all.push(violation);
      else groups.push({ x, all: [violation] });
    }
    for (const { x, all } of groups) {
      if (x < this.left - 2 || x > this.right + 2) continue;
      pen.fillStyle = tint(colours.violation, 0.22);
      pen.fillRect(x - 4, FRAME.ruler, 8, this.height);
      pen.fillStyle = colours.violation;
      pen.fillRect(x - 1, FRAME.ruler, 2, this.height);
      const more = all.length > 1 ? `  (and ${all.length - 1} more)` : "";
      const text = `✗ invariant ${all[0].invariant}: ${all[0].what}`;
      pen.font = BOLD;
      const space = Math.max(this.right - x, x - this.left) - 6;
      const short = fitted(pen, text, Math.min(space, 640) - 14 - pen.measureText(more).width) + more;
      const wide = pen.measureText(short).width + 14;
      const left = this.right - x >= wide ? x : x - wide;
      pen.fillStyle = colours.violation;
      pen.fillRect(left, lane.y + 2, wide, lane.height - 4);
      words(pen, colours["on-violation"], short, left + 7, lane.y + 2, lane.height - 4, left + wide);
      pen.font = FONT;
      this.hit(all[0], left, left + wide, lane.y + 2, lane.height - 4);
      this.hit(all[0], x - 2, x + 2, FRAME.ruler, this.height);
    }
  },
});
