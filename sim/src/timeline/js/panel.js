// The details of what is selected, and the tooltip of what is pointed at.

/** Links that a group shows before it asks. */
const LINKS_MAX = 24;

class Panel {
  constructor(app, element, tip) {
    Object.assign(this, { app, element, tip });
    this.shown = undefined;
  }

  paint() {
    const { selected } = this.app;
    if (selected === this.shown) return;
    this.shown = selected;
    this.element.replaceChildren(...this.content(selected));
    this.element.scrollTop = 0;
  }

  content(thing) {
    const { app } = this;
    const { facts, groups, more } = DETAILS[thing?.kind ?? "run"](app.run, thing);
    const title = el("h2", {}, thing ? [swatchOf(thing), titleOf(thing)] : "the run");
    const tools =
      thing &&
      el(
        "div",
        { class: "tools" },
        thing.from !== undefined
          ? el(
              "button",
              { onclick: () => app.show(thing), title: "double-click on the lane does it, too" },
              "zoom to it",
            )
          : null,
        el("button", { onclick: () => app.search(thing.name), title: "lists its events only" }, "search it"),
        el("button", { onclick: () => app.select(null), title: "Escape" }, "close"),
      );
    const list = el(
      "dl",
      {},
      facts.map(([name, value]) => [el("dt", {}, name), el("dd", {}, this.value(value))]),
    );
    const parts = groups
      .filter(([, things]) => things.length)
      .map(([heading, things]) => this.group(heading, things));
    const rest = more ? [el("details", {}, el("summary", {}, more[0]), el("pre", {}, more[1]))] : [];
    const events = thing?.events?.length && thing.kind !== "violation" ? [this.events(thing.events)] : [];
    const hint = thing ? [] : [this.hint()];
    return [title, ...(tools ? [tools] : []), list, ...parts, ...rest, ...events, ...hint];
  }

  value(value) {
    if (Array.isArray(value))
      return value.flatMap((one, n) => (n ? [" ", this.value(one)] : [this.value(one)]));
    return value?.kind ? this.link(value) : value;
  }

  link(thing) {
    const { app } = this;
    return el(
      "button",
      {
        class: "link",
        onclick: () => app.select(thing, true),
        onmouseenter: () => app.point(thing),
        onmouseleave: () => app.point(null),
      },
      swatchOf(thing),
      shortOf(thing),
    );
  }

  group(heading, things) {
    const links = things.slice(0, LINKS_MAX).map((thing) => this.link(thing));
    const box = el("div", { class: "links" }, links);
    if (things.length > LINKS_MAX) {
      const rest = () => box.append(...things.slice(LINKS_MAX).map((thing) => this.link(thing)));
      box.append(
        el(
          "button",
          {
            class: "link",
            onclick: (event) => {
              event.target.remove();
              rest();
            },
          },
          `${things.length - LINKS_MAX} more`,
        ),
      );
    }
    return el("section", {}, el("h3", {}, `${heading} (${things.length})`), box);
  }

  events(events) {
    const rows = events.slice(0, 400).map((event) =>
      el(
        "li",
        {
          class: event.kind,
          onclick: () => this.app.goTo(event.at),
          onmouseenter: () => this.app.mark(event.at),
          onmouseleave: () => this.app.mark(null),
        },
        el("time", {}, event.at.toFixed(3)),
        el("b", {}, event.place),
        ` ${event.words}`,
      ),
    );
    const more = events.length > 400 ? [el("li", {}, `and ${events.length - 400} more`)] : [];
    return el(
      "section",
      {},
      el("h3", {}, `events (${events.length})`),
      el("ol", { class: "events" }, rows, more),
    );
  }

  hint() {
    const keys = [
      ["wheel", "zooms; with Shift, or sideways, pans"],
      ["drag", "pans; on the ruler, or with Shift, zooms to what is marked"],
      ["click", "selects; on a name, the host; twice, zooms to it"],
      ["← →", "pan"],
      ["+ −", "zoom"],
      ["0", "fits the run"],
      ["b B", "next and previous session that broke"],
      ["v", "next violation"],
      ["/", "searches"],
      ["Esc", "lets go"],
    ];
    return el(
      "section",
      { class: "keys" },
      el("h3", {}, "hands"),
      el(
        "dl",
        {},
        keys.map(([key, does]) => [el("dt", {}, el("kbd", {}, key)), el("dd", {}, does)]),
      ),
    );
  }

  /** Shows what is pointed at beside the pointer. */
  showTip(thing, x, y) {
    this.tip.hidden = !thing;
    if (!thing) return;
    if (this.tipped !== thing) {
      this.tipped = thing;
      const { facts, groups } = DETAILS[thing.kind](this.app.run, thing);
      const text = (value) =>
        [value]
          .flat()
          .map((one) => (one?.kind ? shortOf(one) : (one?.textContent ?? one)))
          .join(", ");
      const brief = groups
        .filter(([heading, things]) => things.length && !heading.includes("elsewhere"))
        .map(([heading, things]) => [heading, brieflyOf(things)]);
      this.tip.replaceChildren(
        el("h2", {}, swatchOf(thing), titleOf(thing)),
        el(
          "dl",
          {},
          [...facts, ...brief].map(([name, value]) => [el("dt", {}, name), el("dd", {}, text(value))]),
        ),
      );
    }
    const { offsetWidth: wide, offsetHeight: high } = this.tip;
    const left = x + 16 + wide > innerWidth ? x - wide - 12 : x + 16;
    const top = Math.min(y + 14, innerHeight - high - 8);
    this.tip.style.left = `${Math.max(left, 4)}px`;
    this.tip.style.top = `${Math.max(top, 4)}px`;
  }
}

function brieflyOf(things) {
  const names = things.slice(0, 5).map(shortOf);
  return things.length > 5 ? `${names.join(", ")} and ${things.length - 5} more` : names.join(", ");
}

function titleOf(thing) {
  switch (thing.kind) {
    case "fault":
      return `#${thing.nth} ${thing.label}`;
    case "life":
      return `${thing.host} ${STATE_WORDS[thing.state]}${thing.state === "up" ? "" : ` since ${seconds(thing.from)}`}`;
    case "violation":
      return `invariant ${thing.invariant} broken`;
    case "intrusion":
      return `${thing.name}: ${thing.label}`;
    default:
      return thing.name;
  }
}

/** A thing in a link. */
function shortOf(thing) {
  if (thing.kind === "fault")
    return `#${thing.nth} ${thing.label}${thing.at.length === 1 ? ` · ${thing.at[0]}` : ""}`;
  if (thing.kind === "connection") return `${hex(thing.serial)} of ${thing.lane}`;
  return titleOf(thing);
}

function swatchOf(thing) {
  switch (thing.kind) {
    case "session":
      return swatch(thing.outcome, thing.outcome, "broken");
    case "connection":
      return swatch(connectionColour(thing), "thin");
    case "fault":
      return swatch(`family-${thing.family}`, thing.family);
    case "intrusion":
      return swatch("intrusion");
    case "violation":
      return swatch("violation");
    default:
      return null;
  }
}
