// The whole run as a strip: faults by family, what broke, and the visible window.

const STRIP = { top: 5, row: 4, broken: 8, bottom: 4, grab: 6 };

class Overview {
  constructor(app, canvas) {
    Object.assign(this, { app, canvas });
    this.pen = canvas.getContext("2d");
    this.families = app.run.data.families.filter((family) =>
      app.run.faults.some((fault) => fault.family === family),
    );
    this.height = STRIP.top + this.families.length * STRIP.row + STRIP.broken + 6 + STRIP.bottom;
    this.height = Math.max(this.height, 34);
  }

  size() {
    this.width = this.canvas.parentElement.clientWidth;
    fitCanvas(this.canvas, this.width, this.height);
  }

  x(t) {
    const { from, to } = this.app.whole;
    return FRAME.left + ((t - from) / (to - from)) * (this.width - FRAME.right - FRAME.left);
  }

  t(x) {
    const { from, to } = this.app.whole;
    return from + ((x - FRAME.left) / (this.width - FRAME.right - FRAME.left)) * (to - from);
  }

  paint() {
    const { pen, app } = this;
    const { colours, run, filter, view } = app;
    const ratio = window.devicePixelRatio || 1;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.font = FONT;
    pen.fillStyle = colours.band;
    pen.fillRect(0, 0, this.width, this.height);
    for (const fault of run.faults) {
      if (!fault.begun || fault.missed || !filter.draws(fault)) continue;
      const y = STRIP.top + this.families.indexOf(fault.family) * STRIP.row;
      pen.globalAlpha = filter.finds(fault) ? 1 : 0.15;
      pen.fillStyle = colours.family(fault.family);
      pen.fillRect(this.x(fault.from), y, Math.max(this.x(fault.to) - this.x(fault.from), 2), STRIP.row - 1);
    }
    const y = this.height - STRIP.bottom - STRIP.broken;
    for (const outcome of run.outcomes) {
      const ill = !WELL.includes(outcome);
      pen.fillStyle = colours.outcome(outcome);
      for (const session of run.sessions.values()) {
        if (session.outcome !== outcome || !filter.draws(session)) continue;
        const tall = ill ? STRIP.broken : STRIP.broken / 2;
        pen.globalAlpha = (filter.finds(session) ? 1 : 0.1) * (ill ? 1 : 0.35);
        pen.fillRect(this.x(session.to) - 0.75, y + STRIP.broken - tall, 1.5, tall);
      }
    }
    pen.globalAlpha = 1;
    pen.fillStyle = colours.accent;
    for (const { at } of run.phases) pen.fillRect(Math.round(this.x(at)), 0, 1, this.height);
    for (const { from } of run.violations) {
      pen.fillStyle = colours.violation;
      pen.fillRect(Math.round(this.x(from)) - 1, 0, 3, this.height);
      pen.beginPath();
      pen.moveTo(this.x(from) - 6, 0);
      pen.lineTo(this.x(from) + 6, 0);
      pen.lineTo(this.x(from), 9);
      pen.fill();
    }
    const [x0, x1] = [this.x(view.from), this.x(view.to)];
    pen.fillStyle = tint(colours.ground, 0.62);
    pen.fillRect(FRAME.left, 0, Math.max(x0 - FRAME.left, 0), this.height);
    pen.fillRect(x1, 0, Math.max(this.width - FRAME.right - x1, 0), this.height);
    pen.strokeStyle = colours.accent;
    pen.lineWidth = 2;
    pen.strokeRect(x0 + 1, 1, Math.max(x1 - x0 - 2, 2), this.height - 2);
    pen.lineWidth = 1;
    pen.fillStyle = colours.band;
    pen.fillRect(0, 0, FRAME.left - 1, this.height);
    words(pen, colours["ink-2"], "whole run", 10, 0, this.height, FRAME.left);
    pen.fillStyle = colours.line;
    pen.fillRect(0, this.height - 1, this.width, 1);
  }

  /** What a press at `x` takes hold of. */
  handle(x) {
    const [x0, x1] = [this.x(this.app.view.from), this.x(this.app.view.to)];
    if (Math.abs(x - x0) <= STRIP.grab) return "from";
    if (Math.abs(x - x1) <= STRIP.grab) return "to";
    return x > x0 && x < x1 ? "middle" : "outside";
  }
}
