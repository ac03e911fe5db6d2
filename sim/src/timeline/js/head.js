// The header, the verdict, and the bar of filters.

function paintHead(app, element) {
  const { data } = app.run;
  const { tally } = data;
  const figure = (n, name, given = {}) =>
    el("span", { class: "figure", ...given }, el("b", {}, n), ` ${name}`);
  const state = data.failure ? "failed" : "held";
  element.append(
    el("span", { class: `badge ${state}` }, data.failure ? `✗ failed, exit ${data.exit_code}` : "✓ held"),
    el("h1", {}, `${data.scenario} `, el("small", {}, "seed "), data.seed),
    el(
      "span",
      { class: "figures" },
      figure(tally.complete, "complete"),
      figure(tally.left, "left"),
      figure(tally.broken, "broken"),
      figure(tally.repeated, "repeated", {
        title: "upstream connections beyond the first that saw a visitor's bytes",
      }),
      data.healed_after_ms === null
        ? null
        : figure(`${(data.healed_after_ms / 1000).toFixed(1)} s`, "to heal"),
      data.planted ? figure(data.planted, "planted") : null,
    ),
    el("span", { class: "about" }, `engine ${data.engine} · hash ${data.hash}`),
    el(
      "span",
      { class: "replay" },
      el("code", { title: data.replay }, data.replay),
      el(
        "button",
        { onclick: (event) => copy(data.replay, event.target), title: "copies the command" },
        "copy",
      ),
    ),
  );
}

function copy(text, button) {
  const done = () => {
    button.textContent = "copied";
    setTimeout(() => (button.textContent = "copy"), 1500);
  };
  navigator.clipboard
    ?.writeText(text)
    .then(done, () => getSelection().selectAllChildren(button.previousSibling));
}

function paintVerdict(app, element) {
  const [first, ...others] = app.run.violations;
  if (!first) return;
  element.hidden = false;
  const { class: kind } = app.run.data.failure?.violation ?? { class: "" };
  const forces = inForce(app.run, first.from);
  const [last] = inForce(app.run, 0, first.from).sort((one, other) => other.to - one.to);
  const downs = notUp(app.run, first.from);
  element.append(
    el("button", { class: "go", onclick: () => app.showViolation(first) }, `at ${seconds(first.from)}`),
    el(
      "div",
      { class: "what", title: first.what },
      el("b", {}, `✗ ${kind ? `${kind}: ` : ""}invariant ${first.invariant}: `),
      first.what,
      others.length ? ` (and ${others.length} more)` : "",
    ),
    el(
      "div",
      { class: "force" },
      "in force: ",
      forces.length ? forces.map((fault) => app.panel.link(fault)) : "no fault",
      forces.length || !last ? null : [", the last over since ", seconds(last.to), " ", app.panel.link(last)],
      downs.map((life) => [" · ", app.panel.link(life), life.why ? ` ${life.why}` : ""]),
    ),
  );
}

class Bar {
  constructor(app, element) {
    this.app = app;
    this.chips = [];
    const { run } = app;
    const some = (kind) => [...run.things.values()].some((thing) => thing.kind === kind);
    const families = run.data.families.filter((family) =>
      run.faults.some((fault) => fault.family === family),
    );
    const { outcomes } = run;
    const kinds = ["session", "fault", "connection", "intrusion", "life"].filter(
      (kind) => kind === "life" || some(kind),
    );
    const kind = (kind, name, sign) =>
      kinds.includes(kind) ? [this.chip("kind", kind, name, kinds, sign)] : [];
    element.append(
      this.group(
        "sessions",
        kind("session", "sessions"),
        outcomes.map((one) => this.chip("outcome", one, one, outcomes, swatch(one, one, "broken"))),
      ),
      this.group(
        "faults",
        kind("fault", "faults"),
        families.map((one) => this.chip("family", one, one, families, swatch(`family-${one}`, one))),
      ),
      this.group(
        "others",
        kind("connection", "connections", swatch("connection", "thin")),
        kind("intrusion", "intrusions", swatch("intrusion")),
        kind("life", "lifes", swatch("up", "thin")),
      ),
      this.hosts(),
      this.searching(),
      el(
        "span",
        { class: "zoom" },
        el("button", { onclick: () => app.zoom(0.5), title: "+" }, "+"),
        el("button", { onclick: () => app.zoom(2), title: "-" }, "−"),
        el("button", { onclick: () => app.fit(), title: "0" }, "fit"),
      ),
    );
  }

  group(name, ...chips) {
    return el("span", { class: "group", role: "group", "aria-label": name }, chips);
  }

  chip(aspect, value, name, all, sign) {
    const { app } = this;
    const button = el(
      "button",
      {
        class: aspect === "kind" && !sign ? "chip all" : "chip",
        title: `click hides or shows; with Alt or a double-click, ${name} alone`,
        onclick: (event) => {
          if (event.altKey) app.filter.only(aspect, value, all);
          else app.filter.toggle(aspect, value);
          app.refilter();
        },
        ondblclick: () => {
          app.filter.only(aspect, value, all);
          app.refilter();
        },
      },
      sign,
      name,
    );
    this.chips.push({ button, aspect, value });
    return button;
  }

  hosts() {
    const { app } = this;
    const names = app.run.hosts.map((host) => host.name);
    this.hostCount = el("span");
    addEventListener("pointerdown", ({ target }) => {
      const open = document.querySelector(".hosts[open]");
      if (open && !target.closest(".hosts")) open.open = false;
    });
    const all = el(
      "button",
      {
        class: "chip",
        onclick: () => {
          app.filter.hidden.host.clear();
          app.refilter();
        },
      },
      "all",
    );
    return el(
      "details",
      { class: "hosts" },
      el("summary", {}, "hosts ", this.hostCount),
      el(
        "div",
        {},
        all,
        names.map((name) => this.chip("host", name, name, names, null)),
      ),
    );
  }

  searching() {
    const { app } = this;
    this.found = el("span", { class: "found" });
    this.input = el("input", {
      type: "search",
      placeholder: "search: session 94, #5, client-2, reset …",
      "aria-label": "search",
      oninput: () => app.search(this.input.value),
      onkeydown: (event) => {
        if (event.key === "Enter") app.showFound();
        if (event.key === "Escape") {
          app.search("");
          this.input.blur();
        }
      },
    });
    this.clear = el("button", { onclick: () => app.clear(), title: "shows everything again" }, "clear");
    return el("span", { class: "search" }, this.input, this.found, this.clear);
  }

  paint() {
    const { filter, run } = this.app;
    for (const { button, aspect, value } of this.chips)
      button.setAttribute("aria-pressed", filter.shows(aspect, value));
    const hidden = filter.hidden.host.size;
    this.hostCount.textContent = hidden ? `${run.hosts.length - hidden} of ${run.hosts.length}` : "all";
    const { found } = filter;
    this.found.textContent = found
      ? `${many(found.events.length, "event")}, ${many(found.things.length, "thing")}`
      : "";
    if (this.input.value !== filter.query) this.input.value = filter.query;
    this.clear.hidden = filter.isClear;
  }
}
