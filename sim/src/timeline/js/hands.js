// Pointer, wheel and keys.

/** How far a pointer may move and still click. */
const STILL = 4;

function takeHands(app) {
  handChart(app);
  handOverview(app);
  handGrip(app);
  handKeys(app);
}

/** Follows a press until it is let go: `move(event, dx, dy)` on the way, `up(event, moved)` at its end. */
function drag(element, down, { move, up }) {
  const [x, y] = [down.clientX, down.clientY];
  let moved = false;
  try {
    element.setPointerCapture(down.pointerId);
  } catch {
    // The pointer is gone already; its end is seen all the same.
  }
  const onMove = (event) => {
    const [dx, dy] = [event.clientX - x, event.clientY - y];
    moved ||= Math.hypot(dx, dy) > STILL;
    if (moved) move(event, dx, dy);
  };
  const onUp = (event) => {
    element.removeEventListener("pointermove", onMove);
    element.removeEventListener("pointerup", onUp);
    element.removeEventListener("pointercancel", onUp);
    up?.(event, moved);
  };
  element.addEventListener("pointermove", onMove);
  element.addEventListener("pointerup", onUp);
  element.addEventListener("pointercancel", onUp);
}

function handChart(app) {
  const { chart } = app;
  const { canvas, scroller } = chart;
  const point = (event) => {
    const { left, top } = canvas.getBoundingClientRect();
    return [event.clientX - left, event.clientY - top];
  };
  let dragging = false;

  canvas.addEventListener("pointermove", (event) => {
    if (dragging) return;
    const [x, y] = point(event);
    const thing = chart.at(x, y);
    app.mark(x >= chart.left && x <= chart.right ? chart.t(x) : null);
    app.point(thing);
    app.panel.showTip(thing, event.clientX, event.clientY);
    canvas.style.cursor = thing || chart.labelAt(x, y) ? "pointer" : y < FRAME.ruler ? "col-resize" : "grab";
  });
  canvas.addEventListener("pointerleave", () => {
    app.mark(null);
    app.point(null);
    app.panel.showTip(null);
  });
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    const [x, y] = point(event);
    scroller.focus({ preventScroll: true });
    const { from, to } = app.view;
    const top = scroller.scrollTop;
    const each = (to - from) / (chart.right - chart.left);
    const zooms = event.shiftKey || y < FRAME.ruler;
    dragging = true;
    drag(canvas, event, {
      move(move, dx, dy) {
        app.panel.showTip(null);
        if (zooms) {
          app.marked = [chart.t(x), chart.t(x + dx)].sort((one, other) => one - other);
          app.mark(chart.t(x + dx));
          app.change();
        } else {
          canvas.style.cursor = "grabbing";
          scroller.scrollTop = top - dy;
          app.look(from - dx * each, to - dx * each);
        }
      },
      up(last, moved) {
        dragging = false;
        if (app.marked) {
          const [start, end] = app.marked;
          app.marked = null;
          app.look(start, end);
        } else if (!moved) {
          app.select(chart.at(x, y) ?? chart.labelAt(x, y));
        }
        app.change();
      },
    });
  });
  canvas.addEventListener("dblclick", (event) => {
    const thing = chart.at(...point(event));
    if (thing) app.show(thing);
  });
  canvas.addEventListener(
    "wheel",
    (event) => {
      const [x] = point(event);
      // Over the names it scrolls, as everywhere.
      if (x < chart.left && !event.ctrlKey) return;
      event.preventDefault();
      const sideways = event.shiftKey ? event.deltaY || event.deltaX : event.deltaX;
      if (Math.abs(sideways) > Math.abs(event.shiftKey ? 0 : event.deltaY)) {
        app.pan(sideways / (chart.right - chart.left));
      } else {
        const lines = event.deltaMode === 1 ? 16 : 1;
        app.zoom(Math.exp(Math.max(-1, Math.min(1, event.deltaY * lines * 0.0025))), chart.t(x));
      }
    },
    { passive: false },
  );
  scroller.addEventListener("scroll", () => app.change());
}

function handOverview(app) {
  const { overview } = app;
  const { canvas } = overview;
  const at = (event) => event.clientX - canvas.getBoundingClientRect().left;
  canvas.addEventListener("pointermove", (event) => {
    const handle = overview.handle(at(event));
    canvas.style.cursor = { from: "ew-resize", to: "ew-resize", middle: "grab", outside: "pointer" }[handle];
  });
  canvas.addEventListener("pointerdown", (event) => {
    const x = at(event);
    const handle = overview.handle(x);
    if (handle === "outside") app.goTo(overview.t(x));
    const { from, to } = app.view;
    drag(canvas, event, {
      move(move, dx) {
        const by = overview.t(x + dx) - overview.t(x);
        if (handle === "from") app.look(Math.min(from + by, to - app.least), to);
        else if (handle === "to") app.look(from, Math.max(to + by, from + app.least));
        else app.look(from + by, to + by);
      },
    });
  });
}

function handGrip(app) {
  const grip = document.getElementById("grip");
  const list = document.getElementById("list");
  grip.addEventListener("pointerdown", (event) => {
    const height = list.offsetHeight;
    drag(grip, event, {
      move(move, dx, dy) {
        const most = innerHeight - 260;
        list.style.height = `${Math.max(40, Math.min(height - dy, most))}px`;
        app.resize();
      },
    });
  });
}

function handKeys(app) {
  const keys = {
    "ArrowLeft": () => app.pan(-0.12),
    "ArrowRight": () => app.pan(0.12),
    "ArrowUp": () => app.chart.scroller.scrollBy(0, -48),
    "ArrowDown": () => app.chart.scroller.scrollBy(0, 48),
    "+": () => app.zoom(0.6),
    "=": () => app.zoom(0.6),
    "-": () => app.zoom(1 / 0.6),
    "0": () => app.fit(),
    "b": () => app.nextBroken(1),
    "B": () => app.nextBroken(-1),
    "v": () => app.nextViolation(),
    "/": () => app.bar.input.focus(),
    "Escape": () => app.select(null),
  };
  addEventListener("keydown", (event) => {
    const typing = event.target.closest?.("input, textarea");
    if (typing || event.ctrlKey || event.metaKey || event.altKey || !keys[event.key]) return;
    // The list scrolls by its own keys.
    if (
      event.key.startsWith("Arrow") &&
      ["ArrowUp", "ArrowDown"].includes(event.key) &&
      event.target.closest?.("#list, #panel")
    )
      return;
    event.preventDefault();
    keys[event.key]();
  });
}
