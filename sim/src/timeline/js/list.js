// The events of the visible window, as the trace tells them. Only rows in sight are made.

const ROW = 20;

class List {
  constructor(app, element) {
    this.app = app;
    this.rows = el("div", { class: "rows" });
    this.count = el("span");
    this.scroller = el(
      "div",
      { class: "scroller", tabindex: "0", onscroll: () => this.paintRows() },
      this.rows,
    );
    this.visible = [];
    element.append(el("div", { class: "caption" }, el("b", {}, "events"), this.count), this.scroller);
  }

  paint() {
    const { run, filter, view, selected } = this.app;
    const { events } = run;
    this.visible = events
      .slice(firstFrom(events, view.from), firstFrom(events, view.to, true))
      .filter((event) => filter.lists(event));
    this.count.textContent =
      `${this.visible.length} of ${events.length}: those between ${seconds(Math.max(view.from, 0))} and ` +
      `${seconds(Math.min(view.to, run.end))}${filter.isClear ? "" : " that the filters let through"}`;
    this.rows.style.height = `${this.visible.length * ROW}px`;
    if (selected !== this.followed) {
      this.followed = selected;
      this.follow(selected);
    }
    this.paintRows();
  }

  /** Brings the first event of a thing into sight. */
  follow(thing) {
    const at = thing?.events ? this.visible.findIndex((event) => event.things.includes(thing)) : -1;
    if (at >= 0) this.scroller.scrollTop = Math.max(at - 2, 0) * ROW;
  }

  paintRows() {
    const { scrollTop, clientHeight } = this.scroller;
    const first = Math.max(Math.floor(scrollTop / ROW) - 4, 0);
    const some = this.visible.slice(first, first + Math.ceil(clientHeight / ROW) + 8);
    this.rows.replaceChildren(...some.map((event, n) => this.row(event, (first + n) * ROW)));
  }

  row(event, top) {
    const { app } = this;
    const { selected } = app;
    const mine = selected && (event.things.includes(selected) || selected === app.run.host.get(event.place));
    const thing = event.things[0] ?? app.run.host.get(event.place) ?? null;
    const broken = event.name === "ends" && event.things[0]?.ill;
    return el(
      "div",
      {
        class: `row ${event.kind}${mine ? " mine" : ""}${broken ? " broke" : ""}`,
        style: `top: ${top}px`,
        title: event.words,
        onclick: () => thing && app.select(thing),
        ondblclick: () => thing && app.show(thing),
        onmouseenter: () => {
          app.mark(event.at);
          app.point(event.things[0] ?? null);
        },
        onmouseleave: () => {
          app.mark(null);
          app.point(null);
        },
      },
      el("time", {}, event.at.toFixed(3)),
      el("span", { class: "sign" }, event.things[0] ? swatchOf(event.things[0]) : null),
      el("b", {}, event.place),
      el("span", { class: "words" }, event.words),
    );
  }
}

/** The index of the first event at or after a time; after it, when `after`. */
function firstFrom(events, at, after = false) {
  let [low, high] = [0, events.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (after ? events[middle].at <= at : events[middle].at < at) low = middle + 1;
    else high = middle;
  }
  return low;
}
